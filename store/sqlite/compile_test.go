package sqlite

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/mattn/go-sqlite3"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// TestStatementsStayCompiled: what runs all the time is compiled once. SQLite asks
// the authorizer whenever it compiles a statement.
func TestStatementsStayCompiled(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	once := func() {
		ctx := context.Background()
		l := leased(t, s, "c")
		if _, err := s.Append(ctx, l.Lease, []jobs.Body{jobs.Progressed(50, "half", "x")}); err != nil {
			t.Fatal(err)
		}
		room := eventlog.Room{Client: "c", Job: l.Job.ID}
		if _, err := s.Get(ctx, "c", l.Job.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(ctx, "c", jobs.ListQuery{Limit: 3}); err != nil {
			t.Fatal(err)
		}
		for _, r := range []eventlog.Room{room, {Client: "c"}} {
			if _, err := s.Open(ctx, r, &eventlog.Cursor{}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Page(ctx, r, 0, 10, 10_000); err != nil {
				t.Fatal(err)
			}
		}
		err := s.JoinRoom(ctx, "c", "session", session.Room{N: 1, Job: l.Job.ID}, []int64{2})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Extend(ctx, l.Lease); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Submit(ctx, "c", newID(), sample, jobs.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		next := &jobs.Claim{Client: "c", Queues: []string{"q"}, Max: 1, After: l.Lease}
		for range 2 { // the second time it is told again
			steps := []jobs.Step{{Lease: l.Lease, Outcome: jobs.AttemptCompleted}}
			if _, claimed, err := s.Settle(ctx, steps, next); err != nil || len(claimed) != 1 {
				t.Fatal(claimed, err)
			}
		}
	}
	var compiled atomic.Int64
	watch(t, s.committer.db, &compiled)
	watch(t, s.idle[readers-1], &compiled) // no other one is used here
	once()
	compiled.Store(0)
	once()
	if n := compiled.Load(); n > 0 {
		t.Errorf("statements were compiled anew: the authorizer was asked %d times", n)
	}
}

// watch counts what the authorizer of a connection is asked.
func watch(t *testing.T, db *conn, asked *atomic.Int64) {
	t.Helper()
	err := db.raw.Raw(func(c any) error {
		c.(*sqlite3.SQLiteConn).RegisterAuthorizer(func(int, string, string, string) int {
			asked.Add(1)
			return sqlite3.SQLITE_OK
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
