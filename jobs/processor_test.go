package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

func TestProcessorTellsTheStory(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.start(t, jobs.ProcessorOptions{}, func(_ context.Context, kind string, env jobs.Env) (any, error) {
			return map[string]any{"type": kind, "index": env.Index}, nil
		})
		id := r.submit(t, "a", actions("open", "click", "type"))
		settle()
		if got := r.story(id); got != "created started progress progress progress completed" {
			t.Fatal(got)
		}
		want := []map[string]any{
			{"progress": 33.0, "message": "Executing action 1 of 3: open", "step": "open"},
			{"progress": 67.0, "message": "Executing action 2 of 3: click", "step": "click"},
			{"progress": 100.0, "message": "Executing action 3 of 3: type", "step": "type"},
		}
		if d := cmp.Diff(want, r.data(t, id, eventlog.TypeProgress)); d != "" {
			t.Error(d)
		}
		j := r.get(t, "a", id)
		if got := string(j.Result); got != `{"actions":[{"index":0,"type":"open"},{"index":1,"type":"click"},{"index":2,"type":"type"}]}` {
			t.Error(got)
		}
		if j.Attempt != 1 || j.Status != jobs.Completed {
			t.Errorf("%+v", j)
		}
	})
}

// What an action logs stands in the job's log after the progress before it, and before the end.
func TestProcessorLogs(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		level := make(chan string, 2)
		var env jobs.Env
		r.start(t, jobs.ProcessorOptions{}, func(ctx context.Context, _ string, e jobs.Env) (any, error) {
			level <- e.Console
			env = e
			return nil, e.Log(ctx, []jobs.LogLine{{Level: "warn", Line: "tea"}, {Level: "error", Line: "cold"}})
		})
		spec := actions("a", "b")
		spec.Console = "warn"
		id := r.submit(t, "a", spec)
		settle()
		if got := r.story(id); got != "created started progress log log progress log log completed" || <-level != "warn" {
			t.Error(got)
		}
		if d := cmp.Diff(map[string]any{"level": "error", "line": "cold"}, r.data(t, id, eventlog.TypeLog)[1]); d != "" {
			t.Error(d)
		}
		if err := env.Log(t.Context(), []jobs.LogLine{{Line: "late"}}); !errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestProcessorRunsBuiltinActions(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		builtin := action.Builtin(action.Options{})
		p := jobs.NewProcessor(r.svc, builtin, jobs.ProcessorOptions{})
		p.Start()
		defer func() { _ = p.Stop(t.Context()) }()
		spec, err := jobs.ParseSubmit([]byte(`{"actions":[{"type":"wait","ms":600000}]}`), jobs.SubmitOptions{Actions: builtin})
		if err != nil {
			t.Fatal(err)
		}
		spec.Timeout = time.Hour
		id := r.submit(t, "a", spec)
		time.Sleep(10*time.Minute + time.Second)
		// Ten minutes are twenty lease times: the lease was renewed.
		if got := r.story(id); got != "created started progress completed" {
			t.Error(got)
		}
	})
}

// A client with a thousand waiting jobs does not keep another's from being next.
func TestProcessorIsFairBetweenClients(t *testing.T) {
	r := openRig(t, sqlitetest.Folder(t), nil)
	ran, gate := make(chan string, 2000), make(chan struct{})
	r.start(t, jobs.ProcessorOptions{Concurrency: 1}, func(_ context.Context, _ string, env jobs.Env) (any, error) {
		ran <- env.Client
		<-gate
		return nil, nil
	})
	defer close(gate)
	r.submit(t, "a", actions("x"))
	<-ran
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 50 {
				if _, _, err := r.svc.Submit(context.Background(), "a", actions("x"), jobs.Idempotency{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.submit(t, "b", actions("x"))
	gate <- struct{}{}
	if next := <-ran; next != "b" {
		t.Errorf("a job of %s is next", next)
	}
}

func TestProcessorBoundsConcurrency(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex // guards now and most
		now, most := 0, 0
		count := func(d int) {
			mu.Lock()
			defer mu.Unlock()
			now += d
			most = max(most, now)
		}
		p := r.start(t, jobs.ProcessorOptions{Concurrency: 3, PerClient: 3}, func(context.Context, string, jobs.Env) (any, error) {
			count(1)
			time.Sleep(time.Minute)
			count(-1)
			return nil, nil
		})
		for range 10 {
			r.submit(t, "a", actions("x"))
		}
		settle()
		if s := p.Stats(); s.Running != 3 || s.Claimed != 3 || time.Since(s.OldestRunning) > time.Second {
			t.Errorf("%+v", s)
		}
		time.Sleep(5 * time.Minute)
		if s := p.Stats(); most != 3 || s.Running != 0 || s.Claimed != 10 || !s.OldestRunning.IsZero() {
			t.Errorf("at most %d at once, then %+v", most, s)
		}
	})
}

func TestCancelStopsARunningAction(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		began, ended := make(chan jobs.Env, 1), make(chan error, 1)
		r.start(t, jobs.ProcessorOptions{}, blocked(began, ended))
		id := r.submit(t, "a", actions("x"))
		<-began
		start := time.Now()
		if j, err := r.svc.Cancel(t.Context(), "a", id); err != nil || j.Status != jobs.Cancelled {
			t.Fatalf("%+v, %v", j, err)
		}
		if err := <-ended; err == nil || time.Since(start) > settled {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.Sleep(5 * time.Minute)
		if got := r.story(id); got != "created started progress cancelled" {
			t.Error(got)
		}
	})
}

// Whoever commits first wins, and the other one hears of it.
func TestCancelRacesCompletion(t *testing.T) {
	r := openRig(t, sqlitetest.Folder(t), nil)
	began := make(chan chan struct{}, 1)
	p := r.start(t, jobs.ProcessorOptions{}, func(_ context.Context, _ string, _ jobs.Env) (any, error) {
		gate := make(chan struct{})
		began <- gate
		<-gate
		return nil, nil
	})
	var cancelled, completed int
	ids := make([]string, 0, 100)
	for range 100 {
		id := r.submit(t, "a", actions("x"))
		ids = append(ids, id)
		gate := <-began
		answer := make(chan error, 1)
		go func() {
			_, err := r.svc.Cancel(context.Background(), "a", id)
			answer <- err
		}()
		close(gate)
		err := <-answer
		var conflict *jobs.ConflictError
		switch {
		case err == nil:
			cancelled++
		case errors.As(err, &conflict) && conflict.Job.Status == jobs.Completed:
			completed++
		default:
			t.Fatal(err)
		}
		if status := r.get(t, "a", id).Status; (err == nil) != (status == jobs.Cancelled) {
			t.Errorf("cancel answered %v, the job is %s", err, status)
		}
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		if got := r.story(id); got != "created started progress completed" && got != "created started progress cancelled" {
			t.Error(got)
		}
	}
	t.Logf("%d cancelled, %d completed", cancelled, completed)
}

func TestRetriesBackOff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		starts := make(chan time.Time, 10)
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			starts <- time.Now()
			return nil, &jobs.ActionError{Class: "NetworkError", Message: "no route", Retryable: true}
		})
		id := r.submit(t, "a", actions("x", "y"))
		time.Sleep(time.Minute)
		if got := r.story(id); got != "created started progress retrying started progress retrying started progress failed" {
			t.Fatal(got)
		}
		last := <-starts
		for i, low := range []time.Duration{500 * time.Millisecond, time.Second} {
			next := <-starts
			if d := next.Sub(last); d < low || d > 3*low+settled {
				t.Errorf("retry %d came after %v", i+1, d)
			}
			last = next
		}
		want := []map[string]any{{"error": "NetworkError", "errorMessage": "no route"}}
		got := r.data(t, id, eventlog.TypeFailed)
		delete(got[0], "completedAt")
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// A job does not come back before it was asked to, nor later than ten minutes.
func TestRetryAfterIsHonoured(t *testing.T) {
	for asked, bounds := range map[time.Duration][2]time.Duration{
		0:                {500 * time.Millisecond, 1500 * time.Millisecond},
		time.Millisecond: {500 * time.Millisecond, 1500 * time.Millisecond},
		time.Minute:      {time.Minute, 66 * time.Second},
		24 * time.Hour:   {10 * time.Minute, 10 * time.Minute},
	} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			starts := make(chan time.Time, 10)
			r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
				starts <- time.Now()
				return nil, &jobs.ActionError{Class: "UnexpectedStatus", Message: "503", Retryable: true, RetryAfter: asked}
			})
			spec := actions("x")
			spec.MaxAttempts = 2
			r.submit(t, "a", spec)
			first := <-starts
			if d := (<-starts).Sub(first); d < bounds[0] || d > bounds[1]+settled {
				t.Errorf("asked for %v, the next attempt came after %v", asked, d)
			}
			settle()
		})
	}
}

func TestFinalFailureIsNotRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			return nil, fmt.Errorf("step: %w", &jobs.ActionError{
				Class: strings.Repeat("C", 500), Message: strings.Repeat("\x00\xff", 1<<20),
			})
		})
		id := r.submit(t, "a", actions("x"))
		time.Sleep(time.Minute)
		if got := r.story(id); got != "created started progress failed" {
			t.Error(got)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if len(e.JSON) > eventlog.MaxEventBytes {
				t.Errorf("%s has %d bytes", e.Type, len(e.JSON))
			}
		}
	})
}

func TestAttemptTimesOut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		began, ended := make(chan jobs.Env, 2), make(chan error, 2)
		r.start(t, jobs.ProcessorOptions{}, blocked(began, ended))
		spec := actions("x")
		spec.Timeout, spec.MaxAttempts = 2*time.Second, 2
		start := time.Now()
		id := r.submit(t, "a", spec)
		<-ended
		if d := time.Since(start); d.Round(settled) != 2*time.Second {
			t.Errorf("timed out after %v", d)
		}
		time.Sleep(time.Minute)
		if got := r.story(id); got != "created started progress retrying started progress failed" {
			t.Error(got)
		}
		if class := r.get(t, "a", id).Error; class == nil || *class != jobs.ClassTimeout {
			t.Errorf("error = %v", class)
		}
	})
}

// sink is a log that a test reads.
type sink struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic("secret of the inside") }

func TestPanicIsAFailedAttempt(t *testing.T) {
	for name, f := range map[string]runner{
		"in the action": func(context.Context, string, jobs.Env) (any, error) { panic("secret of the inside") },
		"in the result": func(context.Context, string, jobs.Env) (any, error) { return explosive{}, nil },
		"a plain error": func(context.Context, string, jobs.Env) (any, error) { return nil, errors.New("secret of the inside") },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				var log sink
				r.start(t, jobs.ProcessorOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}, f)
				id := r.submit(t, "a", actions("x"))
				time.Sleep(time.Minute)
				j := r.get(t, "a", id)
				if j.Status != jobs.Failed || j.Attempt != 3 || *j.Error != jobs.ClassInternal {
					t.Errorf("%+v", j)
				}
				if strings.Contains(*j.ErrorMessage, "secret") || !strings.Contains(log.String(), "secret of the inside") {
					t.Errorf("the client reads %q, the log says %s", *j.ErrorMessage, log.String())
				}
			})
		})
	}
}

func TestRunAtIsKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ran := make(chan time.Time, 1)
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			ran <- time.Now()
			return nil, nil
		})
		settle() // the first sweep finds nothing
		spec := actions("x")
		spec.RunAt = time.Now().Add(90 * time.Minute)
		r.submit(t, "a", spec)
		// The safety tick would be late by up to 15 s.
		if late := (<-ran).Sub(spec.RunAt); late < 0 || late > 50*time.Millisecond {
			t.Errorf("ran %v after its time", late)
		}
	})
}

// The times of jobs that came together are kept as well.
func TestTimesOfABatchAreKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ran := make(chan time.Time, 1)
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			ran <- time.Now()
			return nil, nil
		})
		settle() // the first sweeps find nothing, and the next ones would be late
		dated, brief := actions("x"), queued("q")
		dated.RunAt, brief.ExpiresIn = time.Now().Add(5*time.Second), 3*time.Second
		end := time.Now().Add(brief.ExpiresIn)
		made, err := r.svc.SubmitBatch(t.Context(), "a", []jobs.Spec{queued("q"), dated, brief}, jobs.Idempotency{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(end) + settled)
		if got := r.story(made.IDs[2]); got != "created failed" {
			t.Errorf("after its time: %s", got)
		}
		if late := (<-ran).Sub(dated.RunAt); late < 0 || late > 50*time.Millisecond {
			t.Errorf("ran %v after its time", late)
		}
	})
}
