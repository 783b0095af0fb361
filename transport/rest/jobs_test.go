package rest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

func TestSubmitAndRead(t *testing.T) {
	s := newSite(t)
	a := s.call("POST", "/v1/jobs", s.plain, someJob)
	j := a.job(t, 202)
	if j.ClientID != "acme" || j.Status != jobs.Pending || string(j.Payload) != `{"a":"<b>"}` {
		t.Errorf("%+v", j)
	}
	if a.Header.Get("Location") != "/v1/jobs/"+j.ID || a.Header.Get("Content-Type") != "application/json" ||
		a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Idempotent-Replayed") != "" {
		t.Errorf("%v", a.Header)
	}
	if _, ok := eventlog.ParseCursor(j.Cursor); !ok {
		t.Errorf("cursor %q", j.Cursor)
	}
	got := s.call("GET", a.Header.Get("Location"), s.watcher, "")
	if got.StatusCode != 200 || got.body != a.body {
		t.Errorf("read %s, submitted %s", got.body, a.body)
	}
	if upper := s.call("GET", "/v1/jobs/"+strings.ToUpper(j.ID), s.watcher, ""); upper.StatusCode != 200 {
		t.Errorf("an id in capitals: %d", upper.StatusCode)
	}
	head := s.call("HEAD", "/v1/jobs/"+j.ID, s.watcher, "")
	if head.StatusCode != 200 || head.body != "" || head.ContentLength != int64(len(a.body)) {
		t.Errorf("HEAD: %d, %q, length %d", head.StatusCode, head.body, head.ContentLength)
	}
	acts := s.call("POST", "/v1/jobs", s.plain, `{"actions":[{"type":"wait","ms":1}]}`, "Content-Type: application/json; charset=UTF-8")
	if acts.StatusCode != 202 || !strings.Contains(acts.body, `"queue":null,"actions":[{"type":"wait","ms":1}]`) {
		t.Errorf("%d %s", acts.StatusCode, acts.body)
	}
}

func TestPoisonBodies(t *testing.T) {
	s := newSite(t)
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	big := func(n int) string { return `{"queue":"q","payload":"` + strings.Repeat("x", n-26) + `"}` }
	tests := []struct {
		name, body string
		headers    []string
		want       transport.Code // "": taken
		pointer    string
	}{
		{"empty", "", nil, "malformed", ""},
		{"not JSON", "{", nil, "malformed", ""},
		{"trailing bytes", someJob + "x", nil, "malformed", ""},
		{"invalid UTF-8", "{\"queue\":\"q\",\"payload\":\"\xff\"}", nil, "malformed", ""},
		{"lone surrogate", `{"queue":"q","payload":"\ud800"}`, nil, "malformed", ""},
		{"too deep", `{"queue":"q","payload":` + deep + `}`, nil, "malformed", ""},
		{"member twice", `{"queue":"q","queue":"r"}`, nil, "malformed", ""},
		{"no object", `[]`, nil, "invalid", ""},
		{"unknown member", `{"queue":"q","colour":"red"}`, nil, "invalid", "/colour"},
		{"unknown member of an action", `{"actions":[{"type":"wait","ms":1,"x":1}]}`, nil, "invalid", "/actions/0/x"},
		{"unknown action", `{"actions":[{"type":"dance"}]}`, nil, "invalid", "/actions/0/type"},
		{"neither", `{}`, nil, "invalid", ""},
		{"both", `{"queue":"q","actions":[{"type":"wait","ms":1}]}`, nil, "invalid", "/queue"},
		{"out of range", `{"queue":"q","maxAttempts":26}`, nil, "invalid", "/maxAttempts"},
		{"queue name", `{"queue":"Q!"}`, nil, "invalid", "/queue"},
		{"another type", someJob, []string{"Content-Type: text/plain"}, "unsupported_media_type", ""},
		{"compressed", someJob, []string{"Content-Encoding: gzip"}, "unsupported_media_type", ""},
		{"as large as allowed", big(transport.DefaultMaxBody), nil, "", ""},
		{"a byte larger", big(transport.DefaultMaxBody + 1), nil, "too_large", ""},
		{"unacceptable", someJob, []string{"Accept: text/html"}, "not_acceptable", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := s.count()
			a := s.call("POST", "/v1/jobs", s.plain, tt.body, tt.headers...)
			if tt.want == "" {
				a.job(t, 202)
				return
			}
			p := a.problem(t, tt.want)
			if tt.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer) {
				t.Errorf("errors %v, want one at %s", p.Errors, tt.pointer)
			}
			if s.count() != before {
				t.Error("a refused request made a job")
			}
		})
	}
}

// Another client's job cannot be told from one that does not exist.
func TestOwnership(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	instance := regexp.MustCompile(`"instance":"[A-Z0-9]+"`)
	for _, call := range [][2]string{{"GET", ""}, {"POST", "/cancel"}, {"POST", "/retry"}} {
		var bodies []string
		for _, target := range []string{id, uuid.NewString(), "nonsense", "{" + id + "}", strings.ReplaceAll(id, "-", "")} {
			a := s.call(call[0], "/v1/jobs/"+target+call[1], s.foreign, "")
			a.problem(t, transport.NotFound)
			bodies = append(bodies, instance.ReplaceAllString(a.body, ""))
		}
		for _, b := range bodies {
			if b != bodies[0] {
				t.Errorf("%v: the refusals differ: %s and %s", call, b, bodies[0])
			}
		}
	}
	if a := s.call("GET", "/v1/jobs", s.foreign, ""); a.body != `{"jobs":[],"next":null}`+"\n" {
		t.Errorf("the other client sees %s", a.body)
	}
	if j := s.call("GET", "/v1/jobs/"+id, s.plain, "").job(t, 200); j.Status != jobs.Pending {
		t.Errorf("the job is %s after what a stranger tried", j.Status)
	}
}

func TestScopes(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.submitter, someJob).job(t, 202).ID
	refused := []struct{ key, method, target, accept string }{
		{s.watcher, "POST", "/v1/jobs", "*/*"},
		{s.submitter, "POST", "/v1/jobs", "text/event-stream"}, // the answer is for watchers
		{s.watcher, "POST", "/v1/jobs/batch", "*/*"},
		{s.watcher, "POST", "/v1/jobs/" + id + "/cancel", "*/*"},
		{s.watcher, "POST", "/v1/jobs/" + id + "/retry", "*/*"},
		{s.submitter, "GET", "/v1/jobs/" + id, "*/*"},
		{s.submitter, "GET", "/v1/jobs", "*/*"},
		{s.plain, "GET", "/v1/keys", "*/*"},
		{s.plain, "POST", "/v1/keys", "*/*"},
		{s.plain, "DELETE", "/v1/keys/x", "*/*"},
	}
	for _, r := range refused {
		s.call(r.method, r.target, r.key, "", "Accept: "+r.accept).problem(t, transport.Forbidden)
		s.call(r.method, r.target, "", "", "Accept: "+r.accept).problem(t, transport.Unauthenticated)
	}
	// The scope is checked before what is asked for.
	s.call("GET", "/v1/jobs/nonsense", s.submitter, "").problem(t, transport.Forbidden)
	s.call("POST", "/v1/jobs", s.watcher, "{", "Accept: text/html").problem(t, transport.Forbidden)
	s.call("POST", "/v1/jobs?apiKey="+s.plain, s.watcher, "{").problem(t, transport.AmbiguousCredentials)
}

func TestListPages(t *testing.T) {
	s := newSite(t)
	var ids []string
	for range 5 {
		ids = append([]string{s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID}, ids...)
	}
	s.call("POST", "/v1/jobs/"+ids[0]+"/cancel", s.plain, "").job(t, 200)
	var got []string
	next := ""
	for range 3 {
		a := s.call("GET", "/v1/jobs?limit=2&after="+next, s.watcher, "")
		var page struct {
			Jobs []struct{ ID string }
			Next *string
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			got = append(got, j.ID)
		}
		if page.Next == nil {
			break
		}
		next = *page.Next
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("pages gave %v, want %v", got, ids)
	}
	if a := s.call("GET", "/v1/jobs?status=cancelled", s.watcher, ""); strings.Count(a.body, `"cursor"`) != 1 {
		t.Errorf("cancelled: %s", a.body)
	}
	for _, query := range []string{"status=done", "limit=0", "limit=201", "limit=x", "limit=-1", "after=x",
		"queue=A+b", "q=" + strings.Repeat("x", 257), "q=%ff", "q=%00", "from=yesterday", "to=2026-01-31", "from=2026-01-31T12:00:00Z&to=2026-01-31T12:00:00Z"} {
		s.call("GET", "/v1/jobs?"+query, s.watcher, "").problem(t, transport.Invalid)
	}
}

func TestCancelAndRetry(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	retry, cancel := "/v1/jobs/"+id+"/retry", "/v1/jobs/"+id+"/cancel"
	if p := s.call("POST", retry, s.plain, "").problem(t, transport.Conflict); p.Job == nil || p.Job.ID != id || p.Job.Status != jobs.Pending {
		t.Errorf("a conflict without the job: %+v", p)
	}
	s.call("POST", cancel, s.plain, `{"why":"x"}`).problem(t, transport.Invalid)
	s.call("POST", cancel, s.plain, `{`).problem(t, transport.Malformed)
	for range 2 { // the second finds it cancelled already
		if j := s.call("POST", cancel, s.plain, "{}").job(t, 200); j.Status != jobs.Cancelled {
			t.Errorf("status %s", j.Status)
		}
	}
	a := s.call("POST", retry, s.plain, "", "Idempotency-Key: again-1")
	j := a.job(t, 202)
	if j.ID == id || j.RetryOf == nil || *j.RetryOf != id || a.Header.Get("Location") != "/v1/jobs/"+j.ID {
		t.Errorf("%+v, %v", j, a.Header)
	}
	b := s.call("POST", retry, s.plain, "", "Idempotency-Key: again-1")
	if b.job(t, 202).ID != j.ID || b.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a repeated retry made another job: %s", b.body)
	}
	s.finish(j.ID)
	s.call("POST", "/v1/jobs/"+j.ID+"/cancel", s.plain, "").problem(t, transport.Conflict)
}
