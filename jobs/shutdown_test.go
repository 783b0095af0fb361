package jobs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

func TestStopHandsBackWithoutAnAttempt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		began, ended := make(chan jobs.Env, 8), make(chan error, 8)
		p := r.start(t, jobs.ProcessorOptions{PerClient: 8}, blocked(began, ended))
		ids := make([]string, 8)
		for i := range ids {
			ids[i] = r.submit(t, "a", actions("x"))
		}
		for range ids {
			<-began
		}
		grace, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		if err := p.Stop(grace); err != nil || time.Since(start).Round(settled) != 20*time.Second {
			t.Errorf("stopped after %v with %v", time.Since(start), err)
		}
		for _, id := range ids {
			if got := r.story(id); got != "created started progress retrying" {
				t.Error(got)
			}
			if j := r.get(t, "a", id); j.Attempt != 0 || j.Status != jobs.Pending || *j.Error != jobs.ClassInterrupted {
				t.Errorf("%+v", j)
			}
		}
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) { return nil, nil })
		settle()
		for _, id := range ids {
			if j := r.get(t, "a", id); j.Attempt != 1 || j.Status != jobs.Completed {
				t.Errorf("%+v", j)
			}
		}
	})
}

func TestStopLetsRunningJobsFinish(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.start(t, jobs.ProcessorOptions{Concurrency: 1}, func(context.Context, string, jobs.Env) (any, error) {
			time.Sleep(10 * time.Second)
			return nil, nil
		})
		running, waiting := r.submit(t, "a", actions("x")), r.submit(t, "a", actions("x"))
		time.Sleep(time.Second)
		p.StopClaiming()
		grace, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		if err := p.Stop(grace); err != nil || time.Since(start).Round(settled) != 9*time.Second {
			t.Errorf("stopped after %v with %v", time.Since(start), err)
		}
		if a, b := r.story(running), r.story(waiting); a != "created started progress completed" || b != "created" {
			t.Errorf("%s; %s", a, b)
		}
	})
}

// A process that ends without a word has used up the attempt.
func TestCrashCountsTheAttempt(t *testing.T) {
	dir := sqlitetest.Folder(t)
	synctest.Test(t, func(t *testing.T) {
		r := openRig(t, dir, nil)
		began, ended := make(chan jobs.Env, 1), make(chan error, 1)
		p := r.start(t, jobs.ProcessorOptions{}, blocked(began, ended))
		id := r.submit(t, "a", actions("x"))
		<-began
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_ = p.Stop(over) // cannot hand anything back: the store is gone

		again := openRig(t, dir, nil)
		again.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) { return nil, nil })
		time.Sleep(time.Minute)
		if j := again.get(t, "a", id); j.Attempt != 2 || j.Status != jobs.Completed {
			t.Errorf("%+v", j)
		}
		if got := again.story(id); got != "retrying started progress completed" {
			t.Error(got)
		}
	})
}

// faulty is a store whose commands fail as told.
type faulty struct {
	jobs.Store
	lost     atomic.Int64 // that many commits are done but reported as ErrUnavailable
	full     atomic.Int64 // that many commands are refused with ErrStorageFull
	silenced atomic.Bool  // renewals are lost on the way
	bounded  atomic.Bool  // events are refused, because storage has reached its bound

	before func([]jobs.Step)     // called before each Settle; nil: nothing is
	after  func(command)         // called with each that was carried out, before it is answered
	refuse func(jobs.Step) error // says how a step is answered that is not carried out

	mu      sync.Mutex // guards settled
	settled []command
}

func (f *faulty) spoil(command func() error) error {
	if f.full.Add(-1) >= 0 {
		return jobs.ErrStorageFull
	}
	err := command()
	if err == nil && f.lost.Add(-1) >= 0 {
		return jobs.ErrUnavailable
	}
	return err
}

// command is a call of Settle.
type command struct {
	steps   []jobs.Step
	claimed []jobs.Leased
}

// Settle spoils the steps, and never a claim that comes without any.
func (f *faulty) Settle(ctx context.Context, steps []jobs.Step, next *jobs.Claim) (out []jobs.Settled, got []jobs.Leased, err error) {
	if f.before != nil {
		f.before(steps)
	}
	settle := func() error {
		out, got, err = f.bound(ctx, steps, next)
		return err
	}
	if len(steps) == 0 {
		err = settle()
	} else {
		err = f.spoil(settle)
	}
	if err != nil {
		out, got = nil, nil
	}
	f.mu.Lock()
	f.settled = append(f.settled, command{steps, got})
	f.mu.Unlock()
	if f.after != nil {
		f.after(command{steps, got})
	}
	return out, got, err
}

// commands returns the calls of Settle since the last time that did something.
func (f *faulty) commands() (some []command) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.settled {
		if len(c.steps)+len(c.claimed) > 0 {
			some = append(some, c)
		}
	}
	f.settled = nil
	return some
}

// bound lets the store settle steps, but for those that are refused, and those with events
// while it is bounded.
func (f *faulty) bound(ctx context.Context, steps []jobs.Step, next *jobs.Claim) ([]jobs.Settled, []jobs.Leased, error) {
	bounded := f.bounded.Load()
	if next != nil && bounded {
		silent := *next
		silent.Announce = false
		next = &silent
	}
	out := make([]jobs.Settled, len(steps))
	var rest []jobs.Step
	var places []int
	for i, s := range steps {
		if bounded && len(s.Events) > 0 {
			out[i].Err = &jobs.LimitError{What: jobs.LimitStorage}
		} else if f.refuse != nil {
			out[i].Err = f.refuse(s)
		}
		if out[i].Err == nil {
			rest, places = append(rest, s), append(places, i)
		}
	}
	some, got, err := f.Store.Settle(ctx, rest, next)
	for i, a := range some {
		out[places[i]] = a
	}
	return out, got, err
}

func (f *faulty) Extend(ctx context.Context, l jobs.Lease) (jobs.Receipt, error) {
	if f.silenced.Load() {
		return jobs.Receipt{}, jobs.ErrUnavailable
	}
	return f.Store.Extend(ctx, l)
}

func faultyRig(t *testing.T, f func(t *testing.T, r *rig, store *faulty)) {
	dir := sqlitetest.Folder(t)
	synctest.Test(t, func(t *testing.T) {
		var store *faulty
		r := openRig(t, dir, func(s jobs.Store) jobs.Store {
			store = &faulty{Store: s}
			return store
		})
		f(t, r, store)
	})
}

// Whatever the store says, each event is committed once.
func TestTroubleOfTheStoreDoublesNothing(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		var fail atomic.Bool
		r.start(t, jobs.ProcessorOptions{Concurrency: 1}, func(context.Context, string, jobs.Env) (any, error) {
			if fail.Load() {
				return nil, &jobs.ActionError{Class: "X", Message: "no"}
			}
			return nil, nil
		})
		for lost := range int64(4) {
			for full := range int64(4) {
				fail.Store((lost+full)%2 == 1)
				store.lost.Store(lost)
				store.full.Store(full)
				id := r.submit(t, "a", actions("x", "x"))
				time.Sleep(time.Minute)
				want := "created started progress progress completed"
				if fail.Load() {
					want = "created started progress failed"
				}
				if got := r.story(id); got != want {
					t.Errorf("%d lost answers, %d times full: %s", lost, full, got)
				}
			}
		}
	})
}

// A run whose lease was given away stops and commits nothing more.
func TestLostLeaseStopsTheRun(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		began, ended := make(chan jobs.Env, 2), make(chan error, 2)
		r.start(t, jobs.ProcessorOptions{LeaseTTL: 30 * time.Second}, blocked(began, ended))
		spec := actions("x")
		spec.MaxAttempts = 1
		id := r.submit(t, "a", spec)
		<-began
		store.silenced.Store(true)
		time.Sleep(31 * time.Second)
		if got := r.story(id); got != "created started progress failed" {
			t.Error(got)
		}
		store.silenced.Store(false)
		if err := <-ended; !errors.Is(err, jobs.ErrLeaseLost) {
			t.Error(err)
		}
		if class := *r.get(t, "a", id).Error; class != jobs.ClassLeaseExpired {
			t.Error(class)
		}
	})
}

// An action that heeds nothing holds neither its job, nor its slot, nor Stop.
func TestDeafActionIsAbandoned(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		began, release := make(chan jobs.Env, 4), make(chan struct{})
		saved := make(chan error, 4)
		deaf := func(ctx context.Context, kind string, env jobs.Env) (any, error) {
			if kind != "deaf" {
				return nil, nil
			}
			began <- env
			<-release
			_, err := env.Save(ctx, "late", "text/plain", -1, strings.NewReader("late"))
			saved <- err
			return nil, nil
		}
		p := r.start(t, jobs.ProcessorOptions{Concurrency: 1}, deaf)
		once := actions("deaf")
		once.MaxAttempts, once.Timeout = 1, 5*time.Second
		late, next := r.submit(t, "a", once), r.submit(t, "a", actions("x"))
		time.Sleep(7 * time.Second)
		if a, b := r.story(late), r.story(next); a != "created started progress failed" || b != "created started progress completed" {
			t.Errorf("out of time: %s; next %s", a, b)
		}
		<-began
		gone, next := r.submit(t, "a", actions("deaf")), r.submit(t, "a", actions("x"))
		<-began
		if _, err := r.svc.Cancel(t.Context(), "a", gone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if a, b := r.story(gone), r.story(next); a != "created started progress cancelled" || b != "created started progress completed" {
			t.Errorf("cancelled: %s; next %s", a, b)
		}
		if s := p.Stats(); s.Abandoned != 2 || s.Running != 0 {
			t.Errorf("%+v", s)
		}
		held := r.submit(t, "a", actions("deaf"))
		<-began
		grace, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if err := p.Stop(grace); err != nil || time.Since(start) > 4*time.Second {
			t.Errorf("stopped after %v with %v", time.Since(start), err)
		}
		if j := r.get(t, "a", held); r.story(held) != "created started progress retrying" || j.Attempt != 0 {
			t.Errorf("handed back: %s, %+v", r.story(held), j)
		}
		close(release)
		for range 3 {
			if err := <-saved; err == nil {
				t.Error("an abandoned action could still save")
			}
		}
		synctest.Wait()
		if n := p.Stats().Abandoned; n != 0 {
			t.Errorf("%d actions that have ended count as abandoned", n)
		}
	})
}

// Stop says how many running jobs the store did not take back, whether it cannot take
// them in time or refuses them.
func TestStopTellsOfJobsThatAreNotTakenBack(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, store *faulty) error{
		"no room": func(_ *rig, store *faulty) error {
			store.full.Store(1 << 40)
			return nil
		},
		"closed": func(r *rig, _ *faulty) error { return r.store.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
				began, ended := make(chan jobs.Env, 2), make(chan error, 2)
				p := r.start(t, jobs.ProcessorOptions{}, blocked(began, ended))
				for range 2 {
					r.submit(t, "a", actions("x"))
					<-began
				}
				settle()
				if err := spoil(r, store); err != nil {
					t.Fatal(err)
				}
				grace, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				err := p.Stop(grace)
				if err == nil || !strings.HasSuffix(err.Error(), ": 2") || time.Since(start) > 10*time.Second {
					t.Errorf("stopped after %v with %v", time.Since(start), err)
				}
			})
		})
	}
}
