package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// leased is a job that a worker has.
type leased struct {
	ID    string
	Lease struct{ Token string }
}

// worker is a remote worker that does nothing with its jobs but end them, over one
// connection.
type worker struct {
	site *site
	conn *conn
}

// work runs a worker until ctx ends. It has at most n jobs at a time: one, of which the
// end asks for the next; or several, which end together before the worker asks for others.
func (s *site) work(ctx context.Context, n int) error {
	c, err := dial(ctx, s.addr.String())
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	w := &worker{s, c}
	var jobs []leased
	for err == nil && ctx.Err() == nil {
		switch {
		case len(jobs) == 0:
			jobs, err = w.claim(n)
		case n == 1:
			jobs, err = w.endAndClaim(jobs[0])
		default:
			err = w.end(jobs)
			jobs = nil
		}
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}

// claim waits for jobs; there may be none.
func (w *worker) claim(n int) ([]leased, error) {
	return w.ask("/v1/workers/claim", fmt.Sprintf(`{"queues":["bench"],"max":%d,"wait":10}`, n))
}

// endAndClaim ends a job and claims the next one, if there is one, with one request.
func (w *worker) endAndClaim(j leased) ([]leased, error) {
	return w.ask("/v1/jobs/"+j.ID+"/complete", `{"claim":{"queues":["bench"]}}`, "X-Lease-Token: "+j.Lease.Token)
}

// ask returns the claimed jobs that an answer has.
func (w *worker) ask(path, body string, headers ...string) ([]leased, error) {
	answer, err := w.post(path, body, headers...)
	if err != nil {
		return nil, err
	}
	var got struct{ Jobs []leased }
	if err := json.Unmarshal(answer, &got); err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	return got.Jobs, nil
}

// end ends jobs together. One that is refused is an error.
func (w *worker) end(jobs []leased) error {
	ends := make([]string, len(jobs))
	for i, j := range jobs {
		ends[i] = `{"jobId":"` + j.ID + `","leaseToken":"` + j.Lease.Token + `"}`
	}
	answer, err := w.post("/v1/workers/complete", `{"jobs":[`+strings.Join(ends, ",")+`]}`)
	if err != nil {
		return err
	}
	if n := strings.Count(string(answer), `{"status":200,"job":`); n != len(jobs) {
		return fmt.Errorf("%d of %d jobs ended: %.300s", n, len(jobs), answer)
	}
	return nil
}

func (w *worker) post(path, body string, headers ...string) ([]byte, error) {
	answer, err := w.conn.do(request("POST", path, w.site.addr.String(), w.site.key, body, headers...), http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", path, err)
	}
	return answer, nil
}
