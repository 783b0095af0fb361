package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// fat is what a large job is made of; its body is as large as the server takes.
const fat = 250 << 10

func fatJob() string { return fmt.Sprintf(`{"queue":"q","payload":"%s"}`, strings.Repeat("x", fat)) }

// TestListsAreBounded: a page of large jobs ends at 1 MiB, whole, and says where the
// next begins.
func TestListsAreBounded(t *testing.T) {
	s := newSite(t)
	const n = 10
	var want, got []string
	for range n {
		want = append([]string{s.call("POST", "/v1/jobs", s.plain, fatJob()).job(t, 202).ID}, want...)
	}
	for after := ""; ; {
		a := s.call("GET", "/v1/jobs?limit=200&after="+after, s.plain, "")
		var page struct {
			Jobs []struct {
				ID      string
				Payload string
				Omitted []string
			}
			Next *string
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.StatusCode != 200 {
			t.Fatalf("%d %v", a.StatusCode, err)
		}
		if len(a.body) > jobs.MaxPageBytes || len(page.Jobs) == 0 {
			t.Errorf("a page has %d jobs in %d bytes", len(page.Jobs), len(a.body))
		}
		for _, j := range page.Jobs {
			got = append(got, j.ID)
			if len(j.Payload) != fat || j.Omitted != nil {
				t.Errorf("a payload of %d bytes, without %v", len(j.Payload), j.Omitted)
			}
		}
		if page.Next == nil {
			break
		}
		after = *page.Next
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
}

// TestClaimsAreBounded: an answer to a claim ends at 1 MiB, and what it leaves is there
// for the next.
func TestClaimsAreBounded(t *testing.T) {
	s := newSite(t)
	const n = 10
	for range n {
		s.call("POST", "/v1/jobs", s.plain, fatJob()).job(t, 202)
	}
	for left := n; left > 0; {
		a := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"max":100}`)
		got := a.claimed(t)
		if len(got) == 0 || len(a.body) > jobs.MaxPageBytes {
			t.Fatalf("an answer of %d bytes has %d jobs", len(a.body), len(got))
		}
		for _, g := range got {
			if g.Attempt != 1 {
				t.Errorf("attempt %d", g.Attempt)
			}
		}
		left -= len(got)
	}
}

// TestLargeJobsAreWhole: whoever asks for a job, or orders something of it, gets all of
// it; a refusal leaves out what is large and names it.
func TestLargeJobsAreWhole(t *testing.T) {
	s := newSite(t)
	whole := func(what string, a answer, status int) string {
		t.Helper()
		j := a.job(t, status)
		if len(j.Payload) != fat+len(`""`) || strings.Contains(a.body, `"omitted"`) {
			t.Errorf("%s: a payload of %d bytes", what, len(j.Payload))
		}
		return j.ID
	}
	id := whole("submit", s.call("POST", "/v1/jobs", s.plain, fatJob(), "Idempotency-Key: k"), 202)
	whole("the same again", s.call("POST", "/v1/jobs", s.plain, fatJob(), "Idempotency-Key: k"), 202)
	whole("get", s.call("GET", "/v1/jobs/"+id, s.plain, ""), 200)
	whole("cancel", s.call("POST", "/v1/jobs/"+id+"/cancel", s.plain, ""), 200)
	again := whole("retry", s.call("POST", "/v1/jobs/"+id+"/retry", s.plain, ""), 202)
	g := s.claim()
	if g.ID != again {
		t.Fatalf("claimed %s", g.ID)
	}
	whole("complete", s.as(g, "complete", `{"result":{}}`), 200)
	a := s.call("POST", "/v1/jobs/"+again+"/cancel", s.plain, "")
	if p := a.problem(t, transport.Conflict); p.Job == nil || p.Job.ID != again || len(a.body) > jobs.MaxBriefBytes {
		t.Errorf("a conflict has %d bytes: %.200s", len(a.body), a.body)
	}
	if !strings.Contains(a.body, `"omitted":["payload"]`) || strings.Contains(a.body, `"payload":`) {
		t.Errorf("a conflict says %.1000s", a.body)
	}
}
