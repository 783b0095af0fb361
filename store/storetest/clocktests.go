package storetest

import (
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// jumps are what the clock on the wall is set by.
var jumps = []time.Duration{-2 * time.Hour, 2 * time.Hour, -48 * time.Hour, 48 * time.Hour}

// promote makes jobs due and returns how many, and how long it is to the next.
func (w *world) promote() (n int, left time.Duration) {
	w.Helper()
	n, next, err := swept(w.store.PromoteDue(w.Context(), 100))
	if err != nil {
		w.Fatal(err)
	}
	if !next.IsZero() {
		left = time.Until(next)
	}
	return n, left
}

// expire ends leases and returns how many, and how long it is to the next.
func (w *world) expire() (n int, left time.Duration) {
	w.Helper()
	n, next, err := swept(w.store.ExpireLeases(w.Context(), 100))
	if err != nil {
		w.Fatal(err)
	}
	if !next.IsZero() {
		left = time.Until(next)
	}
	return n, left
}

// failing fails a fresh job of the client, to be tried again after delay.
func (w *world) failing(client string, delay time.Duration) jobs.Job {
	w.Helper()
	w.submit(client, queued())
	l := w.claim(client)
	f := jobs.Failure{Class: "X", Message: "again", Retry: true, Backoff: jobs.Backoff{Least: delay}}
	return must(w.store.Fail(w.Context(), l.Lease, f))(w)
}

// testClockIsSet: setting the clock while the process runs makes no back-off
// shorter or longer, and ends no lease.
func testClockIsSet(w *world) {
	const back, lease = time.Hour, 30 * time.Minute
	first := w.failing("a", back)
	w.submit("b", queued())
	w.claims(jobs.Claim{Client: "b", Queues: []string{"q"}, Max: 1, TTL: lease})
	for _, by := range jumps {
		w.setClock(by)
		if n, left := w.promote(); n != 0 || left <= 0 || left > back {
			w.Errorf("clock set by %v: %d due, the next in %v", by, n, left)
		}
		if n, left := w.expire(); n != 0 || left <= 0 || left > lease {
			w.Errorf("clock set by %v: %d leases ended, the next in %v", by, n, left)
		}
		j := w.failing("c", time.Millisecond)
		n, left := w.promote()
		for n == 0 && left != 0 && left < time.Minute { // it may be just over
			<-time.After(left)
			n, left = w.promote()
		}
		if got := w.claims(jobs.Claim{Client: "c", Queues: []string{"q"}, Max: 1, TTL: 24 * time.Hour}); len(got) != 1 || got[0].Job.ID != j.ID {
			w.Errorf("clock set by %v: a back-off of 1 ms is not over, the next is due in %v", by, left)
		}
	}
	if j := w.get("a", first.ID); j.Status != jobs.Pending || j.Attempt != 1 {
		w.Errorf("%+v", j)
	}
}

// testClockIsSetMeanwhile: after a start nothing waits longer than was asked for,
// and no attempt lasts longer than its whole time.
func testClockIsSetMeanwhile(by time.Duration) func(*world) {
	const back, limit = time.Hour, 20 * time.Minute
	return func(w *world) {
		w.failing("a", back)
		spec := queued()
		spec.Timeout = limit
		w.submit("a", spec)
		w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: 24 * time.Hour})
		w.setClock(by)
		w.reopen()
		if n, left := w.promote(); left > back || by < 0 && (n != 0 || left <= 0) {
			w.Errorf("%d are due, the next in %v", n, left)
		}
		if n, left := w.expire(); left > limit || by < 0 && (n != 0 || left <= 0) {
			w.Errorf("%d attempts are out of time, the next in %v", n, left)
		}
	}
}

// testRunAtFollows: a time that people name is the wall's.
func testRunAtFollows(w *world) {
	spec := queued()
	spec.RunAt = time.Now().Add(time.Hour)
	w.submit("a", spec)
	w.setClock(-2 * time.Hour)
	if n, _ := w.promote(); n != 0 {
		w.Error("a job is due before its time")
	}
	w.setClock(2 * time.Hour)
	if n, _ := w.promote(); n != 1 {
		w.Error("a job is not due after its time")
	}
	w.claim("a")
}
