package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/transport"
)

// part is the answer to one of many orders.
type part struct {
	Status int
	Code   transport.Code
	Job    struct {
		ID, Status, Cursor string
		RetryOf            *string
	}
	JobStatus string
	Instance  string
}

// TestOrders: many jobs are cancelled or retried by one request, each is answered for
// itself, and no job is retried twice by a request that is repeated.
func TestOrders(t *testing.T) {
	s := newSite(t)
	order := func(what, key, body string, head ...string) (parts []part) {
		t.Helper()
		a := s.call("POST", "/v1/jobs/"+what, key, body, head...)
		var out struct{ Jobs []part }
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %d %s", what, a.StatusCode, a.body)
		}
		return out.Jobs
	}
	ids := make([]string, 40)
	for i := range ids {
		ids[i] = s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	}
	theirs := s.call("POST", "/v1/jobs", s.foreign, someJob).job(t, 202).ID
	body := fmt.Sprintf(`{"ids":["%s","%s","none",%q]}`, strings.Join(ids[1:], `","`), theirs, strings.ToUpper(ids[0]))

	for _, p := range order("retry", s.plain, body)[:39] {
		if p.Status != 409 || p.Code != transport.Conflict || p.JobStatus != "pending" || p.Job.ID != "" || p.Instance == "" {
			t.Fatalf("a retry of a pending job: %+v", p)
		}
	}
	for range 2 { // the second time they are cancelled already
		parts := order("cancel", s.plain, body)
		for i, p := range parts {
			switch id := append(ids[1:], "", "", ids[0])[i]; {
			case id == "" && (p.Status != 404 || p.Code != transport.NotFound):
				t.Errorf("no job of ours: %+v", p)
			case id != "" && (p.Status != 200 || p.Job.ID != id || p.Job.Status != "cancelled" || p.Job.Cursor == ""):
				t.Errorf("%s: %+v", id, p)
			}
		}
		if len(parts) != 42 {
			t.Errorf("%d answers", len(parts))
		}
	}
	if j := s.call("GET", "/v1/jobs/"+theirs, s.foreign, "").job(t, 200); j.Status != "pending" {
		t.Errorf("another client's job is %s", j.Status)
	}
	first := order("retry", s.plain, body, "Idempotency-Key: k")
	again := order("retry", s.plain, body, "Idempotency-Key: k")
	for i, p := range first {
		if i == 39 || i == 40 {
			continue
		}
		if of := append(ids[1:], "", "", ids[0])[i]; p.Status != 202 || p.Job.RetryOf == nil || *p.Job.RetryOf != of || p.Job.ID != again[i].Job.ID {
			t.Errorf("retry of %s: %+v, again %+v", of, p, again[i])
		}
	}
	if p := order("retry", s.plain, `{"ids":["`+ids[3]+`"]}`, "Idempotency-Key: k")[0]; p.Status != 422 || p.Code != transport.IdempotencyMismatch {
		t.Errorf("the key with another list: %+v", p)
	}

	many := strings.Repeat(`"x",`, 200)
	for body, pointer := range map[string]string{
		`{}`: "/ids", `{"ids":[]}`: "/ids", `{"ids":[` + many + `"y"]}`: "/ids", `{"ids":[7]}`: "/ids", `{"ids":"x"}`: "/ids",
		`{"ids":["x","` + ids[0] + `","` + strings.ToUpper(ids[0]) + `"]}`: "/ids/2", `{"ids":["x"],"all":true}`: "/all",
	} {
		for _, what := range []string{"cancel", "retry"} {
			a := s.call("POST", "/v1/jobs/"+what, s.plain, body)
			if a.problem(t, transport.Invalid); !strings.Contains(a.body, `"pointer":"`+pointer) {
				t.Errorf("%s: %s, want %s", body, a.body, pointer)
			}
		}
	}
	s.call("POST", "/v1/jobs/cancel", s.watcher, body).problem(t, transport.Forbidden)
	s.call("POST", "/v1/jobs/retry", s.watcher, body).problem(t, transport.Forbidden)
}
