package rest

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
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
	page, err := s.store.Page(s.t.Context(), jobs.Room{Client: client, Job: id}, 0, 1<<62, 5000, 16<<20)
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
	deadline := time.After(10 * time.Second)
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

// A claim that waits is answered by the next submit, and several by theirs.
func TestClaimWaits(t *testing.T) {
	s := newSite(t)
	const workers = 3
	got := make(chan answer, workers)
	for range workers {
		go func() {
			a, err := s.try("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"wait":30,"leaseMs":60000}`)
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
	}
	key := s.keyID(s.plain)
	s.until("the claims wait", func() bool { return s.streams.Waiting(key) == workers })
	for range workers {
		id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
		jobs := (<-got).claimed(t)
		if len(jobs) != 1 || jobs[0].ID != id || time.Until(jobs[0].Lease.ExpiresAt) < 50*time.Second {
			t.Errorf("claimed %+v, want %s", jobs, id)
		}
	}
	s.until("the calls are over", func() bool { return s.streams.Waiting(key) == 0 })
	if empty := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`); empty.body != `{"jobs":[]}`+"\n" {
		t.Errorf("%s", empty.body)
	}
}

// keyID returns the id in a secret.
func (s *site) keyID(secret string) string {
	return strings.Split(secret, "_")[1]
}

// Waiting calls have a limit of their own.
func TestClaimLimit(t *testing.T) {
	s := newSite(t, func(_ *Deps, l *auth.Limits) { l.Waits = 1 })
	first := s.park(30)
	defer first.Close()
	s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`).problem(t, transport.ConnectionLimit)
	_ = first.Close()
	s.until("the slot is free", func() bool { return s.streams.Waiting(s.keyID(s.plain)) == 0 })
	if a := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// park sends a claim that waits, over a socket of its own, and returns once it
// is parked.
func (s *site) park(wait int) *net.TCPConn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	body := fmt.Sprintf(`{"queues":["q"],"wait":%d}`, wait)
	_, err = fmt.Fprintf(conn, "POST /v1/workers/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.plain, len(body), body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("the claim is parked", func() bool { return s.pool.Len() > 0 })
	return conn.(*net.TCPConn)
}

// A worker whose socket is killed never keeps a job: it gets none afterwards,
// and one that was claimed for it just then is handed back, uncounted.
func TestClaimOfAGoneWorker(t *testing.T) {
	s := newSite(t)
	handedBack := 0
	for i := range 40 {
		conn := s.park(30)
		_ = conn.SetLinger(0) // a reset, as of a killed machine's last packet
		if i%2 == 0 {
			_ = conn.Close()
		}
		id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
		_ = conn.Close()
		s.until("the call is over", func() bool { return s.streams.Waiting(s.keyID(s.plain)) == 0 && s.pool.Len() == 0 })
		if i%2 != 0 { // whether this worker got its answer is open; its lease tells
			s.call("POST", "/v1/jobs/"+id+"/cancel", s.plain, "").job(t, 200)
			continue
		}
		var j jobs.Job
		s.until("the job is pending", func() bool {
			var err error
			j, err = s.store.Get(t.Context(), "acme", id)
			return err == nil && j.Status == jobs.Pending
		})
		if j.Attempt != 0 {
			t.Fatalf("attempt %d was counted", j.Attempt)
		}
		for _, e := range s.events("acme", id) {
			if strings.HasPrefix(e, "job.retrying") {
				handedBack++
			}
		}
		if g := s.claim(); g.ID != id || g.Attempt != 1 {
			t.Fatalf("claimed %+v, want %s", g, id)
		}
	}
	t.Logf("%d of 20 were claimed for a worker already gone, and handed back", handedBack)
}

// Whoever's key is revoked while it waits gets no job.
func TestClaimChecksTheKeyAgain(t *testing.T) {
	s := newSite(t)
	got := make(chan answer, 1)
	go func() {
		a, err := s.try("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"wait":30}`)
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	key := s.keyID(s.plain)
	s.until("the claim waits", func() bool { return s.streams.Waiting(key) == 1 })
	if err := s.store.RevokeKey(t.Context(), "acme", key, time.Now()); err != nil {
		t.Fatal(err)
	}
	id := s.call("POST", "/v1/jobs", s.admin, someJob).job(t, 202).ID
	(<-got).problem(t, transport.Unauthenticated)
	if j, err := s.store.Get(t.Context(), "acme", id); err != nil || j.Status != jobs.Pending || j.Attempt != 0 {
		t.Errorf("%+v, %v", j, err)
	}
}

// A server that goes down answers the claims that wait.
func TestClaimDrains(t *testing.T) {
	s := newSite(t)
	conn := s.park(30)
	defer conn.Close()
	s.door.Drain()
	s.service.StopClaims()
	if err := s.pool.Drain(t.Context(), func() time.Duration { return time.Second }); err != nil {
		t.Fatal(err)
	}
	var b [4096]byte
	n, err := conn.Read(b[:])
	if text := string(b[:n]); err != nil || !strings.HasPrefix(text, "HTTP/1.1 200") || !strings.HasSuffix(text, `{"jobs":[]}`+"\n") {
		t.Errorf("%q, %v", text, err)
	}
	s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`).problem(t, transport.Draining)
}
