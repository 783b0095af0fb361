package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	maxSubmits  = 200_000 // of one case: what the listing afterwards can read back
	listLimit   = 200     // jobs in one page: the server's cap
	requestTime = 30 * time.Second
)

// queueJob is a job that nobody processes, so that only submits are measured.
const queueJob = `{"queue":"bench","payload":{"n":1}}`

// runSubmit measures acknowledged submits over HTTP.
func runSubmit(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "submit", Title: "jobs submitted over HTTP, each acknowledged (202) after its commit"}
	for _, n := range set.producers {
		err := withServer(ctx, set, func(s *server) error {
			r, err := submitCase(ctx, s, n, set.span)
			out.Rows = append(out.Rows, r)
			return err
		})
		if err != nil {
			return out, fmt.Errorf("%d producers: %w", n, err)
		}
	}
	return out, nil
}

func submitCase(ctx context.Context, s *server, producers int, span time.Duration) (row, error) {
	r := row{Case: fmt.Sprintf("%d producers", producers)}
	var all []*producer
	defer func() {
		for _, p := range all {
			_ = p.conn.Close()
		}
	}()
	req := request("POST", "/v1/jobs", s.addr.String(), s.key, queueJob)
	for range producers {
		p, err := newProducer(s.addr.String(), req)
		if err != nil {
			return r, err
		}
		all = append(all, p)
		if err := p.submit(); err != nil { // also warms the server up
			return r, err
		}
	}
	before, err := s.usage()
	if err != nil {
		return r, err
	}
	own := ownCPU()
	l, err := crowd{producers, span, maxSubmits}.run(ctx, func(_ context.Context, w int) error { return all[w].submit() })
	if err != nil {
		return r, err
	}
	own = ownCPU() - own
	after, err := s.usage()
	if err != nil {
		return r, err
	}
	r.add("submits", "1/s", l.rate())
	r.times("answer", &l.latency)
	r.cost("server CPU per submit", after.cpu-before.cpu, float64(l.steps))
	r.add("generator", "cores", own.Seconds()/l.took.Seconds())
	lost, doubled, err := checkJobs(ctx, s, all)
	r.add("acknowledged", "", float64(l.steps+producers))
	r.zero("lost", lost)
	r.zero("doubled", doubled)
	return r, err
}

// producer submits over one connection that is kept open.
type producer struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	ids     []string // of the jobs that were acknowledged
}

func newProducer(addr string, request []byte) (*producer, error) {
	conn, err := net.DialTimeout("tcp", addr, requestTime) //nolint:gosec // our own server, on loopback
	if err != nil {
		return nil, fmt.Errorf("connect producer: %w", err)
	}
	return &producer{conn: conn, in: bufio.NewReader(conn), request: request}, nil
}

// submit sends one job and reads its acknowledgement.
func (p *producer) submit() error {
	if err := p.conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	if _, err := p.conn.Write(p.request); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	res, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return fmt.Errorf("read answer of submit: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return fmt.Errorf("read answer of submit: %w", err)
	}
	id := member(body, `{"id":"`)
	if res.StatusCode != http.StatusAccepted || len(id) == 0 {
		return fmt.Errorf("submit was answered with %s: %.300s", res.Status, body)
	}
	p.ids = append(p.ids, string(id))
	return nil
}

// checkJobs lists all jobs of the server. lost is how many acknowledged ones are
// not there; doubled how many ids were acknowledged or listed more than once,
// or listed without having been acknowledged.
func checkJobs(ctx context.Context, s *server, all []*producer) (lost, doubled uint64, err error) {
	missing := make(map[string]bool) // by acknowledged id; false once it was listed
	for _, p := range all {
		for _, id := range p.ids {
			if missing[id] {
				doubled++
			}
			missing[id] = true
		}
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
