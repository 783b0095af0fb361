package rest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

const ndjson = "Content-Type: application/x-ndjson"

// batch returns the ids that a batch was answered with.
func (a answer) batch(t *testing.T) (ids []string) {
	t.Helper()
	var made struct{ Jobs []struct{ ID string } }
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 202 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for _, j := range made.Jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

// TestBatch: a batch becomes its jobs in order, and the answer names each.
func TestBatch(t *testing.T) {
	s := newSite(t)
	const n = 3
	var bodies, ids []string
	for i := range n {
		bodies = append(bodies, fmt.Sprintf(`{"queue":"q","payload":%d}`, i))
	}
	for _, a := range []answer{
		s.call("POST", "/v1/jobs/batch", s.plain, `{"jobs":[`+strings.Join(bodies, ",")+`]}`, "Prefer: wait=60"),
		s.call("POST", "/v1/jobs/batch", s.submitter, strings.Join(bodies, "\n")+"\n", ndjson, "Accept: text/event-stream;q=0.9, */*;q=0.1"),
	} {
		made := a.batch(t)
		want := fmt.Sprintf(`{"jobs":[{"id":"%s"},{"id":"%s"},{"id":"%s"}]}`+"\n", made[0], made[1], made[2])
		if a.body != want || len(made) != n || a.Header.Get("Preference-Applied")+a.Header.Get("Location")+a.Header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%v %s", a.Header, a.body)
		}
		ids = append(ids, made...)
	}
	page, err := s.store.List(t.Context(), "acme", jobs.ListQuery{Limit: 10})
	if err != nil || len(page.Jobs) != 2*n {
		t.Fatalf("%d jobs, %v", len(page.Jobs), err)
	}
	slices.Reverse(page.Jobs)
	for i, j := range page.Jobs {
		if j.ID != ids[i] || string(j.Payload) != fmt.Sprint(i%n) {
			t.Errorf("job %d is %s with %s, want %s", i, j.ID, j.Payload, ids[i])
		}
	}
	most := s.call("POST", "/v1/jobs/batch", s.plain, strings.Repeat(`{"queue":"q"}`+"\n", jobs.MaxBatch), ndjson)
	if made := most.batch(t); len(made) != jobs.MaxBatch || len(most.body) > transport.LargeAnswer {
		t.Errorf("%d jobs in %d bytes", len(made), len(most.body))
	}
}

// TestBatchIsLarge: a batch may be larger than the body of a submit, and no job in it.
func TestBatchIsLarge(t *testing.T) {
	s := newSite(t)
	fits := `{"queue":"q","payload":"` + strings.Repeat("x", transport.DefaultMaxBody-26) + `"}`
	fill := strings.Repeat(fits+"\n", transport.DefaultMaxBatchBody/(len(fits)+1))
	if made := s.call("POST", "/v1/jobs/batch", s.plain, fill, ndjson).batch(t); len(made) != 31 {
		t.Errorf("%d jobs", len(made))
	}
	fill += strings.Repeat(" ", transport.DefaultMaxBatchBody-len(fill)+1)
	s.call("POST", "/v1/jobs/batch", s.plain, fill, ndjson).problem(t, transport.TooLarge)
	p := s.call("POST", "/v1/jobs/batch", s.plain, someJob+"\n"+strings.Replace(fits, "x", "xx", 1), ndjson).problem(t, transport.Invalid)
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/jobs/1" {
		t.Errorf("%v", p.Errors)
	}
	if u, err := s.store.Usage(t.Context(), "acme"); err != nil || u.Jobs != 31 {
		t.Errorf("%d jobs, %v", u.Jobs, err)
	}
}

func TestBatchIdempotency(t *testing.T) {
	s := newSite(t)
	const key, batch = "Idempotency-Key: order-17", `{"jobs":[` + someJob + `,` + someJob + `]}`
	first := s.call("POST", "/v1/jobs/batch", s.plain, batch, key).batch(t)
	again := s.call("POST", "/v1/jobs/batch", s.plain, batch, key)
	if !slices.Equal(again.batch(t), first) || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%v %s", again.Header, again.body)
	}
	alone := s.call("POST", "/v1/jobs", s.plain, someJob, "Idempotency-Key: alone").job(t, 202)
	s.call("POST", "/v1/jobs/batch", s.plain, batch, "Idempotency-Key: alone").problem(t, transport.IdempotencyMismatch)
	s.call("POST", "/v1/jobs/batch", s.plain, batch+" ", key).problem(t, transport.IdempotencyMismatch)
	s.call("POST", "/v1/jobs/batch", s.plain, someJob, ndjson, key).problem(t, transport.IdempotencyMismatch)
	s.call("POST", "/v1/jobs", s.plain, someJob, key).problem(t, transport.IdempotencyMismatch)
	s.call("POST", "/v1/jobs/"+alone.ID+"/cancel", s.plain, "").job(t, 200)
	s.call("POST", "/v1/jobs/"+alone.ID+"/retry", s.plain, "", key).problem(t, transport.IdempotencyMismatch)
	if other := s.call("POST", "/v1/jobs/batch", s.foreign, batch, key).batch(t); slices.Equal(other, first) {
		t.Error("the key of one client found another client's batch")
	}
	s.call("POST", "/v1/jobs/batch", s.plain, batch, "Idempotency-Key: a b").problem(t, transport.Invalid)
	s.finish(first[0])
	if again := s.call("POST", "/v1/jobs/batch", s.plain, batch, key).batch(t); !slices.Equal(again, first) {
		t.Errorf("after the first job has ended: %v, want %v", again, first)
	}
	if n := s.count(); n != 3 {
		t.Errorf("%d jobs, want 3", n)
	}
}

// TestBatchRefused: what is wrong with one job refuses all, and is told where it is.
func TestBatchRefused(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		name, body string
		header     string
		want       transport.Code
		detail     string // a part of it
	}{
		{"empty", "", "X: y", "malformed", "at byte 0"},
		{"not JSON", `{"jobs":[`, "X: y", "malformed", "at byte 9"},
		{"a line that is not JSON", someJob + "\n\n{", ndjson, "malformed", "at byte 1 of line 3"},
		{"JSON as lines", "{\n\"jobs\":[" + someJob + "]}", ndjson, "malformed", "of line 1"},
		{"lines as JSON", someJob + "\n" + someJob, "X: y", "malformed", "text after the JSON value"},
		{"a submit", someJob, "X: y", "invalid", "/jobs: is required"},
		{"no jobs", `{"jobs":[]}`, "X: y", "invalid", "/jobs: must have 1 to 1000 jobs"},
		{"a batch in a line", `{"jobs":[` + someJob + `]}`, ndjson, "invalid", "/jobs/0/jobs: unknown member"},
		{"two bad jobs", `{"jobs":[{},` + someJob + `,{"actions":[{"type":"wait","ms":-1}],"x":1}]}`, "X: y", "invalid",
			"/jobs/0: a job needs actions or a queue; /jobs/2/x: unknown member; /jobs/2/actions/0/ms: "},
		{"a bad line", someJob + "\n{\"queue\":\"Q\"}", ndjson, "invalid", "/jobs/1/queue: "},
		{"too many", strings.Repeat(`{"queue":"q"}`+"\n", jobs.MaxBatch+1), ndjson, "invalid", "/jobs: must have 1 to 1000 jobs"},
		{"another type", someJob, "Content-Type: text/plain", "unsupported_media_type", "application/json or application/x-ndjson"},
		{"another charset", someJob, ndjson + "; charset=latin1", "unsupported_media_type", ""},
		{"compressed", someJob, "Content-Encoding: gzip", "unsupported_media_type", ""},
		{"a stream", `{"jobs":[` + someJob + `]}`, "Accept: text/event-stream", "not_acceptable", "application/json"},
		{"a stream of lines", `{"jobs":[` + someJob + `]}`, "Accept: application/x-ndjson", "not_acceptable", ""},
		{"no JSON", `{"jobs":[` + someJob + `]}`, "Accept: */*, application/json;q=0", "not_acceptable", ""},
	} {
		p := s.call("POST", "/v1/jobs/batch", s.plain, tt.body, tt.header).problem(t, tt.want)
		if !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s: %s", tt.name, p.Detail)
		}
	}
	if n := s.count(); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
	if a := s.call("GET", "/v1/jobs/batch", s.plain, ""); a.StatusCode != 404 {
		t.Errorf("GET: %d", a.StatusCode)
	}
}
