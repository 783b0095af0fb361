package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// given is a claimed job as a worker sees it.
type given struct {
	ID      string      `json:"id"`
	Status  jobs.Status `json:"status"`
	Attempt int         `json:"attempt"`
	Cursor  string      `json:"cursor"`
	Lease   struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expiresAt"`
	} `json:"lease"`
}

func (a answer) claimed(t *testing.T) []given {
	t.Helper()
	var got struct{ Jobs []given }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 || got.Jobs == nil {
		t.Fatalf("claim: %d %s", a.StatusCode, a.body)
	}
	return got.Jobs
}

// claim takes one job of the queue q.
func (s *site) claim() given {
	s.t.Helper()
	got := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`).claimed(s.t)
	if len(got) != 1 {
		s.t.Fatalf("claimed %d jobs", len(got))
	}
	return got[0]
}

// as makes a worker's call on a job with a lease.
func (s *site) as(g given, what, body string) answer {
	s.t.Helper()
	return s.call("POST", "/v1/jobs/"+g.ID+"/"+what, s.plain, body, "X-Lease-Token: "+g.Lease.Token)
}

// events returns a job's events as `type data`.
func (s *site) events(client, id string) []string {
	s.t.Helper()
	page, err := s.store.Page(s.t.Context(), eventlog.Room{Client: client, Job: id}, 0, 5000, 16<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, e := range page.Events {
		var frame struct{ Data json.RawMessage }
		if err := json.Unmarshal(e.JSON, &frame); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, string(e.Type)+" "+string(frame.Data))
	}
	return all
}

// until waits for what another goroutine does.
func (s *site) until(what string, done func() bool) {
	s.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestWorker(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	before := time.Now()
	g := s.claim()
	if g.ID != id || g.Status != jobs.Processing || g.Attempt != 1 || len(g.Lease.Token) < 22 {
		t.Fatalf("%+v", g)
	}
	if d := g.Lease.ExpiresAt.Sub(before); d < 29*time.Second || d > 31*time.Second {
		t.Errorf("the lease lasts %v", d)
	}
	wire := func(a answer) (got struct {
		LastEventID string
		Lease       struct{ Token, ExpiresAt string }
	}) {
		t.Helper()
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		return got
	}
	one := wire(s.as(g, "progress", `{"progress":12.5,"message":"<m>","step":"s"}`))
	if one.Lease.Token != g.Lease.Token || one.LastEventID == g.Cursor {
		t.Errorf("%+v", one)
	}
	many := wire(s.as(g, "progress", `[{"log":{"line":"l"}},{"progress":50,"log":{"level":"warn","line":"w"}},{"progress":60}]`))
	if extended := wire(s.as(g, "extend", "{}")); extended.LastEventID != many.LastEventID {
		t.Errorf("extend: %+v", extended)
	}
	wire(s.as(g, "extend", ""))
	done := s.as(g, "complete", `{"result":{"n":1}}`).job(t, 200)
	again := s.as(g, "complete", `{"result":{"n":1}}`).job(t, 200)
	if done.Status != jobs.Completed || again.Cursor != done.Cursor {
		t.Errorf("%+v, again %+v", done, again)
	}
	story := s.events("acme", id)[2:6]
	want := []string{
		`job.progress {"progress":12.5,"message":"<m>","step":"s"}`, `job.log {"level":"info","line":"l"}`,
		`job.log {"level":"warn","line":"w"}`, `job.progress {"progress":50}`,
	}
	if fmt.Sprint(story) != fmt.Sprint(want) || len(s.events("acme", id)) != 8 {
		t.Errorf("%q", s.events("acme", id))
	}
	for _, what := range []string{"progress", "extend", "fail"} {
		body := map[string]string{"progress": `{"progress":1}`, "fail": `{"errorMessage":"x"}`}[what]
		var p struct {
			Code      transport.Code
			JobStatus jobs.Status
		}
		a := s.as(g, what, body)
		if _ = json.Unmarshal([]byte(a.body), &p); a.StatusCode != 409 || p.Code != transport.LeaseLost || p.JobStatus != jobs.Completed {
			t.Errorf("%s after the end: %d %s", what, a.StatusCode, a.body)
		}
	}
}

func TestWorkerFails(t *testing.T) {
	s := newSite(t)
	s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202)
	g := s.claim()
	j := s.as(g, "fail", `{"errorMessage":"later"}`)
	if got := j.job(t, 200); got.Status != jobs.Pending || !strings.Contains(j.body, `"error":"WorkerError","errorMessage":"later"`) {
		t.Errorf("%s", j.body)
	}
	if again := s.as(g, "fail", `{"errorMessage":"later"}`).job(t, 200); again.Cursor != j.job(t, 200).Cursor {
		t.Error("failing again changed the job")
	}
	s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202)
	g = s.claim()
	last := s.as(g, "fail", `{"error":"Broken","errorMessage":"for good","retry":false}`)
	if last.job(t, 200).Status != jobs.Failed || !strings.Contains(last.body, `"error":"Broken","errorMessage":"for good"`) {
		t.Errorf("%s", last.body)
	}
	// A cancelled job's worker learns it from its next call.
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	g = s.claim()
	s.call("POST", "/v1/jobs/"+id+"/cancel", s.plain, "").job(t, 200)
	if a := s.as(g, "progress", `{"progress":1}`); !strings.Contains(a.body, `"jobStatus":"cancelled"`) {
		t.Errorf("%s", a.body)
	}
}

func TestWorkerRefused(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	g := s.claim()
	long := strings.Repeat("x", 1025)
	for _, tt := range [][3]string{
		{"progress", `{}`, "/progress"},
		{"progress", `[{"progress":1},{"progress":101}]`, "/1/progress"},
		{"progress", `[{"progress":-1}]`, "/0/progress"},
		{"progress", `[{"progress":"1"}]`, "/0/progress"},
		{"progress", `{"progress":1,"message":"` + long + `"}`, "/message"},
		{"progress", `{"progress":1,"x":1}`, "/x"},
		{"progress", `{"log":{"level":"loud","line":""}}`, "/log/level"},
		{"progress", `[]`, ""},
		{"progress", `[` + strings.Repeat(`{"progress":1},`, 1000) + `{"progress":1}]`, ""},
		{"extend", `{"x":1}`, "/x"},
		{"complete", `{"result":[1]}`, "/result"},
		{"complete", `{"result":{"x":"` + strings.Repeat("x", 64<<10) + `"}}`, "/result"},
		{"fail", `{}`, "/errorMessage"},
		{"fail", `{"errorMessage":"x","retry":"no"}`, "/retry"},
		{"fail", `{"errorMessage":"x","error":"` + long + `"}`, "/error"},
	} {
		p := s.as(g, tt[0], tt[1]).problem(t, transport.Invalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != tt[2] {
			t.Errorf("%s %.60s: %v, want %s", tt[0], tt[1], p.Errors, tt[2])
		}
	}
	s.as(g, "progress", "").problem(t, transport.Malformed)
	s.as(g, "progress", "[").problem(t, transport.Malformed)
	for _, tt := range [][3]string{
		{`{}`, "/queues", ""}, {`{"queues":[]}`, "/queues", ""}, {`{"queues":["Q"]}`, "/queues/0", ""},
		{`{"queues":["q"],"max":0}`, "/max", ""}, {`{"queues":["q"],"max":101}`, "/max", ""},
		{`{"queues":["q"],"wait":61}`, "/wait", ""}, {`{"queues":["q"],"wait":1.5}`, "/wait", ""},
		{`{"queues":["q"],"leaseMs":4999}`, "/leaseMs", ""}, {`{"queues":["q"],"clientId":"umbra"}`, "/clientId", ""},
	} {
		p := s.call("POST", "/v1/workers/claim", s.plain, tt[0]).problem(t, transport.Invalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != tt[1] {
			t.Errorf("%s: %v, want %s", tt[0], p.Errors, tt[1])
		}
	}
	path := "/v1/jobs/" + id + "/extend"
	s.call("POST", path, s.plain, "").problem(t, transport.Invalid)
	s.call("POST", path, s.plain, "", "X-Lease-Token: a", "X-Lease-Token: b").problem(t, transport.Malformed)
	s.call("POST", path, s.plain, "", "X-Lease-Token: wrong").problem(t, transport.LeaseLost)
	s.call("POST", path, s.watcher, "", "X-Lease-Token: "+g.Lease.Token).problem(t, transport.Forbidden)
	s.call("POST", "/v1/workers/claim", s.watcher, `{"queues":["q"]}`).problem(t, transport.Forbidden)
	s.call("POST", "/v1/workers/claim", "", `{"queues":["q"]}`).problem(t, transport.Unauthenticated)
	if len(s.events("acme", id)) != 2 {
		t.Errorf("refused calls left events: %v", s.events("acme", id))
	}
}
