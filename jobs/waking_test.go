package jobs_test

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

// asked counts the claims that a store gets of workers, by where they look. While it is
// doubtful it commits what makes jobs claimable, and says that it failed.
type asked struct {
	jobs.Store
	doubtful atomic.Bool

	mu     sync.Mutex // guards claims
	claims map[jobs.Source]int
}

func (a *asked) Claim(ctx context.Context, c jobs.Claim) ([]jobs.Leased, error) {
	a.mu.Lock()
	for _, q := range c.Queues {
		a.claims[jobs.SourceIn(c.Client, q)]++
	}
	a.mu.Unlock()
	return a.Store.Claim(ctx, c)
}

// counted returns how many claims there were.
func (a *asked) counted() map[jobs.Source]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.claims)
}

func (a *asked) told(err error) error {
	if a.doubtful.Load() {
		return jobs.ErrUnavailable
	}
	return err
}

func (a *asked) PromoteDue(ctx context.Context, limit int) (jobs.Swept, error) {
	out, err := a.Store.PromoteDue(ctx, limit)
	if err = a.told(err); err != nil {
		return jobs.Swept{}, err
	}
	return out, nil
}

func (a *asked) Submit(ctx context.Context, client, id string, s jobs.Spec, idem jobs.Idempotency) (jobs.Job, bool, error) {
	j, replayed, err := a.Store.Submit(ctx, client, id, s, idem)
	return j, replayed, a.told(err)
}

func (a *asked) SubmitBatch(ctx context.Context, client string, ids []string, specs []jobs.Spec, idem jobs.Idempotency) (jobs.Batch, error) {
	b, err := a.Store.SubmitBatch(ctx, client, ids, specs, idem)
	if err = a.told(err); err != nil {
		return jobs.Batch{}, err
	}
	return b, nil
}

func (a *asked) Retry(ctx context.Context, client, of, id string, idem jobs.Idempotency) (jobs.Job, bool, error) {
	j, replayed, err := a.Store.Retry(ctx, client, of, id, idem)
	return j, replayed, a.told(err)
}

func (a *asked) Release(ctx context.Context, l jobs.Lease) error {
	return a.told(a.Store.Release(ctx, l))
}

func (a *asked) Settle(ctx context.Context, steps []jobs.Step, next *jobs.Claim) ([]jobs.Settled, []jobs.Leased, error) {
	answers, claimed, err := a.Store.Settle(ctx, steps, next)
	return answers, claimed, a.told(err)
}

// askedRig runs f in fake time with a rig whose store counts.
func askedRig(t *testing.T, limits jobs.Limits, f func(t *testing.T, r *rig, store *asked)) {
	dir := sqlitetest.Folder(t)
	synctest.Test(t, func(t *testing.T) {
		store := &asked{claims: make(map[jobs.Source]int)}
		f(t, openBounded(t, dir, limits, func(s jobs.Store) jobs.Store {
			store.Store = s
			return store
		}), store)
	})
}

// wakings are ways in which a job of client a in queue q becomes claimable. Each has
// its preparation, and returns what makes it so, within 10 s.
var wakings = map[string]struct {
	prepare func(t *testing.T, r *rig, store *asked) (then func() error)
	all     bool // nobody knows whose job it is
}{
	"submit": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		return func() error { r.submit(t, "a", queued("q")); return nil }
	}},
	"a batch": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		return func() error {
			_, err := r.svc.SubmitBatch(t.Context(), "a", []jobs.Spec{queued("other"), queued("q")}, jobs.Idempotency{})
			return err
		}
	}},
	"runAt in a batch": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		spec := queued("q")
		spec.RunAt = time.Now().Add(5 * time.Second)
		_, err := r.svc.SubmitBatch(t.Context(), "a", []jobs.Spec{queued("other"), spec}, jobs.Idempotency{})
		return func() error { return err }
	}},
	"runAt": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		spec := queued("q")
		spec.RunAt = time.Now().Add(5 * time.Second)
		r.submit(t, "a", spec)
		return func() error { return nil }
	}},
	"the end of a lease": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		r.leasedFor(t, queued("q"), 5*time.Second)
		return func() error { return nil }
	}},
	"the end of an attempt's time": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		spec := queued("q")
		spec.Timeout = 5 * time.Second
		r.leasedFor(t, spec, time.Minute)
		return func() error { return nil }
	}},
	"the end of a back-off": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		l := r.leasedFor(t, queued("q"), time.Minute)
		return func() error {
			_, _, err := r.svc.End(t.Context(), jobs.End{Lease: l.Lease, Failed: &jobs.WorkerFailure{Class: "X", Message: "again", Retry: true}}, nil)
			return err
		}
	}},
	"a release": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		l := r.leasedFor(t, queued("q"), time.Minute)
		return func() error { return r.svc.Release(t.Context(), l) }
	}},
	"a claim that nobody got": {prepare: func(t *testing.T, r *rig, _ *asked) func() error {
		l := r.leasedFor(t, queued("q"), time.Minute)
		return func() error { return r.svc.HandBack(t.Context(), l) }
	}},
	"a submit in doubt": {prepare: func(t *testing.T, r *rig, store *asked) func() error {
		return store.inDoubt(func() error {
			_, _, err := r.svc.Submit(t.Context(), "a", queued("q"), jobs.Idempotency{})
			return err
		})
	}},
	"a batch in doubt": {prepare: func(t *testing.T, r *rig, store *asked) func() error {
		spec := queued("q")
		spec.RunAt = time.Now().Add(5 * time.Second)
		return store.inDoubt(func() error {
			_, err := r.svc.SubmitBatch(t.Context(), "a", []jobs.Spec{spec}, jobs.Idempotency{})
			return err
		})
	}},
	"a retry in doubt": {prepare: func(t *testing.T, r *rig, store *asked) func() error {
		id := r.submit(t, "a", queued("q"))
		if _, err := r.svc.Cancel(t.Context(), "a", id); err != nil {
			t.Error(err)
		}
		return store.inDoubt(func() error {
			_, _, err := r.svc.Retry(t.Context(), "a", id, jobs.Idempotency{})
			return err
		})
	}},
	"a release in doubt": {prepare: func(t *testing.T, r *rig, store *asked) func() error {
		l := r.leasedFor(t, queued("q"), time.Minute)
		return store.inDoubt(func() error { return r.svc.Release(t.Context(), l) })
	}},
	"a claim that nobody got, in doubt": {prepare: func(t *testing.T, r *rig, store *asked) func() error {
		l := r.leasedFor(t, queued("q"), time.Minute)
		return store.inDoubt(func() error { return r.svc.HandBack(t.Context(), l) })
	}},
	"the end of a back-off, in doubt": {prepare: func(t *testing.T, r *rig, store *asked) func() error {
		l := r.leasedFor(t, queued("q"), time.Minute)
		return store.inDoubt(func() error {
			_, _, err := r.svc.End(t.Context(), jobs.End{Lease: l.Lease, Failed: &jobs.WorkerFailure{Retry: true}}, nil)
			return err
		})
	}},
	"a sweep in doubt": {all: true, prepare: func(t *testing.T, r *rig, store *asked) func() error {
		spec := queued("q")
		spec.RunAt = time.Now().Add(5 * time.Second)
		r.submit(t, "a", spec)
		return store.inDoubt(func() error {
			time.Sleep(5*time.Second + settled)
			return jobs.ErrUnavailable
		})
	}},
}

// inDoubt makes the fate of what command commits unknown.
func (a *asked) inDoubt(command func() error) func() error {
	return func() error {
		a.doubtful.Store(true)
		defer a.doubtful.Store(false)
		if err := command(); err == nil {
			return jobs.ErrUnavailable
		}
		return nil
	}
}

// leasedFor returns a job of client a that a worker has claimed.
func (r *rig) leasedFor(t *testing.T, spec jobs.Spec, lease time.Duration) jobs.Leased {
	t.Helper()
	r.submit(t, "a", spec)
	got, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"q"}, Lease: lease})
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	return got[0].Leased
}

// Whoever waits for a job of a queue looks for one when it can be claimed, whatever made
// it so, and nobody else does.
func TestOnlyThoseWithAJobAreWoken(t *testing.T) {
	queue, others := jobs.Source{Client: "a", Queue: "q"}, []jobs.Source{{Client: "a", Queue: "p"}, {Client: "b", Queue: "q"}}
	for name, c := range wakings {
		t.Run(name, func(t *testing.T) {
			askedRig(t, jobs.Limits{}, func(t *testing.T, r *rig, store *asked) {
				r.start(t, jobs.ProcessorOptions{}, nil)
				then := c.prepare(t, r, store)
				var waiting sync.WaitGroup
				defer waiting.Wait()
				found := make(chan struct{}, 1)
				for _, s := range append(others, queue) {
					waiting.Go(func() {
						got, err := r.svc.Claim(t.Context(), s.Client, jobs.ClaimRequest{Queues: []string{s.Queue}, Wait: time.Minute})
						if want := s == queue; err != nil || (len(got) > 0) != want {
							t.Errorf("%v: %v, %v", s, got, err)
						}
						if len(got) > 0 {
							found <- struct{}{}
						}
					})
				}
				settle()
				want := store.counted()
				if err := then(); err != nil {
					t.Error(err)
				}
				select {
				case <-found:
				case <-time.After(10 * time.Second):
					t.Error("nobody has found the job")
				}
				settle()
				got := store.counted()
				got[queue] = want[queue] // it was found; a look in vain before is none of the others
				if c.all {
					want[others[0]]++
					want[others[1]]++
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Error("claims:", d)
				}
			})
		})
	}
}
