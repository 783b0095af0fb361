package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

const (
	maxSubmits = 200_000 // of one case: what the listing afterwards can read back
	listLimit  = 200     // jobs in one page: the server's cap
)

// queueJob is a job that nobody processes, so that only submits are measured.
const queueJob = `{"queue":"bench","payload":{"n":1}}`

// runSubmit measures acknowledged submits over HTTP.
func runSubmit(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "submit", Title: "jobs submitted over HTTP, each acknowledged (202) after its commit"}
	for _, n := range set.producers {
		err := withServer(ctx, set, func(s *server) error {
			r, err := submitCase(ctx, set, s, n)
			out.Rows = append(out.Rows, r)
			return err
		})
		if err != nil {
			return out, fmt.Errorf("%d producers: %w", n, err)
		}
	}
	return out, nil
}

func submitCase(ctx context.Context, set *settings, s *server, producers int) (row, error) {
	r := row{Case: fmt.Sprintf("%d producers", producers)}
	conns, err := dialAll(ctx, s.addr.String(), producers)
	if err != nil {
		return r, err
	}
	defer closeAll(conns)
	req := request("POST", "/v1/jobs", s.addr.String(), s.key, queueJob)
	ids := make([][]string, producers) // of the jobs that were acknowledged
	submit := func(_ context.Context, w int) error {
		body, err := conns[w].do(req, http.StatusAccepted)
		if err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		ids[w] = append(ids[w], string(member(body, `{"id":"`)))
		return nil
	}
	for w := range conns {
		if err := submit(ctx, w); err != nil { // warms the server up
			return r, err
		}
	}
	var l *load
	m, err := set.measure(s.process, r.Case, func() error {
		l, err = crowd{producers, set.span, maxSubmits}.run(ctx, submit)
		return err
	})
	if err != nil {
		return r, err
	}
	r.add("submits", "1/s", l.rate())
	r.times("answer", &l.latency)
	r.cost("server CPU per submit", m.server, float64(l.steps))
	r.generator(m)
	lost, doubled, err := checkJobs(ctx, s, ids)
	r.add("acknowledged", "", float64(l.steps+producers))
	r.zero("lost", lost)
	r.zero("doubled", doubled)
	return r, err
}

// checkJobs lists all jobs of the server. lost is how many acknowledged ones are
// not there; doubled how many ids were acknowledged or listed more than once,
// or listed without having been acknowledged.
func checkJobs(ctx context.Context, s *server, acknowledged [][]string) (lost, doubled uint64, err error) {
	missing := make(map[string]bool) // by acknowledged id; false once it was listed
	for _, id := range slices.Concat(acknowledged...) {
		if missing[id] {
			doubled++
		}
		missing[id] = true
	}
	err = listJobs(ctx, s, len(missing), func(id string) {
		if !missing[id] {
			doubled++
		}
		missing[id] = false
	})
	for _, m := range missing {
		if m {
			lost++
		}
	}
	return lost, doubled, err
}

// listJobs reads the whole list, in which about want jobs are expected.
func listJobs(ctx context.Context, s *server, want int, see func(id string)) error {
	client := http.Client{Timeout: requestTime}
	defer client.CloseIdleConnections()
	after := ""
	for range want/listLimit + 10 {
		url := fmt.Sprintf("http://%s/v1/jobs?limit=%d&after=%s", s.addr, listLimit, after)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // our own server, on loopback
		if err != nil {
			return fmt.Errorf("list jobs: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		res, err := client.Do(req) //nolint:gosec // our own server, on loopback
		if err != nil {
			return fmt.Errorf("list jobs: %w", err)
		}
		var page struct {
			Jobs []struct {
				ID string `json:"id"`
			} `json:"jobs"`
			Next *string `json:"next"`
		}
		err = json.NewDecoder(res.Body).Decode(&page)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("list jobs: %s: %w", res.Status, err)
		}
		for _, j := range page.Jobs {
			see(j.ID)
		}
		if page.Next == nil {
			return nil
		}
		after = *page.Next
	}
	return errors.New("list jobs: there are many more than were submitted")
}
