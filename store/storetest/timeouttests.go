package storetest

import (
	"errors"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// testTimeout: an attempt of a worker ends when it has run longer than the job
// allows, however often its lease is renewed, and also after a restart. The
// attempts of this process are its own affair.
func testTimeout(w *world) {
	const short = 60 * time.Millisecond
	spec := queued()
	spec.MaxAttempts, spec.Timeout = 2, short
	j := w.submit("a", spec)
	before := time.Now()
	claim := jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour}
	l := w.claims(claim)[0]
	claimed := time.Now()
	sent := time.Now()
	r := must(w.store.Extend(w.Context(), l.Lease))(w)
	if l.Lasts != short {
		w.Errorf("the lease lasts %v, want the attempt's time", l.Lasts)
	}
	if end := sent.Add(r.Lasts); r.Lasts > short || time.Now().Add(r.Lasts).Before(before.Add(short)) || end.After(claimed.Add(short)) {
		w.Errorf("the renewed lease lasts %v, want what is left of the attempt's time", r.Lasts)
	}
	if n := w.expired(10); n != 1 {
		w.Fatalf("ended %d attempts", n)
	}
	got := w.get("a", j.ID)
	w.wantStatus(got, jobs.Pending)
	if *got.Error != jobs.ClassTimeout || *got.ErrorMessage != "the attempt took longer than 60 ms" ||
		got.NextAttemptAt == nil || time.Until(got.NextAttemptAt.Time) < 200*time.Millisecond {
		w.Errorf("job is %+v", got)
	}
	if _, err := w.store.Complete(w.Context(), l.Lease, nil); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("complete after the time was over: %v", err)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying)

	spec.MaxAttempts = 1
	remote := w.submit("b", spec)
	w.claims(jobs.Claim{Client: "b", Queues: []string{"q"}, Max: 1, TTL: time.Hour})
	w.reopen()
	if n := w.expired(10); n != 1 {
		w.Fatalf("ended %d attempts after a restart", n)
	}
	got = w.get("b", remote.ID)
	w.wantStatus(got, jobs.Failed)
	if *got.Error != jobs.ClassTimeout {
		w.Errorf("after a restart the attempt ended with %s", *got.Error)
	}
	if time.Since(before) > time.Minute {
		w.Error("the restart gave the attempt a new time")
	}

	w.submit("c", spec)
	w.claims(jobs.Claim{Client: "c", Queues: []string{"q"}, Max: 1, TTL: time.Hour, Node: "n1"})
	n, next, err := swept(w.store.ExpireLeases(w.Context(), 10))
	if n != 0 || err != nil || time.Until(next) < 50*time.Minute {
		w.Errorf("an attempt of this process: ended %d, next at %v, error %v", n, next, err)
	}
}
