// Package browser_test runs browser jobs on the real server, from submit to end.
package browser_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/e2e/program"
)

// call makes a request with the server's first key, and waits for the job's end.
func call(t *testing.T, s *program.Server, method, path, body string) program.Reply {
	t.Helper()
	return callAs(t, s, s.Key, method, path, body, "Prefer: wait=60")
}

func callAs(t *testing.T, s *program.Server, key, method, path, body string, headers ...string) program.Reply {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	return program.Caller{T: t, Addr: s.Addr(), Key: key}.Call(method, path, r, headers...)
}

type job struct {
	ID, Status, Error, ErrorMessage string
	Attempt                         int
	Result                          struct {
		Actions []map[string]any
		Data    map[string]any
	}
	Artifacts []struct{ Name, URL string }
}

func submit(t *testing.T, s *program.Server, body string) (j job) {
	t.Helper()
	r := call(t, s, "POST", "/v1/jobs", body)
	if err := json.Unmarshal([]byte(r.Text), &j); err != nil || j.ID == "" {
		t.Fatalf("submit: %d %s", r.Status, r.Text)
	}
	return j
}

// TestBrowserJobs: a job with a browser step runs, mixed with others, and shows each step;
// a failure says why; a cancel ends it within a second; and one that waits for the
// browser holds up nobody.
func TestBrowserJobs(t *testing.T) {
	asked := make(chan struct{}, 10)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "<h1>hello</h1>")
	}))
	defer site.Close()
	binary := binary(t)
	s := program.Start(t, binary, "--allow-private-addresses", "--deny-hosts=denied.test", "--browsers=1", "--concurrency=3")

	j := submit(t, s, fmt.Sprintf(`{"actions":[{"type":"navigate","url":%q},{"type":"wait","ms":1},{"type":"navigate","url":%q}]}`, site.URL, site.URL+"/two"))
	if j.Status != "completed" || len(j.Result.Actions) != 3 || j.Result.Actions[2]["type"] != "navigate" || len(asked) < 2 {
		t.Fatalf("job is %+v", j)
	}
	events := call(t, s, "GET", "/v1/jobs/"+j.ID+"/events", "").Text
	for _, want := range []string{"Executing action 1 of 3: navigate", "Executing action 3 of 3: navigate"} {
		if !strings.Contains(events, want) {
			t.Errorf("events without %q: %s", want, events)
		}
	}
	j = submit(t, s, `{"actions":[{"type":"navigate","url":"http://denied.test/"}]}`)
	if j.Status != "failed" || j.Attempt != 1 || j.Error != "BlockedAddress" {
		t.Errorf("a denied host: %+v", j)
	}
	j = submit(t, s, `{"actions":[{"type":"navigate","url":"http://127.0.0.1:9999/"}],"maxAttempts":1}`)
	if j.Status != "failed" || j.Error != "NavigationError" || !strings.HasPrefix(j.ErrorMessage, "net::ERR_CONNECTION_REFUSED at http://127.0.0.1:9999") {
		t.Errorf("a port that nobody listens on: %+v", j)
	}

	for len(asked) > 0 {
		<-asked
	}
	slow := fmt.Sprintf(`{"actions":[{"type":"navigate","url":%q}]}`, site.URL+"/slow")
	first := callAs(t, s, s.Key, "POST", "/v1/jobs", slow)
	<-asked
	second := callAs(t, s, s.Key, "POST", "/v1/jobs", slow)
	if j := submit(t, s, `{"actions":[{"type":"wait","ms":1}]}`); j.Status != "completed" {
		t.Errorf("a job without a browser: %+v", j)
	}
	if r := call(t, s, "GET", "/v1/jobs/"+second.Body.ID, ""); r.Body.Status != "pending" {
		t.Errorf("a job without a free browser: %s", r.Text)
	}
	began := time.Now()
	if r := call(t, s, "POST", "/v1/jobs/"+first.Body.ID+"/cancel", ""); r.Body.Status != "cancelled" {
		t.Errorf("cancel: %s", r.Text)
	}
	<-asked // the second one has its turn
	t.Logf("the next job had its page %v after the cancel", time.Since(began).Round(time.Millisecond))
	call(t, s, "POST", "/v1/jobs/"+second.Body.ID+"/cancel", "")

	about := call(t, s, "GET", "/readyz?verbose", "").Text
	for _, want := range []string{`"status":"ready"`, `"available":true`, `"jail":"bubblewrap"`, `"sandbox":true`, `"maxContexts":1`} {
		if !strings.Contains(about, want) {
			t.Errorf("readyz: %s, without %s", about, want)
		}
	}
	if r := call(t, s, "GET", "/readyz", ""); strings.TrimSpace(r.Text) != `{"status":"ready"}` {
		t.Errorf("readyz: %s", r.Text)
	}

	narrow(t, s, site.URL)
	off := program.Start(t, binary, "--browser=off")
	r := call(t, off, "POST", "/v1/jobs", `{"actions":[{"type":"wait","ms":1},{"type":"navigate","url":"http://a.test/"}]}`)
	if r.Status != 422 || !strings.Contains(r.Text, `"pointer":"/actions/1"`) || !strings.Contains(r.Text, "--browser=off") {
		t.Errorf("without a browser: %d %s", r.Status, r.Text)
	}
}

// narrow: what jobs of a key may reach, their retries may, whoever asks for them, and so may
// the jobs of keys that it has made; for http as for pages.
func narrow(t *testing.T, s *program.Server, site string) {
	t.Helper()
	blocked := func(r program.Reply) string {
		t.Helper()
		var j job
		if err := json.Unmarshal([]byte(r.Text), &j); err != nil || j.Status != "failed" || j.Attempt != 1 || j.Error != "BlockedAddress" {
			t.Errorf("beyond the lists of a key: %s", r.Text)
		}
		return j.ID
	}
	key := s.MakeKey(t, "--client=demo", "--scope=submit,watch,admin", "--allow-hosts=ok.test,*.ok.test")
	http := fmt.Sprintf(`{"actions":[{"type":"http","method":"GET","url":%q}]}`, site)
	blocked(callAs(t, s, key, "POST", "/v1/jobs", fmt.Sprintf(`{"actions":[{"type":"navigate","url":%q}]}`, site), "Prefer: wait=60"))
	id := blocked(callAs(t, s, key, "POST", "/v1/jobs", http, "Prefer: wait=60"))
	again := call(t, s, "POST", "/v1/jobs/"+id+"/retry", "").Body.ID
	call(t, s, "GET", "/v1/jobs/"+again+"/events?wait=60", "")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if r := call(t, s, "GET", "/v1/jobs/"+again, ""); r.Body.Status == "failed" || time.Now().After(deadline) {
			blocked(r)
			break
		}
	}
	if r := callAs(t, s, key, "POST", "/v1/keys", `{"allowHosts":["other.test"]}`); r.Status != 422 || !strings.Contains(r.Text, `"pointer":"/allowHosts"`) {
		t.Errorf("a wider key: %d %s", r.Status, r.Text)
	}
	var made struct {
		Key        string
		AllowHosts []string
	}
	r := callAs(t, s, key, "POST", "/v1/keys", `{"name":"inherits"}`)
	if err := json.Unmarshal([]byte(r.Text), &made); err != nil || len(made.AllowHosts) != 2 {
		t.Errorf("a key made by a narrow one: %s", r.Text)
	}
	blocked(callAs(t, s, made.Key, "POST", "/v1/jobs", http, "Prefer: wait=60"))
}
