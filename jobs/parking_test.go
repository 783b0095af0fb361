package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// pausing is a runner for which actions named "rest" wait an hour, and those named
// "nap" much less than until a lease is renewed.
type pausing struct{ runner }

func (pausing) Pause(raw json.RawMessage) (time.Duration, any, bool) {
	if strings.Contains(string(raw), `"nap"`) {
		return jobs.DefaultLeaseTTL / 6, json.RawMessage(`{"type":"nap"}`), true
	}
	return time.Hour, json.RawMessage(`{"type":"rest"}`), strings.Contains(string(raw), `"rest"`)
}

// startPausing runs a processor until the test ends.
func (r *rig) startPausing(t *testing.T, o jobs.ProcessorOptions, f runner) *jobs.Processor {
	t.Helper()
	p := jobs.NewProcessor(r.svc, pausing{f}, o)
	p.Start()
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Stop(over)
	})
	return p
}

func nothing(context.Context, string, jobs.Env) (any, error) { return map[string]any{}, nil }

func restful(kinds ...string) jobs.Spec {
	spec := actions(kinds...)
	spec.Timeout = 24 * time.Hour
	return spec
}

// submitAll submits n jobs of a client at the same time.
func (r *rig) submitAll(t *testing.T, n int, client string, spec jobs.Spec) []string {
	t.Helper()
	ids := make([]string, n)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			j, _, err := r.svc.Submit(context.Background(), client, spec, jobs.Idempotency{})
			if ids[i] = j.ID; err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return ids
}

// A client has all runners but an eighth, and at least one is left to others.
func TestOneClientHasItsShareOfRunners(t *testing.T) {
	for _, c := range []struct{ runners, set, want int }{
		{1, 0, 1}, {2, 0, 1}, {3, 0, 2}, {8, 0, 7}, {16, 0, 14}, {8, 3, 3}, {4, 9, 4},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				began, release := make(chan jobs.Env, 100), make(chan struct{})
				r.start(t, jobs.ProcessorOptions{Concurrency: c.runners, PerClient: c.set}, func(_ context.Context, _ string, env jobs.Env) (any, error) {
					if env.Client == "a" {
						began <- env
						<-release
					}
					return map[string]any{}, nil
				})
				own := r.submitAll(t, 2*c.runners, "a", actions("x"))
				settle()
				if n := len(began); n != c.want {
					t.Errorf("%d of %d runners are held, want %d", n, c.runners, c.want)
				}
				other := r.submit(t, "b", actions("x"))
				settle()
				if got := r.story(other); (got == "created started progress completed") != (c.want < c.runners) {
					t.Errorf("the job of another client: %s", got)
				}
				close(release) // a runner that comes free is found at once, not at the next look
				settle()
				for _, id := range own {
					if got := r.story(id); got != "created started progress completed" {
						t.Errorf("a job of the first client: %s", got)
					}
				}
			})
		})
	}
}

// Whoever waits holds no runner, keeps its lease, and goes on when it is time.
func TestLongWaitsAreParked(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.startPausing(t, jobs.ProcessorOptions{Concurrency: 2}, nothing)
		waits := r.submitAll(t, 10, "a", restful("x", "rest", "rest", "y"))
		settle()
		if s := p.Stats(); s.Parked != 10 || s.Running != 10 {
			t.Errorf("%+v", s)
		}
		busy := r.submit(t, "b", actions("x"))
		settle()
		if got := r.story(busy); got != "created started progress completed" {
			t.Errorf("the job of another client: %s", got)
		}
		time.Sleep(2*time.Hour + time.Minute)
		for _, id := range waits {
			if got := r.story(id); got != "created started progress progress progress progress completed" {
				t.Fatal(got)
			}
			if got := string(r.get(t, "a", id).Result); got != `{"actions":[{},{"type":"rest"},{"type":"rest"},{}]}` {
				t.Fatal(got)
			}
		}
		if s := p.Stats(); s.Parked != 0 || s.Running != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestParkedAttemptsEndLikeOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.startPausing(t, jobs.ProcessorOptions{Concurrency: 1}, nothing)
		short := restful("rest", "x")
		short.Timeout, short.MaxAttempts = 10*time.Second, 1
		late, gone, held := r.submit(t, "a", short), r.submit(t, "a", restful("rest", "x")), r.submit(t, "b", restful("rest"))
		settle()
		start := time.Now()
		if _, err := r.svc.Cancel(t.Context(), "a", gone); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := p.Stats(); s.Parked != 2 || !time.Now().Equal(start) {
			t.Errorf("%+v, %v after the cancel", s, time.Since(start))
		}
		time.Sleep(11 * time.Second)
		if class := r.get(t, "a", late).Error; class == nil || *class != jobs.ClassTimeout {
			t.Errorf("out of time: %v, %s", class, r.story(late))
		}
		over, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Stop(over); err != nil {
			t.Error(err)
		}
		if j := r.get(t, "b", held); j.Attempt != 0 || *j.Error != jobs.ClassInterrupted {
			t.Errorf("handed back: %+v", j)
		}
		if s := p.Stats(); s.Parked != 0 || s.Running != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Events that are refused renew no lease; whoever waits keeps it all the same.
func TestParkedAttemptsKeepTheirLease(t *testing.T) {
	naps := restful(strings.Split(strings.Repeat("nap nap nap x ", 5)+"nap", " ")...)
	for name, c := range map[string]struct {
		spec    jobs.Spec
		trouble func(*faulty)
		want    string
	}{
		"beyond the bound on storage": {naps, func(f *faulty) { f.bounded.Store(true) }, "created started completed"},
		"while the disk is full":      {restful("rest"), func(f *faulty) { f.full.Store(1 << 30) }, "created started progress completed"},
	} {
		t.Run(name, func(t *testing.T) {
			faultyRig(t, func(t *testing.T, r *rig, store *faulty) {
				c.trouble(store)
				r.startPausing(t, jobs.ProcessorOptions{Concurrency: 1}, nothing)
				id := r.submit(t, "a", c.spec)
				time.Sleep(4 * jobs.DefaultLeaseTTL)
				store.full.Store(0)
				time.Sleep(2 * time.Hour)
				if got := r.story(id); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// What does not fit among the parked waits on its runner.
func TestParkingIsBounded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.startPausing(t, jobs.ProcessorOptions{Concurrency: 8}, func(ctx context.Context, _ string, _ jobs.Env) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		r.submitAll(t, 1000, "a", restful("rest"))
		time.Sleep(time.Minute)
		if s := p.Stats(); s.Parked != 1000 {
			t.Fatalf("%+v", s)
		}
		r.submitAll(t, 20, "a", restful("rest"))
		settle()
		if s := p.Stats(); s.Parked != 1000 || s.Running != 1007 {
			t.Errorf("%+v", s)
		}
		fat := restful("rest", strings.Repeat("x", 200_000))
		r.submitAll(t, 100, "b", fat)
		time.Sleep(time.Second)
		if s := p.Stats(); s.Parked <= 1050 || s.Parked >= 1100 {
			t.Errorf("parked fat jobs: %+v", s)
		}
	})
}

// Attempts that go on and new jobs take turns, and so do clients.
func TestParkedAttemptsTakeTurns(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ran, gate := make(chan string, 1000), make(chan struct{})
		r.startPausing(t, jobs.ProcessorOptions{Concurrency: 1}, func(_ context.Context, _ string, env jobs.Env) (any, error) {
			ran <- env.Client
			<-gate
			return map[string]any{}, nil
		})
		r.submitAll(t, 10, "a", restful("rest", "x"))
		r.submitAll(t, 10, "b", restful("rest", "x"))
		settle()
		r.submit(t, "z", restful("x"))
		settle()
		time.Sleep(2 * time.Hour) // all are due, and the runner is busy
		<-ran
		r.submitAll(t, 10, "c", restful("x"))
		settle()
		var turns strings.Builder
		for range 12 {
			gate <- struct{}{}
			turns.WriteString(<-ran)
		}
		if got := turns.String(); strings.Count(got, "c") < 5 || strings.Count(got, "a") < 2 || strings.Count(got, "b") < 2 {
			t.Errorf("ran %s", got)
		}
		close(gate)
		settle()
	})
}
