package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// testModel runs random commands against the store and a model of it that is
// simple enough to be right, on one store with fresh clients for each run.
func testModel(w *world) {
	w.limit(jobs.Limits{JobsPerClient: modelJobs})
	run := 0
	rapid.Check(w.T, func(t *rapid.T) {
		run++
		m := &model{w: w, T: t, clients: []string{fmt.Sprintf("m%d", run), fmt.Sprintf("n%d", run)},
			logs: map[string][]string{}}
		t.Repeat(map[string]func(*rapid.T){
			"submit": m.submit, "claim": m.claim, "append": m.append, "complete": m.complete, "fail": m.fail,
			"release": m.release, "cancel": m.cancel, "retry": m.retry, "expire": m.expire, "": m.check,
		})
		m.checkLogs(t)
	})
}

// modelJobs is how many jobs a client may have pending or running.
const modelJobs = 4

// modelJob is a job as the model sees it.
type modelJob struct {
	client, id string
	status     jobs.Status
	attempt    int
	leases     []jobs.Leased // all it ever had, the open one last
	ended      string        // how the last lease ended: complete, fail
	key        string
	expires    bool // soon, if nobody begins it
}

func (j *modelJob) open() bool { return j.status == jobs.Pending || j.status == jobs.Processing }

type model struct {
	*rapid.T
	w       *world
	clients []string
	jobs    []*modelJob
	logs    map[string][]string // by client: type and job of each event
}

func (m *model) event(j *modelJob, t eventlog.Type) {
	m.logs[j.client] = append(m.logs[j.client], string(t)+" "+j.id)
}

func (m *model) pick(t *rapid.T) *modelJob {
	if len(m.jobs) == 0 {
		t.Skip("no job yet")
	}
	return m.jobs[rapid.IntRange(0, len(m.jobs)-1).Draw(t, "job")]
}

// lease picks one of a job's leases, and tells whether it is open.
func (m *model) lease(t *rapid.T) (*modelJob, jobs.Lease, bool) {
	j := m.pick(t)
	if len(j.leases) == 0 {
		t.Skip("never claimed")
	}
	i := rapid.IntRange(0, len(j.leases)-1).Draw(t, "lease")
	return j, j.leases[i].Lease, i == len(j.leases)-1 && j.status == jobs.Processing
}

// agree checks a returned job against the model.
func (m *model) agree(t *rapid.T, j *modelJob, got jobs.Job) {
	if got.ID != j.id || got.Status != j.status || got.Attempt != j.attempt || got.ClientID != j.client {
		t.Fatalf("job %s of %s is %s at attempt %d; want %s of %s, %s at %d",
			got.ID, got.ClientID, got.Status, got.Attempt, j.id, j.client, j.status, j.attempt)
	}
}

// open counts a client's jobs that are pending or running.
func (m *model) open(client string) (n int64) {
	for _, j := range m.jobs {
		if j.client == client && j.open() {
			n++
		}
	}
	return n
}

// refused checks what becomes of one more job of a client, and reports whether it
// was rightly refused.
func (m *model) refused(t *rapid.T, client string, err error) bool {
	var no *jobs.LimitError
	full := m.open(client) >= modelJobs
	if errors.As(err, &no) != full || full && no.Used != m.open(client) {
		t.Fatalf("%s has %d jobs, and one more: %v", client, m.open(client), err)
	}
	if err != nil && !full {
		t.Fatal(err)
	}
	return full
}

func (m *model) submit(t *rapid.T) {
	j := &modelJob{client: rapid.SampledFrom(m.clients).Draw(t, "client"), id: newID(), status: jobs.Pending,
		key: rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(t, "key")}
	spec := queued()
	spec.MaxAttempts = 2
	if j.expires = rapid.Bool().Draw(t, "expires"); j.expires {
		spec.ExpiresIn = time.Millisecond
	}
	got, replayed, err := m.w.store.Submit(m.w.Context(), j.client, j.id, spec, jobs.Idempotency{Key: j.key})
	first := slices.IndexFunc(m.jobs, func(o *modelJob) bool { return j.key != "" && o.key == j.key && o.client == j.client })
	if first >= 0 && err != nil {
		t.Fatal(err)
	}
	if first < 0 && m.refused(t, j.client, err) {
		return
	}
	if replayed != (first >= 0) {
		t.Fatalf("replayed is %v, first job with this key %d", replayed, first)
	}
	if replayed {
		m.agree(t, m.jobs[first], got)
		return
	}
	m.jobs = append(m.jobs, j)
	m.event(j, eventlog.TypeCreated)
	m.agree(t, j, got)
}

func (m *model) claim(t *rapid.T) {
	client := rapid.SampledFrom(m.clients).Draw(t, "client")
	n := rapid.IntRange(1, 3).Draw(t, "max")
	got, err := m.w.store.Claim(m.w.Context(), jobs.Claim{Client: client, Queues: []string{"q"}, Max: n, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range m.jobs { // in order of age
		if j.client != client || j.status != jobs.Pending || n == 0 {
			continue
		}
		if len(got) == 0 {
			t.Fatalf("job %s is pending and was not claimed", j.id)
		}
		j.status, j.ended = jobs.Processing, ""
		j.attempt++
		j.leases = append(j.leases, got[0])
		m.event(j, eventlog.TypeStarted)
		m.agree(t, j, got[0].Job)
		got, n = got[1:], n-1
	}
	if len(got) != 0 {
		t.Fatalf("claimed %d jobs that are not pending", len(got))
	}
}

// wantLost checks a call with a lease that is not open.
func (m *model) wantLost(t *rapid.T, err error) {
	if !errors.Is(err, jobs.ErrLeaseLost) {
		t.Fatalf("call with a lease that is not open: %v", err)
	}
}

func (m *model) append(t *rapid.T) {
	j, l, open := m.lease(t)
	n := rapid.IntRange(0, 4).Draw(t, "events")
	var bodies []jobs.Body
	for i := range n {
		bodies = append(bodies, jobs.Progressed(float64(i), "", ""))
	}
	_, err := m.w.store.Append(m.w.Context(), l, bodies)
	if !open {
		m.wantLost(t, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		m.event(j, eventlog.TypeProgress)
	}
}

func (m *model) complete(t *rapid.T) {
	j, l, open := m.lease(t)
	got, err := m.w.store.Complete(m.w.Context(), l, nil)
	last := l == j.leases[len(j.leases)-1].Lease
	switch {
	case open:
		j.status, j.ended = jobs.Completed, "complete"
		m.event(j, eventlog.TypeCompleted)
	case !last || j.ended != "complete":
		m.wantLost(t, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.agree(t, j, got)
}

func (m *model) fail(t *rapid.T) {
	j, l, open := m.lease(t)
	if !open && j.ended != "fail" && len(j.leases) > 1 {
		t.Skip("an earlier lease may or may not be remembered")
	}
	again := rapid.Bool().Draw(t, "retry")
	got, err := m.w.store.Fail(m.w.Context(), l, jobs.Failure{Class: "X", Retry: again})
	last := l == j.leases[len(j.leases)-1].Lease
	switch {
	case open && again && j.attempt < 2:
		j.status, j.ended = jobs.Pending, "fail"
		m.event(j, eventlog.TypeRetrying)
	case open:
		j.status, j.ended = jobs.Failed, "fail"
		m.event(j, eventlog.TypeFailed)
	case !last || j.ended != "fail":
		m.wantLost(t, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.agree(t, j, got)
}

func (m *model) release(t *rapid.T) {
	j, l, open := m.lease(t)
	err := m.w.store.Release(m.w.Context(), l)
	if !open {
		m.wantLost(t, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	j.status, j.ended = jobs.Pending, ""
	j.attempt--
	m.event(j, eventlog.TypeRetrying)
}

func (m *model) cancel(t *rapid.T) {
	j := m.pick(t)
	got, err := m.w.store.Cancel(m.w.Context(), j.client, j.id)
	if j.status == jobs.Completed || j.status == jobs.Failed {
		var conflict *jobs.ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("cancel of a job that is %s: %v", j.status, err)
		}
		got = conflict.Job
	} else if err != nil {
		t.Fatal(err)
	} else if j.status != jobs.Cancelled {
		j.status = jobs.Cancelled
		m.event(j, eventlog.TypeCancelled)
	}
	m.agree(t, j, got)
}

func (m *model) retry(t *rapid.T) {
	j := m.pick(t)
	id := newID()
	got, _, err := m.w.store.Retry(m.w.Context(), j.client, j.id, id, jobs.Idempotency{})
	if j.status != jobs.Failed && j.status != jobs.Cancelled {
		var conflict *jobs.ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("retry of a job that is %s: %v", j.status, err)
		}
		return
	}
	if m.refused(t, j.client, err) {
		return
	}
	copied := &modelJob{client: j.client, id: id, status: jobs.Pending, expires: j.expires}
	m.jobs = append(m.jobs, copied)
	m.event(copied, eventlog.TypeCreated)
	m.agree(t, copied, got)
}

// expire ends what nobody has begun in time, once all of those times are over.
func (m *model) expire(t *rapid.T) {
	time.Sleep(2 * time.Millisecond)
	for {
		n, _, err := swept(m.w.store.ExpireJobs(m.w.Context(), 100))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	for _, j := range m.jobs { // in the order in which they expire
		if j.expires && j.status == jobs.Pending && len(j.leases) == 0 {
			j.status = jobs.Failed
			m.event(j, eventlog.TypeFailed)
		}
	}
}

// check compares one job and what one client fills, after each command.
func (m *model) check(t *rapid.T) {
	client := rapid.SampledFrom(m.clients).Draw(t, "client")
	if u, err := m.w.store.Usage(m.w.Context(), client); err != nil || u.Jobs != m.open(client) {
		t.Fatalf("%s has %d jobs that are open, and %d are counted, %v", client, m.open(client), u.Jobs, err)
	}
	if len(m.jobs) == 0 {
		return
	}
	j := m.pick(t)
	got, err := m.w.store.Get(m.w.Context(), j.client, j.id)
	if err != nil {
		t.Fatal(err)
	}
	m.agree(t, j, got)
}

// checkLogs compares what is read, what was published and what the model says.
func (m *model) checkLogs(t *rapid.T) {
	for _, client := range m.clients {
		log := m.w.page(eventlog.Room{Client: client}, 0, rapid.IntRange(1, 20).Draw(t, "page"))
		published := m.w.publisher.of(client)
		if len(log) != len(m.logs[client]) || len(published) != len(log) {
			t.Fatalf("%s: %d events read, %d published, want %d", client, len(log), len(published), len(m.logs[client]))
		}
		for i, e := range log {
			if got := string(e.Type) + " " + e.JobID; got != m.logs[client][i] || e.Seq != uint64(i+1) {
				t.Fatalf("%s: event %d is %s, want %s", client, e.Seq, got, m.logs[client][i])
			}
			if string(e.JSON) != string(published[i].JSON) || e.ID != published[i].ID {
				t.Fatalf("%s: event %s was published as %s", client, e.JSON, published[i].JSON)
			}
		}
	}
}
