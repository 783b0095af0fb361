package sqlite

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// TestPruneYields: a transaction of deletions ends when somebody waits for the next.
func TestPruneYields(t *testing.T) {
	const old = 5000
	dir := t.TempDir()
	fillEnded(t, dir, old)
	s := openServing(t, dir, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var submits sync.WaitGroup
	defer submits.Wait()
	defer cancel()
	submits.Go(func() {
		for ctx.Err() == nil {
			if _, _, err := s.Submit(t.Context(), "other", newID(), sample, jobs.Idempotency{}); err != nil {
				t.Error(err)
			}
		}
	})
	total, calls := 0, 0
	for more := true; more; calls++ {
		out, err := s.Prune(t.Context(), time.Now(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		total, more = total+out.N, out.More
	}
	if total != old || calls < 10 {
		t.Errorf("%d of %d jobs went in %d calls", total, old, calls)
	}
}
