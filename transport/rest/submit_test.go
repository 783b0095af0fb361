package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

func TestIdempotency(t *testing.T) {
	s := newSite(t)
	const key = "Idempotency-Key: order-17"
	first := s.call("POST", "/v1/jobs", s.plain, someJob, key).job(t, 202)
	again := s.call("POST", "/v1/jobs", s.plain, someJob, key)
	if again.job(t, 202).ID != first.ID || again.Header.Get("Idempotent-Replayed") != "true" ||
		again.Header.Get("Location") != "/v1/jobs/"+first.ID {
		t.Errorf("%v %s", again.Header, again.body)
	}
	s.call("POST", "/v1/jobs", s.plain, someJob+" ", key).problem(t, transport.IdempotencyMismatch)
	s.call("POST", "/v1/jobs/"+first.ID+"/retry", s.plain, someJob[:0], key).problem(t, transport.IdempotencyMismatch)
	if other := s.call("POST", "/v1/jobs", s.foreign, someJob, key); other.job(t, 202).ID == first.ID {
		t.Error("the key of one client found another client's job")
	}
	s.finish(first.ID)
	if j := s.call("POST", "/v1/jobs", s.plain, someJob, key).job(t, 200); j.Status != jobs.Completed {
		t.Errorf("the answer is the job as it is now, got %s", j.Status)
	}
	s.call("POST", "/v1/jobs", s.plain, someJob, key, key).problem(t, transport.Malformed)
	for _, bad := range []string{"", "a b", "sch\u00fcssel", strings.Repeat("k", 256)} {
		s.call("POST", "/v1/jobs", s.plain, someJob, "Idempotency-Key: "+bad).problem(t, transport.Invalid)
	}
	s.call("POST", "/v1/jobs", s.plain, someJob, "Idempotency-Key: "+strings.Repeat("k", 255)).job(t, 202)
	if n := s.count(); n != 2 {
		t.Errorf("%d jobs, want 2", n)
	}
}

func TestTwentyCallersOneKey(t *testing.T) {
	s := newSite(t)
	var callers sync.WaitGroup
	ids := make([]string, 20)
	for i := range ids {
		callers.Go(func() {
			a, err := s.try("POST", "/v1/jobs", s.plain, someJob, "Idempotency-Key: once")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = fmt.Sprint(a.StatusCode, a.Header.Get("Location"))
		})
	}
	callers.Wait()
	for _, id := range ids {
		if id != ids[0] || !strings.HasPrefix(id, "202/v1/jobs/") {
			t.Fatalf("answers differ: %v", ids)
		}
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

func TestPreferWait(t *testing.T) {
	s := newSite(t)
	done := make(chan answer, 1)
	go func() {
		a, err := s.try("POST", "/v1/jobs", s.plain, someJob, "Prefer: respond-async, wait=90", "Idempotency-Key: w")
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	var id string
	for id == "" { // until the job is there
		page, err := s.store.List(t.Context(), "acme", jobs.ListQuery{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Jobs) == 1 {
			id = page.Jobs[0].ID
		}
	}
	select {
	case a := <-done:
		t.Fatalf("answered before the job had ended: %s", a.body)
	default:
	}
	s.finish(id)
	a := <-done
	if j := a.job(t, 200); j.ID != id || j.Status != jobs.Completed || a.Header.Get("Preference-Applied") != "wait=60" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	again := s.call("POST", "/v1/jobs", s.plain, someJob, "Prefer: wait=60", "Idempotency-Key: w")
	if again.job(t, 200).ID != id || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%v", again.Header)
	}
	late := s.call("POST", "/v1/jobs", s.plain, someJob, "Prefer: wait=1")
	if j := late.job(t, 202); j.Status != jobs.Pending || late.Header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("%v", late.Header)
	}
	plain := s.call("POST", "/v1/jobs", s.plain, someJob, "Prefer: wait=soon")
	if plain.job(t, 202); plain.Header.Get("Preference-Applied") != "" {
		t.Error("a preference that says nothing was applied")
	}
}

// When all waiting calls of the key are taken the job is made all the same.
func TestPreferWaitHasACap(t *testing.T) {
	s := newSite(t, func(_ *Deps, l *auth.Limits) { l.Waits = 1 })
	p, err := s.door.Login(s.plain, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := s.streams.OpenWait(p)
	if err != nil {
		t.Fatal(err)
	}
	a := s.call("POST", "/v1/jobs", s.plain, someJob, "Prefer: wait=60")
	if a.job(t, 202); a.Header.Get("Preference-Applied") != "" {
		t.Error("two calls of the key waited")
	}
	slot.Release()
	a = s.call("POST", "/v1/jobs", s.plain, someJob, "Prefer: wait=1")
	if a.job(t, 202); a.Header.Get("Preference-Applied") != "wait=1" || s.streams.Waiting(p.KeyID) != 0 {
		t.Errorf("%v, %d waiting after the answer", a.Header, s.streams.Waiting(p.KeyID))
	}
}

func TestDrainEndsWaiting(t *testing.T) {
	s := newSite(t)
	done := make(chan answer, 1)
	go func() {
		a, err := s.try("POST", "/v1/jobs", s.plain, someJob, "Prefer: wait=60")
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	<-s.ends.made
	s.door.Drain()
	a := <-done
	if j := a.job(t, 202); j.Status != jobs.Pending {
		t.Errorf("%s", a.body)
	}
	s.call("POST", "/v1/jobs", s.plain, someJob).problem(t, transport.Draining)
	s.call("POST", "/v1/jobs", s.plain, someJob, "Accept: text/event-stream").problem(t, transport.Draining)
	s.call("POST", "/v1/jobs/batch", s.plain, `{"jobs":[`+someJob+`]}`).problem(t, transport.Draining)
	if n := s.count(); n != 1 {
		t.Errorf("%d jobs; draining makes none", n)
	}
	s.call("GET", "/readyz", "", "").problem(t, transport.Draining)
	if a := s.call("GET", "/livez", "", ""); a.StatusCode != 200 {
		t.Errorf("livez while draining: %d", a.StatusCode)
	}
}

func TestSubmitAndStream(t *testing.T) {
	s := newSite(t, func(_ *Deps, l *auth.Limits) { l.PerKey = 1 })
	p, err := s.door.Login(s.plain, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	const sse = "Accept: text/event-stream"
	// A request that is refused gives its slot back.
	s.call("POST", "/v1/jobs", s.plain, "{", sse).problem(t, transport.Malformed)
	s.call("POST", "/v1/jobs", s.plain, someJob, "Idempotency-Key: k").job(t, 202)
	s.call("POST", "/v1/jobs", s.plain, `{"queue":"q"}`, "Idempotency-Key: k", sse).problem(t, transport.IdempotencyMismatch)
	if n := s.streams.Held(p.KeyID); n != 0 {
		t.Fatalf("%d slots held after refusals", n)
	}
	a := s.call("POST", "/v1/jobs", s.plain, someJob, sse, "Idempotency-Key: k")
	id := strings.TrimPrefix(a.Header.Get("Location"), "/v1/jobs/")
	if a.StatusCode != 200 || a.body != "acme "+id+" sse" || a.Header.Get("Idempotent-Replayed") != "true" {
		t.Fatalf("%d %s %v", a.StatusCode, a.body, a.Header)
	}
	// The stream holds the only slot: no further one, and no job for it.
	full := s.call("POST", "/v1/jobs", s.plain, someJob, "Accept: application/x-ndjson")
	full.problem(t, transport.ConnectionLimit)
	if full.Header.Get("Retry-After") == "" || s.count() != 1 {
		t.Errorf("Retry-After %q, %d jobs", full.Header.Get("Retry-After"), s.count())
	}
	s.streamed[0].Release()
	if a := s.call("POST", "/v1/jobs", s.plain, someJob, "Accept: application/x-ndjson"); !strings.HasSuffix(a.body, " ndjson") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	s.streamed[1].Release()
}

// What the store cannot do is told apart, and its reason goes to the log.
func TestStoreFailures(t *testing.T) {
	broken := &failingJobs{}
	s := newSite(t, func(d *Deps, _ *auth.Limits) {
		broken.Jobs = d.Jobs
		d.Jobs = broken
	})
	for err, want := range map[error]transport.Code{
		jobs.ErrUnavailable: transport.Unavailable, jobs.ErrStorageFull: transport.StorageFull,
		jobs.ErrClosed: transport.Draining, context.DeadlineExceeded: transport.Unavailable,
		fmt.Errorf("page 7 is torn"): transport.Internal,
	} {
		broken.err = fmt.Errorf("commit of shard seven: %w", err)
		a := s.call("POST", "/v1/jobs", s.plain, someJob)
		p := a.problem(t, want)
		if strings.Contains(a.body, "shard seven") {
			t.Errorf("the caller learns %s", a.body)
		}
		if want != transport.Internal && a.Header.Get("Retry-After") == "" {
			t.Errorf("%s without Retry-After", want)
		}
		if want != transport.Draining && strings.Count(s.log.String(), p.Instance) != 2 {
			t.Errorf("%s: not logged once beside the access line", want)
		}
		s.call("POST", "/v1/jobs", s.plain, someJob, "Accept: text/event-stream").problem(t, want)
		s.call("POST", "/v1/jobs/batch", s.plain, `{"jobs":[`+someJob+`]}`).problem(t, want)
	}
	if live := s.streams.Live()["sse"]; live != 0 {
		t.Errorf("%d slots held after failures", live)
	}
}

// failingJobs fails at what cannot be provoked in a test: a full disk, a commit
// whose fate is unknown.
type failingJobs struct {
	Jobs
	err error
}

func (f *failingJobs) Submit(context.Context, string, jobs.Spec, jobs.Idempotency) (jobs.Job, bool, error) {
	return jobs.Job{}, false, f.err
}

func (f *failingJobs) SubmitBatch(context.Context, string, []jobs.Spec, jobs.Idempotency) (jobs.Batch, error) {
	return jobs.Batch{}, f.err
}

func TestParsePrefer(t *testing.T) {
	tests := []struct {
		line string
		want time.Duration
		ok   bool
	}{
		{"wait=30", 30 * time.Second, true},
		{"respond-async, WAIT = 5 ; x=y", 5 * time.Second, true},
		{`wait="7"`, 7 * time.Second, true},
		{"wait=1, wait=2", time.Second, true},
		{"wait=-1", 0, false},
		{"wait", 0, false},
		{"wait=99999999999", 0, false},
		{"waiting=3", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if got, ok := parsePrefer(tt.line); ok != tt.ok || (ok && got != tt.want) {
			t.Errorf("%q: %v %t", tt.line, got, ok)
		}
	}
}

func FuzzPrefer(f *testing.F) {
	f.Add("wait=30")
	f.Add("a;b=c,wait=\"2\";;,")
	f.Fuzz(func(t *testing.T, line string) {
		if wait, ok := parsePrefer(line); ok && (wait < 0 || wait%time.Second != 0) {
			t.Fatalf("%q gave %v", line, wait)
		}
	})
}

// What actions there are is told to whoever may submit.
func TestActions(t *testing.T) {
	s := newSite(t)
	a := s.call("GET", "/v1/actions", s.submitter, "")
	var got struct {
		Actions []struct {
			Type   string
			Schema struct{ Required []string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	if len(got.Actions) != 2 || got.Actions[0].Type != "http" || got.Actions[1].Type != "wait" || len(got.Actions[1].Schema.Required) != 2 {
		t.Errorf("%s", a.body)
	}
	s.call("GET", "/v1/actions", "", "").problem(t, transport.Unauthenticated)
	s.call("GET", "/v1/actions", s.watcher, "").problem(t, transport.Forbidden)
}
