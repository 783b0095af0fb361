// Package netns_test cuts the cable between real clients and the real server.
package netns_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/e2e/program"
)

const (
	keyLimit  = 10               // live streams of one key: the server's default
	foundIn   = 20 * time.Second // a peer that has vanished is gone after so long
	measuring = 3 * time.Second  // slack: the server looks once a second, and a loaded machine is late
	lateEvent = 12 * time.Second // after the cut; in the middle of the search for the dead
)

// TestHalfOpen: clients vanish without a word, as when a cable is cut or a
// machine loses its power. No FIN and no RST arrives. They are gone within 20 s,
// whatever the server has to send them meanwhile, and their slots are free.
func TestHalfOpen(t *testing.T) {
	binary := os.Getenv(inside)
	if binary == "" {
		again(t, program.Build(t))
		return
	}
	s := &site{t: t, net: newNetwork(t), binary: binary}
	s.server = program.Start(t, binary, "--addr="+hereAddr+":0")
	s.admin = s.key("--client", "operator", "--scope", "admin")
	silent, busy, late, near := s.group("silent"), s.group("busy"), s.group("late"), s.group("near")
	groups := []*group{silent, busy, late} // near is on this side of the cable, and as silent
	for _, tr := range transports {
		for _, g := range groups {
			s.fill(g, tr, s.dialAway)
		}
		s.fill(near, tr, s.dialHere)
	}
	stop := s.flow(busy.streamed) // events go on before, during and after the cut
	defer stop()
	s.wait("events have reached the busy readers", func() bool { return busy.reached() })
	for _, tr := range transports {
		if n := s.connections()[tr.name]; n != (len(groups)+1)*keyLimit {
			t.Fatalf("%d connections of %s, want %d", n, tr.name, (len(groups)+1)*keyLimit)
		}
	}

	s.net.cut()
	cut := time.Now()
	s.progress(busy.polled)
	lateTimer := time.AfterFunc(lateEvent, func() { s.progress(late.streamed); s.progress(late.polled) })
	defer lateTimer.Stop()
	if _, err := s.dialAway(); err == nil {
		t.Fatal("the cable is not cut")
	}
	gone := map[string]time.Duration{}
	s.wait("all connections are gone", func() bool {
		live := s.connections()
		for _, tr := range transports {
			if _, known := gone[tr.name]; !known && live[tr.name] <= keyLimit {
				gone[tr.name] = time.Since(cut)
			}
		}
		return len(gone) == len(transports)
	})
	for _, tr := range transports {
		t.Logf("%s: all gone after %v", tr.name, gone[tr.name].Round(10*time.Millisecond))
		if gone[tr.name] > foundIn+measuring {
			t.Errorf("%s: gone after %v, want %v", tr.name, gone[tr.name], foundIn)
		}
	}
	for _, g := range append(groups, near) { // far ones, because then the cut was not silent
		if n := g.ended.Load(); n > 0 {
			t.Errorf("%d readers of %s came to an end", n, g.name)
		}
	}
	if silent.progress.Load()+near.progress.Load() > 0 {
		t.Error("silent readers got events")
	}
	for _, tr := range transports {
		s.refused(near, tr) // still there, all of them
	}
	for _, g := range groups {
		g.polled = s.work(g.keys["sse"]) // the other one's events would be answered at once
		for _, tr := range transports {
			s.fill(g, tr, s.dialHere)
		}
	}
}

// transport is one way to hold a connection.
type transport struct {
	name   string // as /metrics has it
	accept string
}

var transports = []transport{
	{"sse", "text/event-stream"}, {"ndjson", "application/x-ndjson"}, {"poll", "application/json"}, {"websocket", ""},
}

// site is a server and the network around it.
type site struct {
	t      *testing.T
	net    *network
	binary string
	server *program.Server
	admin  string // a key that may read the metrics
}

// group is the clients that fare alike: one client of the server, a key for each
// transport, two jobs.
type group struct {
	name     string
	keys     map[string]string // by transport
	streamed *work             // what its streams are about, though they watch the whole client
	polled   *work             // what its polls wait for

	progress atomic.Int64 // progress events that its streams have got
	ended    atomic.Int64 // readers that were told of their end
}

// work is a job that a worker has claimed.
type work struct {
	ID, Cursor string
	Lease      struct{ Token string }
	key        string
}

func (s *site) group(name string) *group {
	s.t.Helper()
	g := &group{name: name, keys: map[string]string{}}
	for _, tr := range transports {
		g.keys[tr.name] = s.key("--client", name)
	}
	g.streamed, g.polled = s.work(g.keys["sse"]), s.work(g.keys["sse"])
	return g
}

func (s *site) key(flags ...string) string {
	s.t.Helper()
	args := append([]string{"keys", "create", "--data", s.server.Data}, flags...)
	out, err := exec.CommandContext(s.t.Context(), s.binary, args...).Output()
	if err != nil {
		s.t.Fatalf("make key: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// work makes a job and claims it for long.
func (s *site) work(key string) *work {
	s.t.Helper()
	s.call(key, "", "/v1/jobs", `{"queue":"q","payload":null}`, nil)
	var claimed struct{ Jobs []*work }
	s.call(key, "", "/v1/workers/claim", `{"queues":["q"],"leaseMs":600000}`, &claimed)
	if len(claimed.Jobs) != 1 {
		s.t.Fatalf("claimed %d jobs", len(claimed.Jobs))
	}
	claimed.Jobs[0].key = key
	return claimed.Jobs[0]
}

func (s *site) progress(w *work) {
	s.call(w.key, w.Lease.Token, "/v1/jobs/"+w.ID+"/progress", `{"progress":50}`, nil)
}

// flow reports progress several times a second until it is stopped.
func (s *site) flow(w *work) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				s.progress(w)
			}
		}
	}()
	return func() { close(over); <-done }
}

// call posts and decodes; it may be used by any goroutine.
func (s *site) call(key, lease, path, body string, into any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	if lease != "" {
		req.Header.Set("X-Lease-Token", lease)
	}
	resp, err := caller.Do(req)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, data)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		s.t.Errorf("%s: %v", path, err)
	}
}

var caller = &http.Client{Timeout: 10 * time.Second}

var gauge = regexp.MustCompile(`(?m)^jobcast_connections\{transport="(\w+)"\} (\d+)$`)

// connections is what the server says of itself.
func (s *site) connections() map[string]int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.server.URL+"/metrics", nil)
	if err != nil {
		s.t.Fatalf("metrics: %v", err)
	}
	req.Header.Set("Authorization", "Bearer "+s.admin)
	resp, err := caller.Do(req)
	if err != nil {
		s.t.Fatalf("metrics: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("metrics: %v", err)
	}
	n := map[string]int{}
	for _, m := range gauge.FindAllStringSubmatch(string(text), -1) {
		var v int
		if _, err := fmt.Sscan(m[2], &v); err != nil {
			s.t.Fatalf("metrics: %v", err)
		}
		n[m[1]] = v
	}
	if len(n) != len(transports) {
		s.t.Fatalf("metrics know the transports %v", n)
	}
	return n
}

// wait looks again and again, because the end of a silent peer tells nobody.
func (s *site) wait(what string, so func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !so(); {
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("not within a minute: %s; connections: %v", what, s.connections())
		}
	}
}

// reached reports whether each stream has got an event.
func (g *group) reached() bool { return g.progress.Load() >= int64((len(transports)-1)*keyLimit) }

// dialAway connects from the other side of the cable.
func (s *site) dialAway() (nc net.Conn, err error) {
	s.net.within(func() error {
		nc, err = s.dialHere()
		return nil // the caller judges the other one
	})
	return nc, err
}

func (s *site) dialHere() (net.Conn, error) {
	return net.DialTimeout("tcp", strings.TrimPrefix(s.server.URL, "http://"), 2*time.Second)
}

// fill opens as many connections as the key may have, and leaves a reader on
// each.
func (s *site) fill(g *group, tr transport, dial func() (net.Conn, error)) {
	s.t.Helper()
	for i := range keyLimit {
		nc, err := dial()
		if err != nil {
			s.t.Fatalf("connect: %v", err)
		}
		in, err := s.open(nc, g, tr)
		if err != nil {
			s.t.Fatalf("%s of %s, connection %d: %v", tr.name, g.name, i+1, err)
		}
		go g.read(in)
	}
	s.refused(g, tr)
}

// read counts until the connection ends.
func (g *group) read(in *bufio.Reader) {
	first := true
	for {
		line, err := in.ReadSlice('}')
		if first && bytes.Contains(line, []byte(`"job.progress"`)) {
			first = false // one of each reader counts
			g.progress.Add(1)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, net.ErrClosed) { // closed by the test itself, at its end
				g.ended.Add(1)
			}
			return
		}
	}
}

// refused checks that the key has no slot left.
func (s *site) refused(g *group, tr transport) {
	s.t.Helper()
	nc, err := s.dialHere()
	if err == nil {
		_, err = s.open(nc, g, tr)
	}
	var status statusError
	if !errors.As(err, &status) || status != http.StatusTooManyRequests {
		s.t.Errorf("%s of %s, one more than the limit: %v", tr.name, g.name, err)
	}
}

// statusError is an answer that is no stream.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// open asks for the events and returns once the server counts the connection.
// The socket is closed with the test.
func (s *site) open(nc net.Conn, g *group, tr transport) (*bufio.Reader, error) {
	s.t.Cleanup(func() { _ = nc.Close() })
	in := bufio.NewReader(nc)
	head := "Host: x\r\nAuthorization: Bearer " + g.keys[tr.name] + "\r\n"
	switch tr.name {
	case "poll":
		// HTTP/1.1 has no word for “parked”, so the gauge is asked.
		before := s.connections()["poll"]
		fmt.Fprintf(nc, "GET /v1/jobs/%s/events?wait=60&lastEventId=%s HTTP/1.1\r\nAccept: %s\r\n%s\r\n", g.polled.ID, g.polled.Cursor, tr.accept, head)
		return in, s.parked(nc, in, before)
	case "websocket":
		fmt.Fprintf(nc, "GET /v1/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n", head)
		if err := answered(nc, in, http.StatusSwitchingProtocols); err != nil {
			return nil, err
		}
		text := `{"event":"subscribe","data":{"from":"now"}}`
		_, err := io.WriteString(nc, "\x81"+string([]byte{byte(0x80 | len(text))})+"\x00\x00\x00\x00"+text) // a mask of zeros changes nothing
		return in, err
	default:
		fmt.Fprintf(nc, "GET /v1/events?from=now HTTP/1.1\r\nAccept: %s\r\n%s\r\n", tr.accept, head)
		return in, answered(nc, in, http.StatusOK)
	}
}

// answered reads the head of the answer.
func answered(nc net.Conn, in *bufio.Reader, want int) error {
	_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer func() { _ = nc.SetReadDeadline(time.Time{}) }()
	resp, err := http.ReadResponse(in, nil)
	if err == nil && resp.StatusCode != want {
		err = statusError(resp.StatusCode)
	}
	return err
}

// parked waits until the server counts one poll more than before, or refuses.
func (s *site) parked(nc net.Conn, in *bufio.Reader, before int) error {
	defer func() { _ = nc.SetReadDeadline(time.Time{}) }()
	for range 500 {
		if s.connections()["poll"] > before {
			return nil
		}
		_ = nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := in.Peek(1); err == nil {
			return answered(nc, in, 0)
		}
	}
	return errors.New("the request is neither parked nor answered")
}
