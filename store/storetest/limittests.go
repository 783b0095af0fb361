package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// wantLimit checks a refusal and its figures.
func (w *world) wantLimit(err error, want jobs.LimitError) {
	w.Helper()
	var got *jobs.LimitError
	if !errors.As(err, &got) {
		w.Errorf("%v, want the refusal %+v", err, want)
		return
	}
	if diff := difference(want, *got); diff != "" {
		w.Errorf("refusal (-want +got):\n%s", diff)
	}
}

func (w *world) wantUsage(client string, want jobs.Usage) {
	w.Helper()
	if got := must(w.store.Usage(w.Context(), client))(w); got != want {
		w.Errorf("%s fills %+v, want %+v", client, got, want)
	}
}

func (w *world) trySubmit(client string, spec jobs.Spec) error {
	_, _, err := w.store.Submit(w.Context(), client, newID(), spec, jobs.Idempotency{})
	return err
}

// testJobLimit: a client has so many jobs pending or running, and one more is
// refused and leaves nothing.
func testJobLimit(w *world) {
	w.limit(jobs.Limits{JobsPerClient: 3})
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	first, _, err := w.store.Submit(w.Context(), "a", newID(), queued(), key)
	if err != nil {
		w.Fatal(err)
	}
	w.submit("a", queued())
	ended := w.submit("a", queued())
	full := jobs.LimitError{What: jobs.LimitJobs, Max: 3, Used: 3, Asked: 1}
	w.wantLimit(w.trySubmit("a", queued()), full)
	must(w.store.Cancel(w.Context(), "a", ended.ID))(w)
	w.claim("a")
	w.submit("a", queued())
	for range 2 {
		log, list := w.page(eventlog.Room{Client: "a"}, 0, 100), must(w.store.List(w.Context(), "a", jobs.ListQuery{Limit: 10}))(w)
		w.wantLimit(w.trySubmit("a", queued()), full)
		other := jobs.Idempotency{Key: "other", Hash: [32]byte{1}}
		w.wantLimit(errOf2(w.store.Submit(w.Context(), "a", newID(), queued(), other)), full)
		w.wantLimit(errOf2(w.store.Retry(w.Context(), "a", ended.ID, newID(), jobs.Idempotency{})), full)
		if diff := difference(log, w.page(eventlog.Room{Client: "a"}, 0, 100)); diff != "" {
			w.Errorf("a refused submit changed the log (-before +after):\n%s", diff)
		}
		if diff := difference(list, must(w.store.List(w.Context(), "a", jobs.ListQuery{Limit: 10}))(w)); diff != "" {
			w.Errorf("a refused submit changed the list (-before +after):\n%s", diff)
		}
		again, replayed, err := w.store.Submit(w.Context(), "a", newID(), queued(), key)
		if err != nil || !replayed || again.ID != first.ID {
			w.Errorf("a repeated submit at the limit: replayed %v, %v", replayed, err)
		}
		var conflict *jobs.ConflictError
		if err := errOf2(w.store.Retry(w.Context(), "a", first.ID, newID(), jobs.Idempotency{})); !errors.As(err, &conflict) {
			w.Errorf("retry of a job that has not ended: %v", err)
		}
		w.reopen() // the second time after a restart
	}
	w.submit("b", queued())
	w.wantUsage("a", jobs.Usage{Jobs: 3})
	w.wantUsage("b", jobs.Usage{Jobs: 1})
	w.wantUsage("nobody", jobs.Usage{})
	w.limit(jobs.Limits{JobsPerClient: 2}) // lowered below what is there
	w.wantLimit(w.trySubmit("a", queued()), jobs.LimitError{What: jobs.LimitJobs, Max: 2, Used: 3, Asked: 1})
	w.limit(jobs.Limits{})
	w.submit("a", queued())
}

// testJobLimitEndings: every way in which a job ends makes room for one, and what
// only makes it wait again makes none.
func testJobLimitEndings(w *world) {
	w.limit(jobs.Limits{JobsPerClient: 1})
	once := queued()
	once.MaxAttempts = 1
	short := once
	short.Timeout = time.Millisecond
	brief := queued()
	brief.ExpiresIn = time.Millisecond
	lease := func(ttl time.Duration) jobs.Lease {
		return w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: ttl})[0].Lease
	}
	for name, end := range map[string]struct {
		spec jobs.Spec
		how  func(j jobs.Job) error
	}{
		"cancel": {queued(), func(j jobs.Job) error { return errOf(w.store.Cancel(w.Context(), "a", j.ID)) }},
		"cancel of a running job": {queued(), func(j jobs.Job) error {
			lease(time.Hour)
			return errOf(w.store.Cancel(w.Context(), "a", j.ID))
		}},
		"complete": {queued(), func(jobs.Job) error { return errOf(w.store.Complete(w.Context(), lease(time.Hour), nil)) }},
		"fail": {queued(), func(jobs.Job) error {
			return errOf(w.store.Fail(w.Context(), lease(time.Hour), jobs.Failure{Class: "X"}))
		}},
		"the last attempt": {once, func(jobs.Job) error {
			return errOf(w.store.Fail(w.Context(), lease(time.Hour), jobs.Failure{Class: "X", Retry: true}))
		}},
		"a lost lease": {once, func(jobs.Job) error {
			lease(time.Millisecond)
			w.expired(1)
			return nil
		}},
		"too long an attempt": {short, func(jobs.Job) error {
			lease(time.Hour)
			w.expired(1)
			return nil
		}},
		"nobody begins": {brief, func(j jobs.Job) error {
			w.expireJobs(1)
			return nil
		}},
		"handed back, failed, then cancelled": {queued(), func(j jobs.Job) error {
			err := w.store.Release(w.Context(), lease(time.Hour))
			full := w.trySubmit("a", queued())
			w.wantLimit(full, jobs.LimitError{What: jobs.LimitJobs, Max: 1, Used: 1, Asked: 1})
			err = errors.Join(err, errOf(w.store.Fail(w.Context(), lease(time.Hour), jobs.Failure{Class: "X", Retry: true})))
			full = w.trySubmit("a", queued())
			w.wantLimit(full, jobs.LimitError{What: jobs.LimitJobs, Max: 1, Used: 1, Asked: 1})
			return errors.Join(err, errOf(w.store.Cancel(w.Context(), "a", j.ID)))
		}},
	} {
		j := w.submit("a", end.spec)
		w.wantUsage("a", jobs.Usage{Jobs: 1})
		if err := end.how(j); err != nil {
			w.Fatalf("%s: %v", name, err)
		}
		w.wantUsage("a", jobs.Usage{})
	}
	w.pruneAll(later())
	w.wantUsage("a", jobs.Usage{})
	w.reopen()
	w.wantUsage("a", jobs.Usage{})
}

// testJobLimitRace: of many who submit at the same time, exactly as many succeed
// as there is room for.
func testJobLimitRace(w *world) {
	const limit, callers, each = 37, 16, 10
	w.limit(jobs.Limits{JobsPerClient: limit})
	var mu sync.Mutex // guards made
	made := map[string]int{}
	var all sync.WaitGroup
	for i := range callers {
		client := fmt.Sprintf("c%d", i%2)
		all.Go(func() {
			for range each {
				err := w.trySubmit(client, queued())
				var no *jobs.LimitError
				if err != nil && !errors.As(err, &no) {
					w.Errorf("submit: %v", err)
				}
				if err == nil {
					mu.Lock()
					made[client]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if diff := difference(map[string]int{"c0": limit, "c1": limit}, made); diff != "" {
		w.Errorf("jobs made (-want +got):\n%s", diff)
	}
	w.wantUsage("c0", jobs.Usage{Jobs: limit})
}

// errOf2 returns the error of a submit.
func errOf2(_ jobs.Job, _ bool, err error) error { return err }
