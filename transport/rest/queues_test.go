package rest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/transport"
)

// TestQueues: a client sees its own queues, who claims from them, and nothing of others.
func TestQueues(t *testing.T) {
	s := newSite(t)
	look := func(credential, query string) string {
		t.Helper()
		a := s.call("GET", "/v1/queues"+query, credential, "")
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		times := regexp.MustCompile(`"20[^"]+Z"`).ReplaceAllString(a.body, `"T"`)
		return strings.TrimSpace(regexp.MustCompile(`Ms":\d+`).ReplaceAllString(times, `Ms":1`))
	}
	const none = `"actions":{"pending":0,"due":0,"running":0,"oldestAgeMs":null}`
	empty := `{"queues":[],` + none + `,"workers":[],"next":null}`
	if got := look(s.watcher, ""); got != empty {
		t.Errorf("before anything: %s", got)
	}
	s.call("POST", "/v1/jobs", s.plain, `{"queue":"q"}`).job(t, 202)
	s.call("POST", "/v1/jobs", s.plain, `{"queue":"q"}`).job(t, 202)
	first := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["r","q"],"worker":"W-1"}`).claimed(t)[0]
	s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["r"]}`)
	held := `{"queues":[{"name":"q","pending":1,"due":1,"running":1,"oldestAgeMs":1,"workers":[{"name":"W-1","lastSeenAt":"T"}]},` +
		`{"name":"r","pending":0,"due":0,"running":0,"oldestAgeMs":null,"workers":[{"name":null,"lastSeenAt":"T"},{"name":"W-1","lastSeenAt":"T"}]}],` + none + `,` +
		`"workers":[{"name":null,"lastSeenAt":"T","queues":["r"],"running":null},{"name":"W-1","lastSeenAt":"T","queues":["q","r"],"running":1}],"next":null}`
	if got := look(s.watcher, ""); got != held {
		t.Errorf("at work:\n%s, want\n%s", got, held)
	}
	if got := look(s.foreign, ""); got != empty {
		t.Errorf("another client sees %s", got)
	}
	if got := look(s.plain, "?limit=1&unknown=1"); !strings.HasPrefix(got, `{"queues":[{"name":"q",`) || !strings.HasSuffix(got, `"next":"q"}`) {
		t.Errorf("a page of one: %s", got)
	}
	if got := look(s.plain, "?after=q"); !strings.HasPrefix(got, `{"queues":[{"name":"r",`) || !strings.HasSuffix(got, `"next":null}`) {
		t.Errorf("the page after it: %s", got)
	}
	s.as(first, "complete", `{"claim":{"queues":["q"],"worker":"W-2"}}`)
	if got := look(s.plain, ""); !strings.Contains(got, `{"name":"W-1","lastSeenAt":"T","queues":["q","r"],"running":0},{"name":"W-2","lastSeenAt":"T","queues":["q"],"running":1}`) {
		t.Errorf("with the next claim: %s", got)
	}
	for _, query := range []string{"?limit=0", "?limit=501", "?after=No"} {
		s.call("GET", "/v1/queues"+query, s.plain, "").problem(t, transport.Invalid)
	}
	for path, body := range map[string]string{
		"/v1/workers/claim": `{"queues":["q"],"worker":""}`, "/v1/jobs/" + first.ID + "/complete": `{"claim":{"queues":["q"],"worker":"a b"}}`,
	} {
		p := s.call("POST", path, s.plain, body, "X-Lease-Token: x").problem(t, transport.Invalid)
		if len(p.Errors) != 1 || !strings.HasSuffix(p.Errors[0].Pointer, "/worker") {
			t.Errorf("%s: %+v", path, p.Errors)
		}
	}
	s.call("GET", "/v1/queues", s.submitter, "").problem(t, transport.Forbidden)
	s.call("GET", "/v1/queues", "", "").problem(t, transport.Unauthenticated)
	_, token, _ := strings.Cut(s.call("POST", "/v1/tokens", s.plain, `{"jobId":"`+first.ID+`"}`).body, `"token":"`)
	token, _, _ = strings.Cut(token, `"`)
	s.call("GET", "/v1/queues", token, "").problem(t, transport.Forbidden)
}
