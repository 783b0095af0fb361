package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func contextWithTimeout(w *world, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.Context(), d)
}

// pruneAll prunes until nothing is left and returns how many jobs went.
func (w *world) pruneAll(before time.Time) int {
	w.Helper()
	total := 0
	for {
		out, err := w.store.Prune(w.Context(), before, time.Minute)
		if err != nil {
			w.Fatalf("prune: %v", err)
		}
		total += out.N
		if !out.More {
			return total
		}
	}
}

func later() time.Time { return time.Now().Add(time.Hour) }

func testPrune(w *world) {
	room := eventlog.Room{Client: "a"}
	open := w.running("a")                               // 1, 2
	l := w.running("a")                                  // 3, 4
	must(w.store.Complete(w.Context(), l.Lease, nil))(w) // 5
	w.write(open, 1)                                     // 6
	other := w.submit("b", queued())
	must(w.store.Cancel(w.Context(), "b", other.ID))(w)
	log := w.page(room, 0, 10)
	if n := w.pruneAll(time.Now().Add(-time.Hour)); n != 0 {
		w.Fatalf("pruned %d jobs that ended just now", n)
	}
	if n := w.pruneAll(later()); n != 2 {
		w.Errorf("pruned %d jobs, want 2", n)
	}
	if _, err := w.store.Get(w.Context(), "a", l.Job.ID); !errors.Is(err, jobs.ErrNotFound) {
		w.Errorf("get of a pruned job: %v", err)
	}
	for _, client := range []string{"a", "b"} {
		for _, e := range w.page(eventlog.Room{Client: client}, 0, 10) {
			if e.JobID != open.Job.ID {
				w.Errorf("event of a pruned job: %s", e.JSON)
			}
		}
	}
	p := must(w.store.Page(w.Context(), room, 0, 10, 1<<20))(w)
	if p.Pruned != 5 || len(p.Events) != 3 {
		w.Errorf("page is %+v", p)
	}
	s := must(w.store.Open(w.Context(), room, nil))(w)
	if s.Head != 6 || s.Oldest != 5 || s.OldestID != log[4].ID {
		w.Errorf("room is %+v", s)
	}
	mine := eventlog.Room{Client: "a", Job: open.Job.ID}
	for cursor, want := range map[string]eventlog.Reason{
		"0-0": eventlog.ReasonPruned, log[3].ID: eventlog.ReasonPruned, log[4].ID: eventlog.Valid, log[5].ID: eventlog.Valid,
	} {
		if v := w.verdict(room, cursor); v != want {
			w.Errorf("client room at %s: %q, want %q", cursor, v, want)
		}
		if v := w.verdict(mine, cursor); v != eventlog.Valid {
			w.Errorf("job room at %s: %q", cursor, v)
		}
	}
	if p := must(w.store.Page(w.Context(), mine, 0, 10, 1<<20))(w); p.Pruned != 0 || len(p.Events) != 3 || p.Gone {
		w.Errorf("job page is %+v", p)
	}
	w.write(open, 1)
	if got := w.publisher.of("a"); got[len(got)-1].Seq != 7 {
		w.Errorf("the log goes on at %d", got[len(got)-1].Seq)
	}
	counts := must(w.store.Counts(w.Context()))(w)
	if counts[jobs.Completed] != 0 || counts[jobs.Cancelled] != 0 || counts[jobs.Processing] != 1 {
		w.Errorf("counts are %v", counts)
	}
	w.reopen() // the head survives although the newest events of b are gone
	if s := must(w.store.Open(w.Context(), eventlog.Room{Client: "b"}, nil))(w); s.Head != 2 || s.Oldest != 2 {
		w.Errorf("b's room is %+v", s)
	}
}

// testPruneLarge: a job that takes several transactions is gone from the first.
func testPruneLarge(w *world) {
	room := eventlog.Room{Client: "a"}
	l := w.running("a")
	bodies := make([]jobs.Body, 500)
	for i := range bodies {
		bodies[i] = jobs.Logged("info", fmt.Sprint(i))
	}
	must(w.store.Append(w.Context(), l.Lease, bodies))(w)
	must(w.store.Complete(w.Context(), l.Lease, nil))(w) // 503 events
	mine := eventlog.Room{Client: "a", Job: l.Job.ID}
	var mark uint64
	jobsGone, calls := 0, 0
	for more := true; more; calls++ {
		out := must(w.store.Prune(w.Context(), later(), 0))(w)
		jobsGone, more = jobsGone+out.N, out.More
		p := must(w.store.Page(w.Context(), room, 0, 1000, 1<<20))(w)
		if p.Pruned-mark > 250 || p.Pruned <= mark && more || len(p.Events) > 0 && p.Events[0].Seq != p.Pruned+1 {
			w.Errorf("pruned went from %d to %d, %d events are left", mark, p.Pruned, len(p.Events))
		}
		mark = p.Pruned
		if p := must(w.store.Page(w.Context(), mine, 0, 10, 1<<20))(w); !p.Gone || len(p.Events) > 0 {
			w.Errorf("half a job can be read: %+v", p)
		}
		_, openErr := w.store.Open(w.Context(), mine, nil)
		_, getErr := w.store.Get(w.Context(), "a", l.Job.ID)
		_, cancelErr := w.store.Cancel(w.Context(), "a", l.Job.ID)
		_, completeErr := w.store.Complete(w.Context(), l.Lease, nil)
		for _, err := range []error{openErr, getErr, cancelErr, completeErr} {
			if !errors.Is(err, jobs.ErrNotFound) {
				w.Errorf("half a job is seen: %v", err)
			}
		}
		if p := must(w.store.List(w.Context(), "a", jobs.ListQuery{Limit: 10}))(w); len(p.Jobs) != 0 {
			w.Error("half a job is listed")
		}
		if calls == 0 {
			w.reopen() // in the middle of it
		}
	}
	if mark != 503 || jobsGone != 1 || calls < 3 {
		w.Errorf("pruned up to %d, %d jobs, in %d calls", mark, jobsGone, calls)
	}
}

func testPruneKey(w *world) {
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	first, _, err := w.store.Submit(w.Context(), "a", newID(), queued(), key)
	if err != nil {
		w.Fatal(err)
	}
	must(w.store.Cancel(w.Context(), "a", first.ID))(w)
	if j, replayed, err := w.store.Submit(w.Context(), "a", newID(), queued(), key); !replayed || j.ID != first.ID || err != nil {
		w.Errorf("key of a kept job: %v %v", replayed, err)
	}
	w.submit("a", queued())
	must(w.store.Cancel(w.Context(), "a", w.submit("a", queued()).ID))(w)
	list := must(w.store.List(w.Context(), "a", jobs.ListQuery{Limit: 1}))(w)
	w.pruneAll(later())
	if p := must(w.store.List(w.Context(), "a", jobs.ListQuery{Limit: 5, After: *list.Next}))(w); len(p.Jobs) != 1 {
		w.Errorf("a list that goes on from a pruned job has %d jobs, want 1", len(p.Jobs))
	}
	if j, replayed, err := w.store.Submit(w.Context(), "a", newID(), queued(), key); replayed || j.ID == first.ID || err != nil {
		w.Errorf("key of a pruned job: %v %v", replayed, err)
	}
}

func testClosed(w *world) {
	w.running("a")
	closed := w.store
	w.close()
	ctx := w.Context()
	_, _, submit := closed.Submit(ctx, "a", newID(), queued(), jobs.Idempotency{})
	_, list := closed.List(ctx, "a", jobs.ListQuery{Limit: 1})
	_, expire := closed.ExpireLeases(ctx, 1)
	_, rev := closed.Revision(ctx)
	_, secret := closed.SigningSecret(ctx)
	_, session := closed.Session(ctx, "a", "s")
	join := closed.JoinRoom(ctx, "a", "s", joined(1), nil)
	for _, err := range []error{submit, list, expire, rev, secret, session, join} {
		if !errors.Is(err, jobs.ErrClosed) {
			w.Errorf("a closed store returned %v", err)
		}
	}
}
