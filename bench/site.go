package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// target is a kind of server, and the protocol in which its readers speak to it.
type target struct {
	name string
	open func(ctx context.Context, set *settings, rooms int) (*site, error)

	// reads is how a reader of one room starts. last is what it was before, if it
	// comes back; nil: it is new.
	reads func(s *site, room string, last *reader) (request []byte, d decoder)
}

// site is a running server with rooms that can be filled and watched.
type site struct {
	*process
	addr  netip.AddrPort
	key   string
	rooms []room
	data  string       // folder of jobcast's data
	flags []string     // of jobcast, beside those that all have
	clean func() error // removes what the server leaves
}

// room is what one reader watches: a job of jobcast, a room of a peer.
type room struct {
	name string
	head string // of the request that publishes to it, up to the length of the body
}

// close ends the server.
func (s *site) close() (err error) {
	if s.process != nil {
		err = s.stop()
	}
	if s.clean != nil {
		err = errors.Join(err, s.clean())
	}
	return err
}

// end ends jobcast, in order or as a crash does; begin starts it again.
func (s *site) end(crash bool) error {
	p := s.process
	s.process = nil
	if crash {
		return p.kill()
	}
	return p.stop()
}

// begin starts jobcast over the data that are there; each time on another port.
func (s *site) begin(ctx context.Context, set *settings) error {
	srv, err := startServer(ctx, set, s.data, s.key, s.flags...)
	if err != nil {
		return err
	}
	s.process, s.addr, s.key = srv.process, srv.addr, srv.key
	return nil
}

// withSite runs f against a fresh server.
func withSite(ctx context.Context, set *settings, t target, rooms int, f func(*site) (row, error)) (r row, err error) {
	s, err := t.open(ctx, set, rooms)
	if err != nil {
		return r, fmt.Errorf("%s: %w", t.name, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if r, err = f(s); err != nil {
		err = fmt.Errorf("%s: %w", t.name, err)
	}
	return r, err
}

// leaseTime is how long a room of jobcast may be silent.
const leaseTime = 10 * time.Minute

// roomJob is a job that may run for long.
const roomJob = `{"queue":"bench","payload":{"n":1},"timeoutMs":86400000}`

// openJobcast starts the real server; each room is a running job, whose worker is
// this program.
func openJobcast(flags ...string) func(context.Context, *settings, int) (*site, error) {
	return func(ctx context.Context, set *settings, rooms int) (*site, error) {
		return startJobcast(ctx, set, rooms, flags)
	}
}

func startJobcast(ctx context.Context, set *settings, rooms int, flags []string) (_ *site, err error) {
	data, err := os.MkdirTemp(set.data, "jobcast-bench-")
	if err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	s := &site{data: data, flags: flags, clean: func() error { return os.RemoveAll(data) }}
	if err := s.begin(ctx, set); err != nil {
		return nil, errors.Join(err, s.clean())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.addRooms(ctx, rooms); err != nil {
		return nil, err
	}
	return s, nil
}

// addRooms makes n jobs, each of which this program works on.
func (s *site) addRooms(ctx context.Context, n int) error {
	c := &caller{addr: s.addr.String(), key: s.key}
	for range n {
		if err := c.call(ctx, "/v1/jobs", roomJob, http.StatusAccepted, nil); err != nil {
			return err
		}
	}
	for want := len(s.rooms) + n; len(s.rooms) < want; {
		if err := s.claim(ctx, c, want-len(s.rooms)); err != nil {
			return err
		}
	}
	return nil
}

// claim makes jobs running; progress of each is published with its lease.
func (s *site) claim(ctx context.Context, c *caller, n int) error {
	var got struct{ Jobs []leased }
	body := fmt.Sprintf(`{"queues":["bench"],"max":%d,"leaseMs":%d}`, min(n, 100), leaseTime.Milliseconds())
	if err := c.call(ctx, "/v1/workers/claim", body, http.StatusOK, &got); err != nil {
		return err
	}
	if len(got.Jobs) == 0 {
		return errors.New("no job to claim")
	}
	for _, j := range got.Jobs {
		s.rooms = append(s.rooms, room{j.ID, fmt.Sprintf("POST /v1/jobs/%s/progress HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nX-Lease-Token: %s\r\n",
			j.ID, s.addr, s.key, j.Lease.Token)})
	}
	return nil
}

// openPeer starts a server that is not ours; see peers/README.md.
func openPeer(program ...string) func(context.Context, *settings, int) (*site, error) {
	return func(ctx context.Context, _ *settings, rooms int) (*site, error) {
		root, err := moduleRoot()
		if err != nil {
			return nil, err
		}
		args := make([]string, len(program))
		for i, a := range program {
			args[i] = strings.ReplaceAll(a, "$ROOT", root)
		}
		p, err := startProcess(args[0], args[1:]...)
		if err != nil {
			return nil, err
		}
		s := &site{process: p, key: peerKey}
		line, err := p.line(ctx)
		if url, ok := strings.CutPrefix(line, "listening on http://"); ok {
			s.addr, err = netip.ParseAddrPort(url)
		} else if err == nil {
			err = fmt.Errorf("the peer said %.200q", line)
		}
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		for i := range rooms {
			name := fmt.Sprintf("room-%d", i)
			s.rooms = append(s.rooms, room{name, fmt.Sprintf("POST /publish/%s HTTP/1.1\r\nHost: %s\r\n", name, s.addr)})
		}
		return s, nil
	}
}

// caller calls the server's REST interface.
type caller struct{ addr, key string }

func (c *caller) call(ctx context.Context, path, body string, want int, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.addr+path, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // our own server, on loopback
	if err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s was answered with %s: %.300s", path, resp.Status, text)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	return err
}

// metrics reads figures of jobcast's /metrics, each by its name with its labels.
func (s *site) metrics(ctx context.Context, names ...string) ([]float64, error) {
	c, err := dial(ctx, s.addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	body, err := c.do(request("GET", "/metrics", s.addr.String(), s.key, ""), http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	values := make([]float64, len(names))
	for i, name := range names {
		_, rest, found := strings.Cut("\n"+string(body), "\n"+name+" ")
		text, _, _ := strings.Cut(rest, "\n")
		if values[i], err = strconv.ParseFloat(text, 64); !found || err != nil {
			return nil, fmt.Errorf("the server has no figure %s", name)
		}
	}
	return values, nil
}

// measure is that of the settings, for jobcast; gathered is how many events a commit
// had meanwhile.
func (s *site) measure(ctx context.Context, set *settings, name string, f func() error) (m stretch, gathered float64, err error) {
	const sum, count = "jobcast_commit_batch_events_sum", "jobcast_commit_batch_events_count"
	before, err := s.metrics(ctx, sum, count)
	if err != nil {
		return m, 0, err
	}
	if m, err = set.measure(s.process, name, f); err != nil {
		return m, 0, err
	}
	after, err := s.metrics(ctx, sum, count)
	if err != nil {
		return m, 0, err
	}
	return m, (after[0] - before[0]) / max(after[1]-before[1], 1), nil
}
