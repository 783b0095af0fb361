// Package netns_test cuts the cable between real clients and the real server.
package netns_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
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
	s.server = program.Unwatched(t, binary, "--addr="+hereAddr+":0")
	s.admin = s.server.MakeKey(t, "--client", "operator", "--scope", "admin")
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
	busy.polled.Progress(t, half)
	lateTimer := time.AfterFunc(lateEvent, func() { late.streamed.Progress(t, half); late.polled.Progress(t, half) })
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
		g.polled = s.server.Claim(t, g.keys["sse"]) // the other one's events would be answered at once
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
	streamed *program.Work     // what its streams are about, though they watch the whole client
	polled   *program.Work     // what its polls wait for

	progress atomic.Int64 // progress events that its streams have got
	ended    atomic.Int64 // readers that were told of their end
}

// half is a report of progress.
const half = `{"progress":50}`

func (s *site) group(name string) *group {
	s.t.Helper()
	g := &group{name: name, keys: map[string]string{}}
	for _, tr := range transports {
		g.keys[tr.name] = s.server.MakeKey(s.t, "--client", name)
	}
	g.streamed, g.polled = s.server.Claim(s.t, g.keys["sse"]), s.server.Claim(s.t, g.keys["sse"])
	return g
}

// flow reports progress several times a second until it is stopped.
func (s *site) flow(w *program.Work) (stop func()) {
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
				w.Progress(s.t, half)
			}
		}
	}()
	return func() { close(over); <-done }
}

func (s *site) connections() map[string]int { return s.server.Connections(s.t, s.admin) }

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
	return net.DialTimeout("tcp", s.server.Addr(), 2*time.Second)
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
	var status program.StatusError
	if !errors.As(err, &status) || status != http.StatusTooManyRequests {
		s.t.Errorf("%s of %s, one more than the limit: %v", tr.name, g.name, err)
	}
}

// open asks for the events and returns once the server counts the connection.
// The socket is closed with the test.
func (s *site) open(nc net.Conn, g *group, tr transport) (*bufio.Reader, error) {
	s.t.Cleanup(func() { _ = nc.Close() })
	head := " HTTP/1.1\r\nHost: x\r\nAccept: " + tr.accept + "\r\nAuthorization: Bearer " + g.keys[tr.name] + "\r\n\r\n"
	switch tr.name {
	case "poll":
		before := s.connections()["poll"]
		_, err := fmt.Fprintf(nc, "GET /v1/jobs/%s/events?wait=60&lastEventId=%s%s", g.polled.ID, g.polled.Cursor, head)
		if err != nil {
			return nil, err
		}
		in := bufio.NewReader(nc)
		return in, s.parked(nc, in, before)
	case "websocket":
		return program.WebSocket(nc, g.keys[tr.name])
	default:
		return program.Answered(nc, "GET /v1/events?from=now"+head, http.StatusOK)
	}
}

// parked waits until the server counts one poll more than before, or refuses:
// nothing on the wire says that a request is parked.
func (s *site) parked(nc net.Conn, in *bufio.Reader, before int) error {
	defer func() { _ = nc.SetReadDeadline(time.Time{}) }()
	for range 500 {
		if s.connections()["poll"] > before {
			return nil
		}
		_ = nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := in.Peek(1); err == nil {
			return program.Head(nc, in, 0)
		}
	}
	return errors.New("the request is neither parked nor answered")
}
