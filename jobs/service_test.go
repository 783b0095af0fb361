package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

func TestSubmitIsIdempotent(t *testing.T) {
	r := openRig(t, sqlitetest.Folder(t), nil)
	idem := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	first, replayed, err := r.svc.Submit(t.Context(), "a", queued("q"), idem)
	if err != nil || replayed {
		t.Fatal(replayed, err)
	}
	if id, err := uuid.Parse(first.ID); err != nil || id.Version() != 7 {
		t.Errorf("id %s: %v", first.ID, err)
	}
	again, replayed, err := r.svc.Submit(t.Context(), "a", queued("q"), idem)
	if err != nil || !replayed || again.ID != first.ID {
		t.Errorf("%s, %v, %v", again.ID, replayed, err)
	}
	idem.Hash[0]++
	if _, _, err := r.svc.Submit(t.Context(), "a", queued("q"), idem); !errors.Is(err, jobs.ErrIdempotencyMismatch) {
		t.Error(err)
	}
}

func TestRetryMakesAJobThatRuns(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var fail atomic.Bool
		fail.Store(true)
		r.start(t, jobs.ProcessorOptions{}, func(context.Context, string, jobs.Env) (any, error) {
			if fail.Load() {
				return nil, &jobs.ActionError{Class: "X", Message: "no"}
			}
			return nil, nil
		})
		id := r.submit(t, "a", actions("x"))
		settle()
		fail.Store(false)
		j, _, err := r.svc.Retry(t.Context(), "a", id, jobs.Idempotency{})
		if err != nil || j.RetryOf == nil || *j.RetryOf != id {
			t.Fatalf("%+v, %v", j, err)
		}
		settle() // no tick was needed
		if got := r.story(j.ID); got != "created started progress completed" {
			t.Error(got)
		}
	})
}

func TestClaimWaitsForASubmit(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.submit(t, "b", queued("q")) // another client's: never given out
		got := make(chan []jobs.Claimed, 1)
		start := time.Now()
		go func() {
			l, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"p", "q"}, Wait: time.Minute})
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		time.Sleep(30 * time.Second)
		r.submit(t, "a", queued("other"))
		id := r.submit(t, "a", queued("q"))
		l := <-got
		if len(l) != 1 || l[0].Job.ID != id || time.Since(start) > 30*time.Second+settled {
			t.Errorf("%+v after %v", l, time.Since(start))
		}
	})
}

func TestClaimEndsItsWait(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		start := time.Now()
		l, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"q"}, Wait: time.Minute})
		if len(l) != 0 || err != nil || time.Since(start).Truncate(settled) != time.Minute {
			t.Errorf("%v, %v after %v", l, err, time.Since(start))
		}
		stopped := make(chan error)
		go func() {
			_, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"q"}, Wait: time.Minute})
			stopped <- err
		}()
		settle()
		start = time.Now()
		r.svc.StopClaims()
		if err := <-stopped; err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A claim whose caller is gone costs no attempt and no waiting.
func TestClaimForNobodyIsHandedBack(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		id := r.submit(t, "a", queued("q"))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if l, err := r.svc.Claim(gone, "a", jobs.ClaimRequest{Queues: []string{"q"}}); len(l) != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", l, err)
		}
		if j := r.get(t, "a", id); j.Status != jobs.Pending || j.Attempt != 0 {
			t.Errorf("%+v", j)
		}
		l, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"q"}, Wait: time.Second})
		if err != nil || len(l) != 1 || l[0].Job.Attempt != 1 {
			t.Errorf("%+v, %v", l, err)
		}
	})
}

// A silent worker loses its job at the end of the lease, not at some tick.
func TestLeaseEndsOnTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.start(t, jobs.ProcessorOptions{}, nil)
		id := r.submit(t, "a", queued("q"))
		claim := jobs.ClaimRequest{Queues: []string{"q"}, Wait: time.Minute, Lease: 7 * time.Second}
		first, err := r.svc.Claim(t.Context(), "a", claim)
		if err != nil || len(first) != 1 {
			t.Fatal(first, err)
		}
		start := time.Now()
		second, err := r.svc.Claim(t.Context(), "a", claim)
		if err != nil || len(second) != 1 || second[0].Job.Attempt != 2 {
			t.Fatalf("%+v, %v; %s", second, err, r.story(id))
		}
		if d := time.Since(start); d < 7*time.Second || d > 9*time.Second {
			t.Errorf("the job came back after %v", d)
		}
		if _, _, err := r.svc.End(t.Context(), jobs.End{Lease: first[0].Lease}, nil); !errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("the late worker is told %v", err)
		}
		if _, _, err := r.svc.End(t.Context(), jobs.End{Lease: second[0].Lease, Result: json.RawMessage(` { "ok": "<" } `)}, nil); err != nil {
			t.Error(err)
		}
		if got := string(r.get(t, "a", id).Result); got != `{"ok":"<"}` {
			t.Error(got)
		}
	})
}

func TestWorkerReports(t *testing.T) {
	r := openRig(t, sqlitetest.Folder(t), nil)
	id := r.submit(t, "a", queued("q"))
	l, err := r.svc.Claim(t.Context(), "a", jobs.ClaimRequest{Queues: []string{"q"}})
	if err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	lease, half := l[0].Lease, 50.0
	reports := []jobs.Report{{Progress: &half, Message: "m", Step: "s"}, {Log: &jobs.LogLine{Line: "x"}}, {Progress: &half, Log: &jobs.LogLine{Level: "warn", Line: "y"}}}
	if _, err := r.svc.Progress(t.Context(), lease, reports); err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.Log(t.Context(), lease, []jobs.LogLine{{Line: "z"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.Extend(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	failed := &jobs.WorkerFailure{Message: "broken", Retry: true}
	if j, _, err := r.svc.End(t.Context(), jobs.End{Lease: lease, Failed: failed}, nil); err != nil || *j.Error != jobs.ClassWorker || j.NextAttemptAt == nil {
		t.Errorf("%+v, %v", j, err)
	}
	if got := r.story(id); got != "created started progress log log progress log retrying" {
		t.Error(got)
	}
}

func TestWorkerLimits(t *testing.T) {
	r := openRig(t, sqlitetest.Folder(t), nil)
	ctx, nan, fine := t.Context(), math.NaN(), 1.0
	claim := func(c jobs.ClaimRequest) error { _, err := r.svc.Claim(ctx, "a", c); return err }
	progress := func(rs ...jobs.Report) error { _, err := r.svc.Progress(ctx, jobs.Lease{}, rs); return err }
	complete := func(s string) error {
		_, _, err := r.svc.End(ctx, jobs.End{Result: json.RawMessage(s)}, nil)
		return err
	}
	fail := func(class, message string) error {
		_, _, err := r.svc.End(ctx, jobs.End{Failed: &jobs.WorkerFailure{Class: class, Message: message}}, nil)
		return err
	}
	q := []string{"q"}
	for pointer, err := range map[string]error{
		"/queues":       claim(jobs.ClaimRequest{}),
		"/queues/0":     claim(jobs.ClaimRequest{Queues: []string{"Q"}}),
		"/max":          claim(jobs.ClaimRequest{Queues: q, Max: 101}),
		"/wait":         claim(jobs.ClaimRequest{Queues: q, Wait: 61 * time.Second}),
		"/leaseMs":      claim(jobs.ClaimRequest{Queues: q, Lease: time.Second}),
		"":              progress(),
		"/progress":     progress(jobs.Report{Progress: &nan}),
		"/message":      progress(jobs.Report{Progress: &fine, Message: strings.Repeat("m", 1025)}),
		"/step":         progress(jobs.Report{Progress: &fine, Step: "\xff"}),
		"/1/progress":   progress(jobs.Report{Progress: &fine}, jobs.Report{}),
		"/log/level":    progress(jobs.Report{Log: &jobs.LogLine{Level: "loud"}}),
		"/log/line":     progress(jobs.Report{Log: &jobs.LogLine{Line: strings.Repeat("x", 8<<10+1)}}),
		"/result":       complete(`[]`),
		"/error":        fail(strings.Repeat("x", 129), ""),
		"/errorMessage": fail("", strings.Repeat("x", 8<<10+1)),
	} {
		var invalid *jobs.InvalidError
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Pointer != pointer {
			t.Errorf("%q: %v", pointer, err)
		}
	}
	var invalid *jobs.InvalidError
	if err := complete(`{"x":"` + strings.Repeat("x", jobs.MaxResultBytes) + `"}`); !errors.As(err, &invalid) {
		t.Error(err)
	}
	var malformed *jobs.MalformedError
	if err := complete(`{"x":"\ud800"}`); !errors.As(err, &malformed) {
		t.Error(err)
	}
}

// crowded counts the retries that are on their way to a store at the same time.
type crowded struct {
	jobs.Store
	now, most atomic.Int64
}

func (c *crowded) Retry(ctx context.Context, client, of, id string, idem jobs.Idempotency) (jobs.Job, bool, error) {
	c.most.Store(max(c.most.Load(), c.now.Add(1)))
	defer c.now.Add(-1)
	time.Sleep(time.Second) // fake time: all others come meanwhile
	return c.Store.Retry(ctx, client, of, id, idem)
}

// A retry weighs as much as the submit that it repeats: large ones of one client wait
// for each other, and small ones do not.
func TestRetriesWaitForThemselves(t *testing.T) {
	for size, want := range map[int]int64{250 << 10: 1, 0: 8} {
		dir := sqlitetest.Folder(t)
		synctest.Test(t, func(t *testing.T) {
			var store *crowded
			r := openRig(t, dir, func(s jobs.Store) jobs.Store {
				store = &crowded{Store: s}
				return store
			})
			spec := queued("q")
			spec.Payload = json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
			j, _, err := r.svc.Submit(t.Context(), "a", spec, jobs.Idempotency{})
			if err == nil {
				_, err = r.svc.Cancel(t.Context(), "a", j.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if _, _, err := r.svc.Retry(t.Context(), "a", j.ID, jobs.Idempotency{}); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if got := store.most.Load(); got != want {
				t.Errorf("%d retries of %d bytes at the same time, want %d", got, size, want)
			}
		})
	}
}

// What the store has refused makes no job, so nobody who waits for one looks.
func TestRefusalsWakeNobody(t *testing.T) {
	askedRig(t, jobs.Limits{JobsPerClient: 1}, func(t *testing.T, r *rig, store *asked) {
		idem := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
		j, _, err := r.svc.Submit(t.Context(), "a", queued("q"), idem)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if got, err := r.svc.Claim(t.Context(), "b", jobs.ClaimRequest{Queues: []string{"q"}, Max: 1, Wait: time.Minute}); len(got) > 0 || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		}()
		settle()
		before := store.counted()
		idem.Hash[0]++
		if _, _, err := r.svc.Submit(t.Context(), "a", queued("q"), idem); !errors.Is(err, jobs.ErrIdempotencyMismatch) {
			t.Error(err)
		}
		if _, _, err := r.svc.Submit(t.Context(), "a", queued("q"), jobs.Idempotency{}); err == nil {
			t.Error("two jobs were accepted")
		}
		for _, id := range []string{j.ID, uuid.NewString()} {
			if _, _, err := r.svc.Retry(t.Context(), "a", id, jobs.Idempotency{}); err == nil {
				t.Error("a retry was accepted")
			}
		}
		settle()
		if d := cmp.Diff(before, store.counted()); d != "" {
			t.Error("claims were made for nothing:", d)
		}
		<-done
	})
}
