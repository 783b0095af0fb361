package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// A job on an idle server needs two commands after its submit: the claim, which also
// announces its action, and its end.
func TestLoneJobNeedsTwoCommits(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		r.start(t, jobs.ProcessorOptions{}, nothing)
		settle()
		store.commands()
		id := r.submit(t, "a", actions("x"))
		settle()
		if got := r.story(id); got != "created started progress completed" {
			t.Error(got)
		}
		if got := store.commands(); len(got) != 2 || len(got[0].claimed) != 1 || len(got[1].steps) != 1 {
			t.Errorf("%d commands: %+v", len(got), got)
		}
	})
}

// What many attempts report at once shares a commit, and so do their ends and the next
// jobs.
func TestRoundsShareCommits(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		const runners = 64
		began, gate := make(chan jobs.Env, 3*runners), make(chan struct{})
		r.start(t, jobs.ProcessorOptions{Concurrency: runners, PerClient: runners}, func(_ context.Context, _ string, env jobs.Env) (any, error) {
			began <- env
			<-gate
			return map[string]any{}, nil
		})
		ids := r.submitAll(t, 2*runners, "a", actions("x"))
		settle()
		if len(began) != runners {
			t.Fatalf("%d jobs began", len(began))
		}
		store.commands()
		for range runners {
			gate <- struct{}{}
		}
		settle()
		got := store.commands()
		ended, claimed, shared := 0, 0, 0
		for _, c := range got {
			ended += len(c.steps)
			claimed += len(c.claimed)
			shared += min(len(c.steps), len(c.claimed))
		}
		if len(got) > 8 || ended != runners || claimed != runners || shared < runners-8 {
			t.Errorf("%d commands end %d jobs and claim %d, %d of them together", len(got), ended, claimed, shared)
		}
		close(gate)
		settle()
		for _, id := range ids {
			if got := r.story(id); got != "created started progress completed" {
				t.Fatal(got)
			}
		}
	})
}

// What the store refuses of a round concerns nobody else in it.
func TestRoundRefusesOneByOne(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		began, gate := make(chan jobs.Env, 8), make(chan struct{})
		r.start(t, jobs.ProcessorOptions{PerClient: 8}, func(_ context.Context, _ string, env jobs.Env) (any, error) {
			began <- env
			<-gate
			return map[string]any{}, nil
		})
		ids := r.submitAll(t, 8, "a", actions("x"))
		for range ids {
			<-began
		}
		if _, err := r.store.Cancel(t.Context(), "a", ids[2]); err != nil { // the processor does not hear of it
			t.Fatal(err)
		}
		var over atomic.Bool
		store.refuse = func(s jobs.Step) error {
			switch {
			case over.Load():
			case s.Lease.JobID == ids[4] && s.Outcome == jobs.AttemptCompleted:
				return &jobs.InvalidError{}
			case s.Lease.JobID == ids[6] && s.Outcome == jobs.AttemptCompleted:
				return errors.New("this job alone is in trouble")
			}
			return nil
		}
		close(gate)
		time.Sleep(time.Minute)
		for i, id := range ids {
			want := "created started progress completed"
			switch i {
			case 2:
				want = "created started progress cancelled"
			case 4:
				want = "created started progress failed"
			case 6:
				want = "created started progress"
			}
			if got := r.story(id); got != want {
				t.Errorf("job %d: %s, want %s", i, got, want)
			}
		}
		over.Store(true)
		time.Sleep(time.Minute)
		if got := r.story(ids[6]); got != "created started progress completed" {
			t.Errorf("once the trouble is over: %s", got)
		}
	})
}

// After a round of unknown fate each of its items is settled for itself, and none of them
// twice.
func TestRoundOfUnknownFate(t *testing.T) {
	for _, c := range []struct {
		lost, full int64
		fails      bool
	}{{1, 0, false}, {0, 1, false}, {3, 0, true}, {9, 3, false}, {20, 20, true}, {100, 0, false}, {0, 100, true}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
				r.start(t, jobs.ProcessorOptions{PerClient: 8}, func(_ context.Context, kind string, _ jobs.Env) (any, error) {
					time.Sleep(time.Second)
					if kind == "y" && c.fails {
						return nil, &jobs.ActionError{Class: "X", Message: "no"}
					}
					return map[string]any{}, nil
				})
				ids := r.submitAll(t, 8, "a", actions("x", "x", "y"))
				time.Sleep(time.Second / 2)
				for range 2 { // the second actions, then the ends
					store.lost.Store(c.lost)
					store.full.Store(c.full)
					time.Sleep(time.Second)
				}
				time.Sleep(10 * time.Minute)
				want := "created started progress progress progress completed"
				if c.fails {
					want = "created started progress progress progress failed"
				}
				for _, id := range ids {
					if got := r.story(id); got != want {
						t.Error(got)
					}
				}
			})
		})
	}
}

// While the store takes no ends, their attempts keep their runners: nothing piles up.
func TestEndsWaitForTheStoreOnTheirRunners(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		p := r.start(t, jobs.ProcessorOptions{Concurrency: 2, PerClient: 2}, func(context.Context, string, jobs.Env) (any, error) {
			time.Sleep(time.Second)
			return map[string]any{}, nil
		})
		store.full.Store(1 << 40)
		var ids []string
		for range 5 { // one that ends while the store takes no end, one that ends while it has not even its progress
			ids = append(ids, r.submit(t, "a", actions("x")), r.submit(t, "a", actions("x", "y")))
		}
		time.Sleep(10 * time.Minute)
		if s := p.Stats(); s.Claimed != 2 || s.Running != 2 {
			t.Errorf("%+v", s)
		}
		store.full.Store(0)
		time.Sleep(time.Minute)
		for i, id := range ids {
			want := []string{"created started progress completed", "created started progress progress completed"}[i%2]
			if got := r.story(id); got != want {
				t.Error(got)
			}
		}
	})
}

// However long the store takes for a round, no more ends wait for it than there are runners,
// and no more again on their runners.
func TestEndsWaitForASlowStore(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		var slow atomic.Bool
		answer := make(chan struct{})
		store.before = func(steps []jobs.Step) {
			if slow.Load() && len(steps) > 0 { // during a claim nobody gets a runner
				<-answer
			}
		}
		var ran atomic.Int64
		p := r.startPausing(t, jobs.ProcessorOptions{Concurrency: 2, PerClient: 2}, func(context.Context, string, jobs.Env) (any, error) {
			ran.Add(1)
			return map[string]any{}, nil
		})
		const many = 30
		ids := r.submitAll(t, many, "a", restful("rest", "x"))
		time.Sleep(time.Minute)
		if s := p.Stats(); s.Parked != many {
			t.Fatalf("%+v", s)
		}
		slow.Store(true)
		time.Sleep(time.Hour)
		if n := ran.Load(); n < 2 || n > 4 {
			t.Errorf("%d jobs ended beside a command that has no answer", n)
		}
		slow.Store(false)
		close(answer)
		time.Sleep(time.Minute)
		for _, id := range ids {
			if got, want := r.story(id), "created started progress progress completed"; got != want {
				t.Error(got)
			}
		}
	})
}

// A parked attempt whose end the store does not take at once gives back all that it has.
func TestParkedEndLosesNoRunner(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		start := time.Now()
		var refused atomic.Bool
		store.refuse = func(s jobs.Step) error {
			if s.Outcome == jobs.AttemptGoesOn && time.Since(start) < 8*time.Second || // the nap is over before
				s.Outcome == jobs.AttemptCompleted && refused.CompareAndSwap(false, true) {
				return errors.New("no answer")
			}
			return nil
		}
		leave := make(chan struct{})
		p := r.startPausing(t, jobs.ProcessorOptions{Concurrency: 2, PerClient: 2}, func(_ context.Context, kind string, _ jobs.Env) (any, error) {
			if kind == "y" {
				<-leave
			}
			return map[string]any{}, nil
		})
		id := r.submit(t, "a", restful("x", "nap"))
		time.Sleep(time.Minute)
		if got, want := r.story(id), "created started progress progress completed"; got != want || !refused.Load() {
			t.Errorf("%s, its end was refused once: %v", got, refused.Load())
		}
		r.submitAll(t, 3, "a", restful("y"))
		time.Sleep(time.Minute)
		if s := p.Stats(); s.Running != 2 || s.Parked != 0 {
			t.Errorf("with two runners: %+v", s)
		}
		close(leave)
	})
}

// Progress may stand in one step with the end. If that is refused for want of room, the
// progress is left out; if for its result, the progress stays with the failure.
func TestProgressInOneStepWithTheEnd(t *testing.T) {
	for want, refuse := range map[string]func(*faulty){
		"created started completed": func(f *faulty) { f.bounded.Store(true) },
		"created started progress progress progress failed": func(f *faulty) {
			f.refuse = func(s jobs.Step) error {
				if s.Outcome == jobs.AttemptCompleted {
					return &jobs.InvalidError{}
				}
				return nil
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
				refuse(store)
				store.before = func(steps []jobs.Step) {
					if len(steps) > 0 {
						time.Sleep(time.Second)
					}
				}
				r.start(t, jobs.ProcessorOptions{}, func(_ context.Context, kind string, _ jobs.Env) (any, error) {
					if kind == "y" { // its progress is on its way alone; that of z goes with the end
						time.Sleep(settled)
					}
					return map[string]any{}, nil
				})
				id := r.submit(t, "a", actions("x", "y", "z"))
				time.Sleep(time.Minute)
				if got := r.story(id); got != want {
					t.Error(got)
				}
				if got := store.commands(); len(got) != 4 || len(got[2].steps[0].Events) != 1 || got[2].steps[0].Outcome != jobs.AttemptCompleted {
					t.Errorf("%d commands: %+v", len(got), got)
				}
			})
		})
	}
}

// A lease that is lost is heard of with the answer to the next progress, at once.
func TestLostLeaseIsToldWithProgress(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ended := make(chan error, 1)
		r.start(t, jobs.ProcessorOptions{}, func(ctx context.Context, kind string, env jobs.Env) (any, error) {
			if kind == "x" {
				_, err := r.store.Cancel(context.Background(), "a", env.JobID) // the processor does not hear of it
				return nil, err
			}
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, context.Cause(ctx)
		})
		start := time.Now()
		id := r.submit(t, "a", actions("x", "y"))
		if err := <-ended; !errors.Is(err, jobs.ErrLeaseLost) || time.Since(start) > settled {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		settle()
		if got := r.story(id); got != "created started progress cancelled" {
			t.Error(got)
		}
	})
}

// A job that is cancelled before the processor knows that it has it does not run.
func TestCancelBeforeTheClaimIsAnswered(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		store.after = func(c command) {
			for _, l := range c.claimed {
				if _, err := r.svc.Cancel(context.Background(), "a", l.Job.ID); err != nil {
					t.Error(err)
				}
			}
		}
		var ran atomic.Int64
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			ran.Add(1)
			return nil, nil
		})
		id := r.submit(t, "a", actions("x"))
		settle()
		if got := r.story(id); got != "created started progress cancelled" || ran.Load() != 0 {
			t.Errorf("%s, it ran %d times", got, ran.Load())
		}
	})
}

// What an action leaves behind stands in the log after the progress that announces it,
// however long that takes.
func TestArtifactsFollowTheirProgress(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		store.before = func(steps []jobs.Step) {
			if len(steps) > 0 {
				time.Sleep(3 * time.Second)
			}
		}
		r.start(t, jobs.ProcessorOptions{}, func(ctx context.Context, kind string, env jobs.Env) (any, error) {
			_, err := env.Save(ctx, kind, "text/plain", -1, strings.NewReader(kind))
			return map[string]any{}, err
		})
		id := r.submit(t, "a", actions("x", "y", "z"))
		time.Sleep(time.Minute)
		if got := r.story(id); got != "created started progress artifact progress artifact progress artifact completed" {
			t.Error(got)
		}
	})
}

// Jobs whose claim is answered when the processor has given up are handed back.
func TestLateClaimIsHandedBack(t *testing.T) {
	faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
		store.after = func(c command) {
			if len(c.claimed) > 0 {
				time.Sleep(10 * time.Second)
			}
		}
		p := r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			t.Error("it ran")
			return nil, nil
		})
		ids := r.submitAll(t, 3, "a", actions("x"))
		settle()
		over, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Stop(over); err != nil {
			t.Error(err)
		}
		for _, id := range ids {
			if j := r.get(t, "a", id); j.Attempt != 0 || j.Status != jobs.Pending {
				t.Errorf("%s: %+v", r.story(id), j)
			}
		}
	})
}

// However ends and claims share rounds, no client ever holds more than its share of the
// runners, and none is idle while there is something for it.
func TestShareIsExactInRounds(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex // guards running and most
		running, most := map[string]int{}, map[string]int{}
		count := func(client string, n int) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range []string{client, "all"} {
				running[c] += n
				most[c] = max(most[c], running[c])
			}
		}
		r.start(t, jobs.ProcessorOptions{Concurrency: 8, PerClient: 5}, func(_ context.Context, _ string, env jobs.Env) (any, error) {
			count(env.Client, 1)
			time.Sleep(rand.N(time.Second))
			count(env.Client, -1)
			return map[string]any{}, nil
		})
		var ids []string
		for _, client := range []string{"a", "b", "c"} {
			ids = append(ids, r.submitAll(t, 60, client, actions("x", "y"))...)
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		if running["all"] != 8 {
			t.Errorf("%d of 8 runners run", running["all"])
		}
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		for _, id := range ids {
			if got := r.story(id); got != "created started progress progress completed" {
				t.Fatal(got)
			}
		}
		if most["a"] > 5 || most["b"] > 5 || most["c"] > 5 || most["all"] != 8 {
			t.Errorf("at most %v ran at once", most)
		}
	})
}
