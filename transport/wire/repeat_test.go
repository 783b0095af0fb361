package wire

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// repeater answers each request that begins with "again" by itself, with its text
// in capitals; requests are eight bytes.
type repeater struct {
	*script
	conn *Conn // set before the peer may send its second request

	mu     sync.Mutex // guards the fields below
	answer string
	asked  int
	fails  bool
	busy   chan struct{} // closed by the next Fill, which goes on when goOn is closed; nil: it does not wait
	goOn   chan struct{}
	silent chan struct{} // closed by the next request, which gets no answer; nil: each gets one
}

func (r *repeater) Repeat(request []byte) bool {
	r.used()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.fails {
		panic("as it was told")
	}
	if !strings.HasPrefix(string(request), "again") || len(request) != 8 {
		return false
	}
	if r.silent != nil {
		close(r.silent)
		return true
	}
	r.answer = strings.ToUpper(string(request))
	r.conn.Wake()
	return true
}

func (r *repeater) reply(buf []byte, _ int) ([]byte, Next) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if busy, goOn := r.busy, r.goOn; busy != nil {
		r.busy = nil
		r.mu.Unlock()
		close(busy)
		<-goOn
		r.mu.Lock()
	}
	if r.answer == "" {
		return buf, Idle
	}
	buf = append(buf, r.answer...)
	r.answer = ""
	return buf, Reuse
}

// repeating parks a connection whose first request waits, and returns what sends
// the answer to that.
func repeating(p *Pool, nc net.Conn, early string) (r *repeater, first func()) {
	r = &repeater{}
	r.script = newScript(r.reply)
	r.conn = p.Park(nc, []byte(early), r, 0)
	return r, func() {
		r.mu.Lock()
		r.answer = "AGAIN..0"
		r.mu.Unlock()
		r.conn.Wake()
	}
}

// answered is repeating after the peer has read its first answer.
func answered(t *testing.T, p *Pool, server, client net.Conn) *repeater {
	t.Helper()
	r, first := repeating(p, server, "")
	first()
	reads(t, client, "AGAIN..0")
	return r
}

func reads(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = nc.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := io.ReadFull(nc, got); string(got[:n]) != want {
		t.Errorf("got %q (%v), want %q", got[:n], err, want)
	}
}

func writes(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	if _, err := nc.Write([]byte(text)); err != nil {
		t.Error(err)
	}
}

// ends are the connections that a stream that repeats is tried on: one that can be
// watched, and one that can not.
var ends = map[string]func(t *testing.T) (server, client net.Conn){
	"tcp":  pair,
	"pipe": func(*testing.T) (server, client net.Conn) { return net.Pipe() },
}

// served is an HTTP server that answers one request of eight bytes.
func served(nc net.Conn) error {
	defer func() { _ = nc.Close() }()
	request := make([]byte, 8)
	if _, err := io.ReadFull(nc, request); err != nil {
		return err
	}
	_, err := nc.Write([]byte("served " + string(request)))
	return err
}

// onEnds runs f on both kinds of connection.
func onEnds(t *testing.T, f func(t *testing.T, server, client net.Conn)) {
	for name, connect := range ends {
		t.Run(name, func(t *testing.T) {
			server, client := connect(t)
			f(t, server, client)
		})
	}
}

func TestAStreamTakesTheNextRequests(t *testing.T) {
	onEnds(t, func(t *testing.T, server, client net.Conn) {
		r := answered(t, pool(t, Options{Serve: served}), server, client)
		const rounds = 200
		for range rounds {
			writes(t, client, "again...")
			reads(t, client, "AGAIN...")
		}
		writes(t, client, "anot\r\n\r\n")
		reads(t, client, "served anot\r\n\r\n")
		r.ended(t, nil)
		if r.asked != rounds+1 {
			t.Errorf("asked %d times", r.asked)
		}
	})
}

func TestTheNextRequestIsThereBeforeTheAnswer(t *testing.T) {
	for name, early := range map[string]int{"all of it": 8, "half of it": 4, "none of it": 0} {
		t.Run(name, func(t *testing.T) {
			onEnds(t, func(t *testing.T, server, client net.Conn) {
				p := pool(t, Options{Serve: served})
				r, first := repeating(p, server, "anot\r\n\r\n"[:early])
				if early < 8 {
					writes(t, client, "anot\r\n\r\n"[early:])
				}
				first()
				reads(t, client, "AGAIN..0served anot\r\n\r\n")
				r.ended(t, nil)
			})
		})
	}
	onEnds(t, func(t *testing.T, server, client net.Conn) {
		p := pool(t, Options{Serve: served})
		r, first := repeating(p, server, "again..1")
		first()
		reads(t, client, "AGAIN..0AGAIN..1")
		_ = client.Close()
		r.ended(t, nil)
	})
}

func TestAPeerLeavesBetweenRequests(t *testing.T) {
	onEnds(t, func(t *testing.T, server, client net.Conn) {
		r := answered(t, pool(t, Options{Serve: served}), server, client)
		_ = client.Close()
		r.ended(t, nil)
	})
}

func TestAPeerLeavesInALaterRequest(t *testing.T) {
	onEnds(t, func(t *testing.T, server, client net.Conn) {
		r := answered(t, pool(t, Options{Serve: served}), server, client)
		r.mu.Lock()
		r.silent = make(chan struct{})
		r.mu.Unlock()
		writes(t, client, "again...")
		<-r.silent
		_ = client.Close()
		r.ended(t, ErrGone)
	})
}

func TestAPanicInTheNextRequest(t *testing.T) {
	onEnds(t, func(t *testing.T, server, client net.Conn) {
		p := pool(t, Options{Serve: served})
		r := answered(t, p, server, client)
		r.mu.Lock()
		r.fails = true
		r.mu.Unlock()
		writes(t, client, "again...")
		r.ended(t, ErrPanic)
		if p.Panics() != 1 {
			t.Errorf("%d panics are counted", p.Panics())
		}
	})
}

// A connection whose peer sends no further request is closed in time, whether the
// stream would take it or the HTTP server.
func TestUnusedConnectionsAreClosed(t *testing.T) {
	for name, repeats := range map[string]bool{"of a stream": true, "of the server": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := NewPool(Options{Serve: served, IdleTimeout: 30 * time.Second})
				server, client := net.Pipe()
				began := time.Now()
				if repeats {
					r, first := repeating(p, server, "")
					first()
					defer func() { r.ended(t, nil) }()
				} else {
					p.Park(server, nil, newScript(func(buf []byte, _ int) ([]byte, Next) { return append(buf, "AGAIN..0"...), Reuse }), 0)
				}
				got, err := io.ReadAll(client)
				if took := time.Since(began); string(got) != "AGAIN..0" || err != nil || took < 30*time.Second || took > 31*time.Second {
					t.Errorf("%q, %v, after %v", got, err, took)
				}
				p.Close()
			})
		})
	}
}

func TestDrainBetweenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Options{Serve: served})
		server, client := net.Pipe()
		r, first := repeating(p, server, "")
		first()
		reads(t, client, "AGAIN..0")
		synctest.Wait() // the answer is settled
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(context.Background(), func() time.Duration { return time.Second }) }()
		reads(t, client, "bye 1s")
		_ = client.Close()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		r.ended(t, nil)
		p.Close()
	})
}

// A peer that leaves together with its next request is told of by one edge.
func TestAPeerLeavesWithItsNextRequest(t *testing.T) {
	p := pool(t, Options{Serve: served})
	for range 200 {
		server, client := pair(t)
		r := answered(t, p, server, client)
		r.mu.Lock()
		r.silent = make(chan struct{})
		r.mu.Unlock()
		writes(t, client, "again...")
		_ = client.Close()
		select {
		case cause := <-r.closed: // ErrGone, or nil if the end was seen before the last answer was known to be sent
			if r.asked > 0 && cause == nil {
				t.Error("a request is lost, and nobody is told")
			}
		case <-time.After(time.Minute):
			t.Fatal("the stream does not end")
		}
	}
}

// What comes while the reader waits for the sender is not forgotten.
func TestRequestsWhileASenderHasTheConnection(t *testing.T) {
	p := pool(t, Options{Serve: served, Workers: 2})
	server, client := pair(t)
	r := answered(t, p, server, client)
	// The watch takes events in their order: when another connection has got its
	// answer, what came here before was looked at.
	otherServer, other := pair(t)
	beside := answered(t, p, otherServer, other)
	looked := func() {
		writes(t, other, "again...")
		reads(t, other, "AGAIN...")
	}
	busy, goOn := make(chan struct{}), make(chan struct{})
	r.mu.Lock()
	r.busy, r.goOn = busy, goOn
	r.mu.Unlock()
	r.conn.Wake() // there is nothing to send, but the stream takes its time to say so
	<-busy
	writes(t, client, "again..1")
	looked()
	writes(t, client, "again..2")
	looked()
	close(goOn)
	reads(t, client, "AGAIN..1AGAIN..2")
	_ = client.Close()
	_ = other.Close()
	r.ended(t, nil)
	beside.ended(t, nil)
}

// A peer that resets the connection while the HTTP server has it is no business of
// the watch, which would be told again and again.
func TestResetWhileTheServerHasTheConnection(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	p := pool(t, Options{Serve: func(nc net.Conn) error {
		defer func() { _ = nc.Close() }()
		_, err := io.ReadFull(nc, make([]byte, 8))
		close(begun)
		<-goOn
		return err
	}})
	server, client := pair(t)
	r := answered(t, p, server, client)
	writes(t, client, "anot\r\n\r\n")
	<-begun
	_ = client.(*net.TCPConn).SetLinger(0)
	_ = client.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { // waits for the reset
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 20_000); n != 1 || err != nil {
			t.Errorf("the reset: %d %v", n, err)
		}
	})
	var events [8]unix.EpollEvent
	told := 0
	for range 3 { // beside the watch, which gets it or does not
		n, err := unix.EpollWait(p.watch.Load().epoll, events[:], 0)
		if err != nil {
			t.Error(err)
		}
		told += n
	}
	if told > 1 {
		t.Errorf("the reset is told %d times", told)
	}
	close(goOn)
	r.ended(t, nil)
}

// Whatever comes together, each stream ends once, and nothing is kept of it.
func TestNextRequestsRaceWithEverything(t *testing.T) {
	p := NewPool(Options{Serve: served})
	pieces := []string{
		"again..1", "again..1", "again..1", "again..1", "again..1again..2", "aga", "in..1", "anot\r\n\r\n",
		strings.Repeat("again..1", 400), strings.Repeat("again..1", 9000),
	}
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for range 40 {
				server, client := pair(t)
				r, first := repeating(p, server, []string{"", "again..1", "aga", "anot\r\n\r\n"}[rand.N(4)])
				stop := make(chan struct{})
				var beside sync.WaitGroup
				beside.Go(first)
				beside.Go(func() {
					for wakes := true; wakes; { // with nothing to send mostly
						r.conn.Wake()
						select {
						case <-stop:
							wakes = false
						case <-time.After(time.Duration(rand.N(200)) * time.Microsecond):
						}
					}
				})
				beside.Go(func() { _, _ = io.Copy(io.Discard, client) })
				_ = client.SetWriteDeadline(time.Now().Add(10 * time.Second))
				for range rand.N(8) {
					if _, err := client.Write([]byte(pieces[rand.N(len(pieces))])); err != nil {
						break
					}
				}
				switch rand.N(4) {
				case 0:
					r.conn.Cut(ErrStalled)
				case 1:
					_ = client.(*net.TCPConn).SetLinger(0)
				case 2:
					_ = client.(*net.TCPConn).CloseWrite()
				}
				_ = client.Close()
				select {
				case <-r.closed:
				case <-time.After(time.Minute):
					r.conn.mu.Lock()
					t.Errorf("does not end: %+v %+v", r.conn.send, r.conn.parked)
					r.conn.mu.Unlock()
				}
				close(stop)
				beside.Wait()
				if len(r.closed) > 0 || r.after {
					t.Error("called after its end")
				}
			}
		})
	}
	wg.Wait()
	p.Close()
	if len(p.conns)+len(p.leaving) > 0 {
		t.Errorf("%d connections are kept, %d as leaving", len(p.conns), len(p.leaving))
	}
}
