package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/vault"
)

// A state is kept with the end of a job that completes, and what goes wrong with it fails the
// job; the next job begins with it.
func TestStatesOfJobs(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		v, err := vault.Open(t.Context(), r.store, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		r.svc = jobs.NewService(r.store, jobs.ServiceOptions{Vault: v})
		var last func(jobs.Env) error
		loaded := make(chan string, 10)
		r.start(t, jobs.ProcessorOptions{}, func(ctx context.Context, kind string, env jobs.Env) (any, error) {
			if kind != "first" {
				return nil, nil
			}
			state, err := env.State.Load(ctx)
			loaded <- string(state)
			env.Scope.Last(func(context.Context) error { return last(env) })
			return nil, err
		})
		run := func(use, save string) jobs.Job {
			t.Helper()
			spec := actions("first", "second")
			spec.MaxAttempts, spec.State = 1, &jobs.StateUse{Use: &use, Save: &save, Origins: []string{"https://x.test"}}
			id := r.submit(t, "a", spec)
			settle()
			return r.get(t, "a", id)
		}
		fails := func(j jobs.Job, want string) {
			t.Helper()
			if j.Status != jobs.Failed || !strings.HasPrefix(*j.Error+": "+*j.ErrorMessage, want) {
				t.Errorf("job is %s, %v, want %s", j.Status, j.ErrorMessage, want)
			}
		}
		kept := func(want ...string) {
			t.Helper()
			list, err := v.Page(t.Context(), jobs.SealedState, "a", "", 10)
			var names []string
			for _, s := range list {
				names = append(names, s.Name)
			}
			if err != nil || !slices.Equal(names, want) {
				t.Errorf("states %v, %v, want %v", names, err, want)
			}
		}
		keep := func(env jobs.Env) error { return env.State.Keep(env.State.Origins, []byte("data")) }
		last = keep
		if j := run("one", "one"); j.Status != jobs.Completed || <-loaded != "" {
			t.Errorf("%+v", j)
		}
		kept("one")
		last = func(env jobs.Env) error {
			return errors.Join(keep(env), &jobs.ActionError{Class: jobs.ClassState, Message: "too large"})
		}
		fails(run("one", "two"), "StateError: too large")
		last = func(jobs.Env) error { panic("secret of the inside") }
		fails(run("one", "two"), "InternalError: the action broke down")
		last = func(env jobs.Env) error {
			return errors.Join(keep(env), v.Delete(t.Context(), jobs.SealedState, "a", "one"))
		}
		for range 2 {
			if got := <-loaded; got != "data" {
				t.Errorf("loaded %q", got)
			}
		}
		if j := run("one", "two"); j.Status != jobs.Completed {
			t.Errorf("%+v", j)
		}
		kept("two")
		last = func(env jobs.Env) error {
			for i := range jobs.MaxStates - 1 {
				if _, _, err := r.store.PutSealed(t.Context(), v.SealState("a", fmt.Sprint("x", i), nil, []byte("x"))); err != nil {
					return err
				}
			}
			return keep(env)
		}
		fails(run("two", "three"), "StateError: This client has 100 of 100 browser states")
		refused := func(use, save *string, at string) {
			t.Helper()
			spec := actions("first")
			spec.State = &jobs.StateUse{Use: use, Save: save}
			_, err := r.svc.SubmitBatch(t.Context(), "a", []jobs.Spec{actions("x"), spec}, jobs.Idempotency{})
			var invalid *jobs.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Pointer != at {
				t.Errorf("%v, want a fault at %s", err, at)
			}
		}
		one, more := "one", "more"
		refused(&one, nil, "/jobs/1/state/use")
		refused(nil, &more, "/jobs/1/state/save")
		spec := actions("first")
		two := "two"
		spec.MaxAttempts, spec.State, spec.RunAt = 1, &jobs.StateUse{Use: &two}, time.Now().Add(time.Minute)
		id := r.submit(t, "a", spec)
		if err := v.Delete(t.Context(), jobs.SealedState, "a", "two"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		fails(r.get(t, "a", id), `StateError: there is no browser state "two" any more`)
	})
}
