package storetest

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func testAppend(w *world) {
	w.submit("a", queued())
	l := w.claim("a")
	r := must(w.store.Append(w.Context(), l.Lease, []jobs.Body{
		jobs.Progressed(10, "first", "s1"), jobs.Logged("info", "a \"line\""),
		jobs.Progressed(20.5, "second", ""), jobs.Logged("warn", "another"),
	}))(w)
	events := w.history("a", l.Job.ID)
	if r.LastEventID != events[len(events)-1].ID || r.Lasts != time.Hour {
		w.Errorf("receipt is %+v", r)
	}
	w.wantTypes("a", l.Job.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeProgress, eventlog.TypeLog, eventlog.TypeProgress, eventlog.TypeLog)
	if line := w.data(events[3])["line"]; line != `a "line"` {
		w.Errorf("log line is %v", line)
	}
	j := w.get("a", l.Job.ID)
	if j.Progress == nil || *j.Progress != 20.5 || j.Message == nil || *j.Message != "second" || j.Step != nil {
		w.Errorf("progress is %v %v %v", j.Progress, j.Message, j.Step)
	}
	if j.Cursor != r.LastEventID {
		w.Errorf("job's cursor is %s, want %s", j.Cursor, r.LastEventID)
	}
	if r := must(w.store.Extend(w.Context(), l.Lease))(w); r.LastEventID != j.Cursor || r.Lasts != time.Hour {
		w.Errorf("extend gave %+v", r)
	}
	bad := l.Lease
	bad.Token += "x"
	if _, err := w.store.Append(w.Context(), bad, []jobs.Body{jobs.Logged("info", "x")}); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("append with a wrong token: %v", err)
	}
	if _, err := w.store.Extend(w.Context(), bad); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("extend with a wrong token: %v", err)
	}
	if got := w.history("a", l.Job.ID); len(got) != len(events) {
		w.Errorf("a refused append left %d events", len(got)-len(events))
	}
}

func testComplete(w *world) {
	w.submit("a", queued())
	l := w.claim("a")
	must(w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "f", "file1"), nil))(w)
	j := must(w.store.Complete(w.Context(), l.Lease, json.RawMessage(`{"ok":true}`)))(w)
	w.wantStatus(j, jobs.Completed)
	if string(j.Result) != `{"ok":true}` || j.CompletedAt == nil || len(j.Artifacts) != 1 || j.Error != nil {
		w.Errorf("completed job is %+v", j)
	}
	again := must(w.store.Complete(w.Context(), l.Lease, json.RawMessage(`{"ok":true}`)))(w)
	if diff := difference(j, again); diff != "" {
		w.Errorf("completed twice (-first +second):\n%s", diff)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeArtifact, eventlog.TypeCompleted)
	last := w.history("a", j.ID)[3]
	if data := w.data(last); j.Cursor != last.ID || len(data["artifacts"].([]any)) != 1 || data["result"].(map[string]any)["ok"] != true {
		w.Errorf("terminal event is %s", last.JSON)
	}
	for name, err := range map[string]error{
		"append":  errOf(w.store.Append(w.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "x")})),
		"extend":  errOf(w.store.Extend(w.Context(), l.Lease)),
		"fail":    errOf(w.store.Fail(w.Context(), l.Lease, jobs.Failure{})),
		"release": w.store.Release(w.Context(), l.Lease),
	} {
		if !errors.Is(err, jobs.ErrLeaseLost) {
			w.Errorf("%s after complete: %v", name, err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func testFail(w *world) {
	spec := queued()
	spec.MaxAttempts = 3
	j := w.submit("a", spec)
	l := w.claim("a")
	f := jobs.Failure{Class: "WorkerError", Message: "m1", Retry: true, Backoff: jobs.Backoff{Factor: 0.02}} // 20 ms
	got := must(w.store.Fail(w.Context(), l.Lease, f))(w)
	w.wantStatus(got, jobs.Pending)
	if *got.Error != "WorkerError" || *got.ErrorMessage != "m1" || got.NextAttemptAt == nil || got.CompletedAt != nil || got.Attempt != 1 {
		w.Errorf("failed job is %+v", got)
	}
	if again := must(w.store.Fail(w.Context(), l.Lease, f))(w); again.Cursor != got.Cursor {
		w.Errorf("failing again moved the job to %s", again.Cursor)
	}
	if _, err := w.store.Complete(w.Context(), l.Lease, nil); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("complete after fail: %v", err)
	}
	retrying := w.history("a", j.ID)[2]
	if data := w.data(retrying); data["attempt"] != 1.0 || data["error"] != "WorkerError" || data["nextAttemptAt"] != got.NextAttemptAt.String() {
		w.Errorf("event is %s", retrying.JSON)
	}
	<-time.After(time.Until(got.NextAttemptAt.Time))
	if n, next, err := swept(w.store.PromoteDue(w.Context(), 10)); n != 1 || !next.IsZero() || err != nil {
		w.Fatalf("promoted %d, next %v, error %v", n, next, err)
	}

	l = w.claim("a")
	if l.Job.Attempt != 2 || l.Job.NextAttemptAt != nil {
		w.Errorf("second attempt is %+v", l.Job)
	}
	must(w.store.Fail(w.Context(), l.Lease, jobs.Failure{Class: "X", Message: "m2", Retry: true}))(w)
	l = w.claim("a") // no delay: due at once
	got = must(w.store.Fail(w.Context(), l.Lease, jobs.Failure{Class: "Y", Message: "m3", Retry: true}))(w)
	w.wantStatus(got, jobs.Failed) // that was the last attempt
	if *got.Error != "Y" || got.CompletedAt == nil || got.NextAttemptAt != nil {
		w.Errorf("failed job is %+v", got)
	}
	if again := must(w.store.Fail(w.Context(), l.Lease, jobs.Failure{Class: "Y"}))(w); again.Cursor != got.Cursor {
		w.Error("failing again changed the job")
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying, eventlog.TypeStarted, eventlog.TypeRetrying, eventlog.TypeStarted, eventlog.TypeFailed)

	w.submit("a", queued())
	l = w.claim("a")
	w.wantStatus(must(w.store.Fail(w.Context(), l.Lease, jobs.Failure{Class: "Z", Retry: false}))(w), jobs.Failed)
}

func testRelease(w *world) {
	j := w.submit("a", queued())
	l := w.claim("a")
	if err := w.store.Release(w.Context(), l.Lease); err != nil {
		w.Fatal(err)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying)
	if data := w.data(w.history("a", j.ID)[2]); data["error"] != jobs.ClassInterrupted {
		w.Errorf("released with %v", data)
	}
	if got := w.get("a", j.ID); got.Attempt != 0 || got.Status != jobs.Pending {
		w.Errorf("released job is %+v", got)
	}
	if err := w.store.Release(w.Context(), l.Lease); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("released twice: %v", err)
	}
	if l := w.claim("a"); l.Job.Attempt != 1 {
		w.Errorf("attempt %d after a release", l.Job.Attempt)
	}
}

// expired waits for the next lease to run out and ends it.
func (w *world) expired(limit int) int {
	w.Helper()
	n, next, err := swept(w.store.ExpireLeases(w.Context(), limit))
	for n == 0 && err == nil && !next.IsZero() {
		<-time.After(time.Until(next))
		n, next, err = swept(w.store.ExpireLeases(w.Context(), limit))
	}
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func testExpire(w *world) {
	spec := queued()
	spec.MaxAttempts = 2
	j := w.submit("a", spec)
	if n, next, err := swept(w.store.ExpireLeases(w.Context(), 10)); n != 0 || !next.IsZero() || err != nil {
		w.Errorf("no lease is open: %d %v %v", n, next, err)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		short := jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: 10 * time.Millisecond}
		if got := w.claims(short); len(got) != 1 || got[0].Job.Attempt != attempt {
			w.Fatalf("claim %d: %+v", attempt, got)
		}
		if n := w.expired(10); n != 1 {
			w.Fatalf("ended %d leases", n)
		}
	}
	got := w.get("a", j.ID)
	w.wantStatus(got, jobs.Failed)
	if *got.Error != jobs.ClassLeaseExpired || got.Attempt != 2 {
		w.Errorf("job is %+v", got)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying, eventlog.TypeStarted, eventlog.TypeFailed)

	w.submitMany("a", 5, queued())
	w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 5, TTL: time.Millisecond})
	for left := 5; left > 0; {
		n := w.expired(2)
		if n == 0 || n > 2 {
			w.Fatalf("ended %d leases with limit 2", n)
		}
		left -= n
	}
}

// testFencing: a lease ends only by a committed command; from then on its
// holder can do nothing.
func testFencing(w *world) {
	j := w.submit("a", queued())
	old := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Millisecond})[0]
	<-time.After(old.Lasts)
	must(w.store.Append(w.Context(), old.Lease, []jobs.Body{jobs.Logged("info", "late, and accepted")}))(w)
	if n := w.expired(10); n != 1 {
		w.Fatalf("ended %d leases", n)
	}
	l := w.claim("a")
	for name, err := range map[string]error{
		"append":   errOf(w.store.Append(w.Context(), old.Lease, []jobs.Body{jobs.Logged("info", "x")})),
		"extend":   errOf(w.store.Extend(w.Context(), old.Lease)),
		"complete": errOf(w.store.Complete(w.Context(), old.Lease, nil)),
		"fail":     errOf(w.store.Fail(w.Context(), old.Lease, jobs.Failure{})),
		"release":  w.store.Release(w.Context(), old.Lease),
	} {
		if !errors.Is(err, jobs.ErrLeaseLost) {
			w.Errorf("%s with an expired lease: %v", name, err)
		}
	}
	if n, next, err := swept(w.store.ExpireLeases(w.Context(), 10)); n != 0 || time.Until(next) < 59*time.Minute || err != nil {
		w.Errorf("the new lease: %d %v %v", n, next, err)
	}
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeLog, eventlog.TypeRetrying, eventlog.TypeStarted, eventlog.TypeCompleted)
}

// testLocalLeases: a restart ends the leases of the process that is gone, and
// leaves those of workers, which get one full TTL.
func testLocalLeases(w *world) {
	w.submitMany("a", 2, queued())
	claim := jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour}
	remote := w.claims(claim)[0]
	claim.Node = "n1"
	local := w.claims(claim)[0]
	w.reopen()
	w.wantTypes("a", local.Job.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying)
	got := w.get("a", local.Job.ID)
	if got.Status != jobs.Pending || got.Attempt != 1 || *got.Error != jobs.ClassLeaseExpired {
		w.Errorf("local job is %+v", got)
	}
	w.wantStatus(w.get("a", remote.Job.ID), jobs.Processing)
	n, next, err := swept(w.store.ExpireLeases(w.Context(), 10))
	if left := time.Until(next); n != 0 || err != nil || left < 59*time.Minute || left > time.Hour {
		w.Errorf("ended %d, next in %v, error %v", n, left, err)
	}
	r := must(w.store.Append(w.Context(), remote.Lease, []jobs.Body{jobs.Progressed(1, "", "")}))(w)
	if r.Lasts != time.Hour {
		w.Errorf("renewed for %v", r.Lasts)
	}
	must(w.store.Complete(w.Context(), remote.Lease, nil))(w)
	if l := w.claim("a"); l.Job.ID != local.Job.ID || l.Job.Attempt != 2 {
		w.Errorf("claimed %+v", l.Job)
	}
}

// testCancelRace: whoever is first, a job has exactly one terminal event.
func testCancelRace(w *world) {
	const n = 60
	w.submitMany("a", n, queued())
	leased := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: n, TTL: time.Hour})
	var wg sync.WaitGroup
	for _, l := range leased {
		var cancelErr, completeErr, failErr error
		var ends sync.WaitGroup
		ends.Go(func() { _, cancelErr = w.store.Cancel(w.Context(), "a", l.Job.ID) })
		ends.Go(func() { _, completeErr = w.store.Complete(w.Context(), l.Lease, nil) })
		ends.Go(func() { _, failErr = w.store.Fail(w.Context(), l.Lease, jobs.Failure{Class: "X"}) })
		wg.Go(func() {
			ends.Wait()
			won := 0
			for _, err := range []error{cancelErr, completeErr, failErr} {
				var conflict *jobs.ConflictError
				if err == nil {
					won++
				} else if !errors.Is(err, jobs.ErrLeaseLost) && !errors.As(err, &conflict) {
					w.Errorf("loser got %v", err)
				}
			}
			if won != 1 {
				w.Errorf("%d of three callers ended job %s", won, l.Job.ID)
			}
		})
	}
	wg.Wait()
	for _, l := range leased {
		events := w.history("a", l.Job.ID)
		if len(events) != 3 || !events[2].Type.Terminal() {
			w.Errorf("job %s has %d events", l.Job.ID, len(events))
		}
	}
	counts := must(w.store.Counts(w.Context()))(w)
	if counts[jobs.Completed]+counts[jobs.Failed]+counts[jobs.Cancelled] != n || counts[jobs.Processing] != 0 {
		w.Errorf("counts are %v", counts)
	}
}
