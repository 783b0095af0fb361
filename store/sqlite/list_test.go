package sqlite

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// TestListReadsItsPage: what a page of large jobs leaves is not read. This test does not
// run beside others, because it counts what is allocated.
func TestListReadsItsPage(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	const n, size = 60, 250 << 10
	spec := jobs.Spec{Queue: "q", Payload: json.RawMessage(`"` + strings.Repeat("x", size) + `"`), MaxAttempts: 1, Timeout: time.Minute}
	for range n {
		if _, _, err := s.Submit(t.Context(), "a", newID(), spec, jobs.Idempotency{}); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	page, err := s.List(t.Context(), "a", jobs.ListQuery{Limit: 200})
	runtime.ReadMemStats(&after)
	if err != nil || len(page.Jobs) != jobs.MaxPageBytes/size || page.Next == nil {
		t.Fatalf("a page of %d jobs, %v", len(page.Jobs), err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > n*size/2 {
		t.Errorf("%d bytes were allocated for a page of %d of %d bytes", got, len(page.Jobs)*size, n*size)
	}
}
