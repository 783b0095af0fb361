package server_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// figures is what GET /v1/stats answers.
type figures struct {
	Jobs        map[string]int
	Minutes     []struct{ Submitted, Started, Completed int }
	TimeToStart struct {
		Count int
		P50Ms *int64
	}
	Server *struct {
		Readers     map[string]int
		CommitBatch struct {
			Commits, Events int
			Mean            float64
		}
	}
}

// TestStats: the figures are those of the own client, those of the process are for
// administrators, and a stream of them is a live stream as others are.
func TestStats(t *testing.T) {
	s := servertest.Start(t, transporttest.Options{MaxConnections: 1})
	_, admin := s.Key("acme", auth.KeyOptions{}, auth.Watch, auth.Admin)
	id, watcher := s.Key("acme", auth.KeyOptions{}, auth.Watch)
	_, foreign := s.Key("other", auth.KeyOptions{}, auth.Watch)
	_, worker := s.Key("acme", auth.KeyOptions{}, auth.Work)
	get := func(key, accept string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/v1/stats", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Accept", accept)
		a, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Body.Close() })
		return a
	}
	see := func(key string) (f figures) {
		t.Helper()
		a := get(key, "*/*")
		if err := json.NewDecoder(a.Body).Decode(&f); err != nil || a.StatusCode != 200 {
			t.Fatal(a.Status, err)
		}
		return f
	}
	if f := see(admin); f.Jobs["pending"] != 0 || len(f.Minutes) != 0 || f.TimeToStart.P50Ms != nil {
		t.Errorf("before anything: %+v", f)
	}
	for range 2 {
		if _, _, err := s.Jobs().Submit(t.Context(), "acme", jobs.Spec{Queue: "q", MaxAttempts: 1, Timeout: time.Minute}, jobs.Idempotency{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Jobs().Claim(t.Context(), "acme", jobs.ClaimRequest{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Jobs().End(t.Context(), jobs.End{Lease: got[0].Lease}, nil); err != nil {
		t.Fatal(err)
	}
	f := see(admin)
	n := f.Minutes[0]
	for _, m := range f.Minutes[1:] { // the minute may have ended meanwhile
		n.Submitted, n.Started, n.Completed = n.Submitted+m.Submitted, n.Started+m.Started, n.Completed+m.Completed
	}
	if f.Jobs["pending"] != 1 || f.Jobs["completed"] != 1 || n.Submitted != 2 || n.Started != 1 || n.Completed != 1 || f.TimeToStart.Count != 1 || f.TimeToStart.P50Ms == nil {
		t.Errorf("after two jobs: %+v", f)
	}
	if f.Server == nil || f.Server.CommitBatch.Events != 4 || f.Server.CommitBatch.Mean < 1 {
		t.Errorf("figures of the process are %+v", f.Server)
	}
	if f := see(watcher); f.Server != nil || f.Jobs["pending"] != 1 {
		t.Errorf("without the scope admin: %+v", f)
	}
	if f := see(foreign); f.Server != nil || f.Jobs["pending"] != 0 || len(f.Minutes) != 0 {
		t.Errorf("another client: %+v", f)
	}
	for accept, want := range map[string]int{"*/*": 403, "text/html": 403} {
		if a := get(worker, accept); a.StatusCode != want {
			t.Errorf("without the scope watch: %s", a.Status)
		}
	}
	if a := get(watcher, "text/html"); a.StatusCode != 406 {
		t.Errorf("no format: %s", a.Status)
	}

	lines := bufio.NewReader(get(watcher, "application/x-ndjson").Body)
	for i := range 2 {
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"event":"stats","data":{"at":"20`) || !strings.HasSuffix(line, `"server":null}}`+"\n") {
			t.Fatalf("line %d is %s, %v", i, line, err)
		}
	}
	if a := get(watcher, "text/event-stream"); a.StatusCode != 429 {
		t.Errorf("one stream more than the key may have: %s", a.Status)
	}
	s.Revoke(id)
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), `{"event":"problem","data":{`) || !strings.Contains(string(rest), `"code":"unauthenticated"`) {
		t.Errorf("the key was revoked: %s, %v", rest, err)
	}

	events := get(admin, "text/event-stream")
	blocks := bufio.NewReader(events.Body)
	for i, want := range []string{"retry: 2000\n", "event: stats\n", "id: ", "data: {", "\n"} {
		if line, err := blocks.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) || want == "data: {" && !strings.Contains(line, `"readers":{`) {
			t.Fatalf("line %d is %q, %v", i, line, err)
		}
	}
	if f := see(admin); f.Server.Readers["sse"] != 1 {
		t.Errorf("the stream is no reader: %+v", f.Server)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	text, err := io.ReadAll(blocks)
	if err != nil || !strings.Contains(string(text), "event: reconnect\ndata: {\"retryMs\":") {
		t.Errorf("the server drains: %s, %v", text, err)
	}
}
