package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// said is one of the answers to many ends.
type said struct {
	Status    int
	Job       *given
	Code      transport.Code
	JobStatus jobs.Status
	Instance  string
	Errors    []jobs.FieldError
}

func (a answer) said(t *testing.T) []said {
	t.Helper()
	var got struct{ Jobs []said }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return got.Jobs
}

// all makes the call that ends many attempts, each said by what follows its job and lease.
func (s *site) all(ends ...string) answer {
	s.t.Helper()
	return s.call("POST", "/v1/workers/complete", s.plain, `{"jobs":[`+strings.Join(ends, ",")+`]}`)
}

func (g given) says(more string) string {
	return fmt.Sprintf(`{"jobId":%q,"leaseToken":%q%s}`, g.ID, g.Lease.Token, more)
}

// Many attempts end with one call, in one commit. Each is answered for itself, in order.
func TestCompleteAll(t *testing.T) {
	s := newSite(t)
	s.fill(7)
	held := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"max":7}`).claimed(t)
	s.call("POST", "/v1/jobs/"+held[4].ID+"/cancel", s.plain, "").job(t, 200)
	upper, unknown, foreign := held[0], held[0], held[5]
	upper.ID, unknown.ID, foreign.Lease.Token = strings.ToUpper(upper.ID), "nonsense", held[6].Lease.Token
	ends := []string{
		upper.says(`,"result":{"n":1}`), held[1].says(`,"errorMessage":"later"`), unknown.says(""), held[2].says(`,"error":"X","errorMessage":"no","retry":false`),
		held[3].says(`,"result":[1]`), held[4].says(""), foreign.says(""), held[5].says(`,"result":null`), held[5].says(""),
	}
	a := s.all(ends...)
	got := a.said(t)
	if len(got) != len(ends) {
		t.Fatalf("%s", a.body)
	}
	for i, want := range []struct {
		status int
		job    jobs.Status
		code   transport.Code
	}{
		{200, jobs.Completed, ""}, {200, jobs.Pending, ""}, {404, "", transport.NotFound}, {200, jobs.Failed, ""},
		{422, "", transport.Invalid}, {409, "", transport.LeaseLost}, {409, "", transport.LeaseLost}, {200, jobs.Completed, ""}, {200, jobs.Completed, ""},
	} {
		one := got[i]
		ok := one.Status == want.status && one.Code == want.code && (one.Job != nil) == (want.job != "")
		if ok && one.Job != nil {
			ok = one.Job.Status == want.job
		}
		if !ok || (want.code != "") != (one.Instance != "") {
			t.Errorf("end %d: %+v", i, one)
		}
	}
	if e := got[4].Errors; len(e) != 1 || e[0].Pointer != "/result" || got[5].JobStatus != jobs.Cancelled || got[6].JobStatus != jobs.Completed { // as it stands when all is done
		t.Errorf("%s", a.body)
	}
	if got[0].Job.ID != held[0].ID || got[7].Job.Cursor != got[8].Job.Cursor || !strings.Contains(a.body, `"result":{"n":1}`) {
		t.Errorf("%s", a.body)
	}
	if again := s.all(ends...).said(t); again[0].Job == nil || again[0].Job.Cursor != got[0].Job.Cursor || again[1].Job == nil || again[5].Code != transport.LeaseLost {
		t.Errorf("the same call again: %+v", again)
	}
	for i, n := range []int{3, 3, 3, 2, 3, 3, 2} {
		if story := s.events("acme", held[i].ID); len(story) != n {
			t.Errorf("job %d: %q", i, story)
		}
	}
}

// What is wrong with the body ends nothing.
func TestCompleteAllRefused(t *testing.T) {
	s := newSite(t)
	s.fill(1)
	g := s.claim()
	fine := g.says("")
	for body, pointer := range map[string]string{
		`{}`: "/jobs", `{"jobs":[]}`: "/jobs", `[` + fine + `]`: "",
		`{"jobs":[` + strings.Repeat(fine+",", 100) + fine + `]}`:      "/jobs",
		`{"jobs":[` + fine + `,{"leaseToken":"x"}]}`:                   "/jobs/1/jobId",
		`{"jobs":[` + fine + `,{"jobId":"x"}]}`:                        "/jobs/1/leaseToken",
		`{"jobs":[` + fine + `,{"jobId":1,"leaseToken":"x"}]}`:         "/jobs/1/jobId",
		`{"jobs":[` + fine + `,` + g.says(`,"retry":true`) + `]}`:      "/jobs/1/errorMessage",
		`{"jobs":[` + fine + `,` + g.says(`,"claim":{}`) + `]}`:        "/jobs/1/claim",
		`{"jobs":[` + g.says(`,"result":{},"errorMessage":"x"`) + `]}`: "/jobs/0/result",
	} {
		p := s.call("POST", "/v1/workers/complete", s.plain, body).problem(t, transport.Invalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%.90s: %v, want %s", body, p.Errors, pointer)
		}
	}
	s.call("POST", "/v1/workers/complete", s.plain, "").problem(t, transport.Malformed)
	s.call("POST", "/v1/workers/complete", s.plain, `{"jobs":[`+g.says(`,"result":{"x":"`+strings.Repeat("x", 256<<10)+`"}`)+`]}`).problem(t, transport.TooLarge)
	s.call("POST", "/v1/workers/complete", s.watcher, `{"jobs":[`+fine+`]}`).problem(t, transport.Forbidden)
	s.call("POST", "/v1/workers/complete", "", `{"jobs":[`+fine+`]}`).problem(t, transport.Unauthenticated)
	if got := s.all(fine).said(t); got[0].Status != 200 {
		t.Errorf("%+v", got)
	}
}

// stuck is a job service whose lists come when they are let go.
type stuck struct {
	*jobs.Service
	leave chan struct{}
}

func (l stuck) List(ctx context.Context, client string, q jobs.ListQuery) (jobs.JobPage, error) {
	<-l.leave
	return l.Service.List(ctx, client, q)
}

// The answer to many ends is bounded whatever the jobs have to say. While as many large
// answers are unread as may be, it waits for none of them and is a small one.
func TestCompleteAllIsBounded(t *testing.T) {
	lists := stuck{leave: make(chan struct{})}
	s := newSite(t, func(d *Deps, _ *auth.Limits) {
		lists.Service = d.Jobs.(*jobs.Service)
		d.Jobs = lists
	})
	s.fill(jobs.MaxEnds)
	held := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"max":100}`).claimed(t)
	var ends []string
	var steps []jobs.Step
	for _, g := range held {
		ends = append(ends, g.says(`,"errorMessage":"x"`))
		steps = append(steps, jobs.Step{Lease: jobs.Lease{Client: "acme", JobID: g.ID, Token: g.Lease.Token}, Outcome: jobs.AttemptFailed,
			Failure: jobs.Failure{Class: "X", Message: strings.Repeat("\x01", jobs.MaxErrorMessageBytes)}})
	}
	if _, _, err := s.store.Settle(t.Context(), steps, nil); err != nil {
		t.Fatal(err)
	}
	told := func() (whole, bytes int) {
		t.Helper()
		a := s.all(ends...)
		for i, one := range a.said(t) {
			if one.Job == nil || one.Job.ID != held[i].ID || one.Job.Status != jobs.Failed || one.Job.Cursor == "" {
				t.Fatalf("end %d: %+v", i, one)
			}
		}
		return strings.Count(a.body, `"errorMessage":`), len(a.body)
	}
	if whole, n := told(); whole == 0 || n > jobs.MaxPageBytes {
		t.Fatalf("%d bytes tell all of %d jobs", n, whole)
	}
	var listing sync.WaitGroup
	for range 8 {
		listing.Go(func() {
			if a, err := s.try("GET", "/v1/jobs?limit=1", s.plain, ""); err != nil || a.StatusCode != 200 {
				t.Errorf("list: %d, %v", a.StatusCode, err)
			}
		})
	}
	s.until("the answer is a small one", func() bool {
		_, n := told()
		return n <= transport.LargeAnswer
	})
	close(lists.leave)
	listing.Wait()
	if whole, n := told(); whole == 0 || n > jobs.MaxPageBytes {
		t.Errorf("once there is room, %d bytes tell all of %d jobs", n, whole)
	}
}

// The answer to many ends is bounded, however large the jobs are.
func TestCompleteAllLarge(t *testing.T) {
	s := newSite(t)
	body := `{"queue":"q","payload":"` + strings.Repeat("x", 200<<10) + `","metadata":{"m":"` + strings.Repeat("m", 9<<10) + `"}}`
	var ends []string
	for range 20 {
		s.call("POST", "/v1/jobs", s.plain, body).job(t, 202)
		ends = append(ends, s.claim().says(""))
	}
	a := s.all(ends...)
	if n := strings.Count(a.body, `"omitted":["payload"]`); n != len(ends) || len(a.body) > jobs.MaxPageBytes || !strings.Contains(a.body, "mmmm") {
		t.Errorf("%d of %d jobs lack their payload, %d bytes", n, len(ends), len(a.body))
	}
}
