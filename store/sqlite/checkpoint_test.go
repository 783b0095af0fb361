package sqlite

import (
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// TestCheckpoints: the WAL is moved beside the commits, and begins anew, long before SQLite
// would hold up a commit for it; and no commit ever waits for a lock of the checkpointer.
func TestCheckpoints(t *testing.T) {
	dir := t.TempDir()
	s := openServing(t, dir, Options{})
	beside, err := newSession(t.Context(), s.writerDB, "")
	if err != nil {
		t.Fatal(err)
	}
	defer beside.close()
	if _, err := s.committer.db.exec("PRAGMA busy_timeout = 0"); err != nil { // a wait becomes an error
		t.Fatal(err)
	}
	big := sample
	big.Payload = []byte(`"` + strings.Repeat("x", 60<<10) + `"`) // sixteen pages and more
	longest, anew := 0, 0
	for deadline := time.Now().Add(time.Minute); anew < 3; {
		if _, _, err := s.Submit(t.Context(), "a", newID(), big, jobs.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		pages, _, err := beside.checkpoint(sqlWAL)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the WAL began anew %d times in time and has %d pages, %v", anew, pages, err)
		}
		if pages < longest/2 { // it began anew
			if longest < autoCheckpoint {
				anew++
			}
			longest = 0
		}
		longest = max(longest, pages)
	}
}
