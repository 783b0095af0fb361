package storetest

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/jobs"
)

// wantQueues compares the tallies of client "a".
func (w *world) wantQueues(when string, want jobs.QueuePage) {
	w.Helper()
	got := must(w.store.Queues(w.Context(), "a", "", 10))(w)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// tallied is one queue, "q", as it should be.
func tallied(t jobs.Tally) []jobs.QueueTally { return []jobs.QueueTally{{Name: "q", Tally: t}} }

// testQueues: each change of a job moves the tally of its queue, and a restart finds the same.
func testQueues(w *world) {
	w.wantQueues("nothing was submitted", jobs.QueuePage{})
	first := w.submit("a", queued())
	urgent, later := queued(), queued()
	urgent.Priority, later.RunAt = 7, w.wall().Add(time.Hour)
	w.submit("a", urgent)
	planned := w.submit("a", later)
	w.submit("b", queued())
	page := w.submit("a", jobs.Spec{Actions: []byte(`[{"type":"click"}]`), Browser: true, MaxAttempts: 1, Timeout: time.Minute})
	actions := jobs.Tally{Pending: 1, Due: 1, Oldest: page.CreatedAt.Time}
	want := jobs.QueuePage{Queues: tallied(jobs.Tally{Pending: 3, Due: 2, Oldest: first.CreatedAt.Time}), Actions: actions}
	w.wantQueues("one is planned, the oldest has the lower priority", want)

	l := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 2, TTL: time.Hour, Worker: "w"})
	want = jobs.QueuePage{Queues: tallied(jobs.Tally{Pending: 1, Running: 2}), Actions: actions, Held: map[string]int64{"w": 2}}
	w.wantQueues("a worker has both", want)
	must(w.store.Complete(w.Context(), l[0].Lease, nil))(w)
	f := jobs.Failure{Class: "X", Message: "again", Retry: true, Backoff: jobs.Backoff{Least: time.Hour}}
	must(w.store.Fail(w.Context(), l[1].Lease, f))(w)
	want = jobs.QueuePage{Queues: tallied(jobs.Tally{Pending: 2}), Actions: actions}
	w.wantQueues("one is done, one backs off", want)

	w.reopen()
	w.wantQueues("after a restart", want)
	w.setClock(2 * time.Hour)
	if n, _ := w.promote(); n != 1 {
		w.Fatalf("%d jobs became due", n)
	}
	w.wantQueues("the planned one is due", jobs.QueuePage{
		Queues: tallied(jobs.Tally{Pending: 2, Due: 1, Oldest: planned.CreatedAt.Time}), Actions: actions,
	})
	for _, id := range []string{first.ID, planned.ID, page.ID} { // one waits, two are due
		must(w.store.Cancel(w.Context(), "a", id))(w)
	}
	w.wantQueues("all have ended", jobs.QueuePage{})

	w.submit("a", queued())
	w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour, Worker: "w"})
	w.reopen()
	w.wantQueues("a restart forgets whose lease it is", jobs.QueuePage{Queues: tallied(jobs.Tally{Running: 1})})
}

// testQueuePages: queues come by name, and each page ends where the next one begins.
func testQueuePages(w *world) {
	for i := range 5 {
		spec := queued()
		spec.Queue = fmt.Sprint("q", i)
		w.submit("a", spec)
	}
	after, pages := "", []string{}
	for more := true; more; {
		page := must(w.store.Queues(w.Context(), "a", after, 2))(w)
		names := ""
		for _, q := range page.Queues {
			names += q.Name
			after = q.Name
		}
		pages, more = append(pages, names), page.More
	}
	if diff := cmp.Diff([]string{"q0q1", "q2q3", "q4"}, pages); diff != "" {
		w.Errorf("pages (-want +got):\n%s", diff)
	}
}

// testChanges: each change of a job's state is told of once, and how long the first start and
// the end took, from the submit or from runAt.
func testChanges(w *world) {
	told := func() (out []string) {
		for _, c := range w.told() {
			text := fmt.Sprint(c.Client, c.What)
			if c.Timed {
				text += fmt.Sprint(" ", c.Took.Round(time.Hour))
			}
			out = append(out, text)
		}
		return out
	}
	change := func(what jobs.Changed) string { return fmt.Sprint("a", what) }
	later := queued()
	later.RunAt = w.wall().Add(time.Hour)
	w.submit("a", later)
	w.setClock(3 * time.Hour)
	w.promote()
	l := w.claim("a")
	if err := w.store.Release(w.Context(), l.Lease); err != nil {
		w.Fatal(err)
	}
	w.setClock(4 * time.Hour)
	l = w.claim("a")
	again := jobs.Failure{Class: "X", Message: "again", Retry: true}
	must(w.store.Fail(w.Context(), l.Lease, again))(w)
	l = w.claim("a")
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	must(w.store.Complete(w.Context(), l.Lease, nil))(w) // it is told again, and is nothing new
	want := []string{
		change(jobs.WasSubmitted), change(jobs.WasStarted) + " 2h0m0s", change(jobs.WasRetried), change(jobs.WasStarted), change(jobs.WasRetried),
		change(jobs.WasStarted), change(jobs.WasCompleted) + " 3h0m0s",
	}
	if diff := cmp.Diff(want, told()); diff != "" {
		w.Errorf("a job that completes (-want +got):\n%s", diff)
	}
	once := queued()
	once.MaxAttempts = 1
	w.submit("a", once)
	must(w.store.Fail(w.Context(), w.claim("a").Lease, again))(w)
	must(w.store.Cancel(w.Context(), "a", w.submit("a", once).ID))(w)
	want = []string{
		change(jobs.WasSubmitted), change(jobs.WasStarted) + " 0s", change(jobs.WasFailed) + " 0s", change(jobs.WasSubmitted), change(jobs.WasCancelled),
	}
	if diff := cmp.Diff(want, told()); diff != "" {
		w.Errorf("jobs that do not complete (-want +got):\n%s", diff)
	}
	states := must(w.store.States(w.Context(), "a"))(w)
	counts := map[jobs.Status]int64{jobs.Pending: 0, jobs.Processing: 0, jobs.Completed: 1, jobs.Failed: 1, jobs.Cancelled: 1}
	if diff := cmp.Diff(counts, states); diff != "" {
		w.Errorf("states (-want +got):\n%s", diff)
	}
	w.reopen()
	if diff := cmp.Diff(counts, must(w.store.States(w.Context(), "a"))(w)); diff != "" {
		w.Errorf("states after a restart (-want +got):\n%s", diff)
	}
}
