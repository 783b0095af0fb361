package jobs_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/files"
	"github.com/jobcast/jobcast/store/sqlite"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps what a store published.
type recorder struct {
	mu     sync.Mutex // guards events
	events []eventlog.Event
}

func (r *recorder) Publish(events []eventlog.Event) (answered func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return nil
}

// story returns the types of a job's events in order.
func (r *recorder) story(job string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var types []string
	for _, e := range r.events {
		if e.JobID == job {
			types = append(types, strings.TrimPrefix(string(e.Type), "job."))
		}
	}
	return strings.Join(types, " ")
}

// data returns the data objects of a job's events of one type.
func (r *recorder) data(t *testing.T, job string, typ eventlog.Type) []map[string]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []map[string]any
	for _, e := range r.events {
		if e.JobID != job || e.Type != typ {
			continue
		}
		var m struct{ Data map[string]any }
		if err := json.Unmarshal(e.JSON, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Data)
	}
	return all
}

// runner runs every action with one function.
type runner func(ctx context.Context, kind string, env jobs.Env) (any, error)

func (f runner) Run(ctx context.Context, raw json.RawMessage, env jobs.Env) (any, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, err
	}
	return f(ctx, head.Type, env)
}

// rig is a service over a real store.
type rig struct {
	*recorder
	dir   string
	store *sqlite.Store
	svc   *jobs.Service
}

func openRig(t *testing.T, dir string, wrap func(jobs.Store) jobs.Store) *rig {
	t.Helper()
	return openBounded(t, dir, jobs.Limits{}, wrap)
}

// openBounded is openRig with a store of bounds.
func openBounded(t *testing.T, dir string, limits jobs.Limits, wrap func(jobs.Store) jobs.Store) *rig {
	t.Helper()
	r := &rig{recorder: &recorder{}, dir: dir}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	store, err := sqlite.Open(context.Background(), dir, sqlite.Options{
		Publisher: r.recorder, Logger: quiet, Serving: true, Limits: limits,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r.store = store
	var s jobs.Store = store
	if wrap != nil {
		s = wrap(store)
	}
	kept, err := files.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	r.svc = jobs.NewService(s, jobs.ServiceOptions{Logger: quiet, Files: kept})
	return r
}

// inFakeTime runs f with a rig in a bubble whose clock moves only when all wait.
func inFakeTime(t *testing.T, f func(t *testing.T, r *rig)) {
	dir := sqlitetest.Folder(t)
	synctest.Test(t, func(t *testing.T) { f(t, openRig(t, dir, nil)) })
}

// settled is time enough for all that is due to be committed, and much less than
// any tick.
const settled = 100 * time.Millisecond

// settle lets everything that is due happen. Only for fake time.
func settle() {
	time.Sleep(settled)
	synctest.Wait() // also orders what was written before what is read after
}

// start runs a processor until the test ends.
func (r *rig) start(t *testing.T, o jobs.ProcessorOptions, f runner) *jobs.Processor {
	t.Helper()
	p := jobs.NewProcessor(r.svc, f, o)
	p.Start()
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Stop(over)
	})
	return p
}

func actions(kinds ...string) jobs.Spec {
	list := make([]string, len(kinds))
	for i, k := range kinds {
		list[i] = `{"type":"` + k + `"}`
	}
	return jobs.Spec{
		Actions: json.RawMessage("[" + strings.Join(list, ",") + "]"), Payload: json.RawMessage("null"),
		MaxAttempts: 3, Timeout: time.Hour,
	}
}

func queued(queue string) jobs.Spec {
	return jobs.Spec{Queue: queue, Payload: json.RawMessage("null"), MaxAttempts: 3, Timeout: time.Hour}
}

func (r *rig) submit(t *testing.T, client string, s jobs.Spec) string {
	t.Helper()
	j, replayed, err := r.svc.Submit(context.Background(), client, s, jobs.Idempotency{})
	if err != nil || replayed {
		t.Fatalf("submit: replayed %v, %v", replayed, err)
	}
	return j.ID
}

func (r *rig) get(t *testing.T, client, id string) jobs.Job {
	t.Helper()
	j, err := r.svc.Get(context.Background(), client, id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// blocked is an action that ends only with its context, and says so.
func blocked(began chan<- jobs.Env, ended chan<- error) runner {
	return func(ctx context.Context, _ string, env jobs.Env) (any, error) {
		began <- env
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}
}
