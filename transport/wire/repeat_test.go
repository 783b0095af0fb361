package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
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

func reads(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
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
		p := pool(t, Options{Serve: served})
		r, first := repeating(p, server, "")
		first()
		reads(t, client, "AGAIN..0")
		const rounds = 200
		for range rounds {
			writes(t, client, "again...")
			reads(t, client, "AGAIN...")
		}
		writes(t, client, "another.")
		reads(t, client, "served another.")
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
				r, first := repeating(p, server, "another."[:early])
				if early < 8 {
					writes(t, client, "another."[early:])
				}
				first()
				reads(t, client, "AGAIN..0served another.")
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
		p := pool(t, Options{Serve: served})
		r, first := repeating(p, server, "")
		first()
		reads(t, client, "AGAIN..0")
		_ = client.Close()
		r.ended(t, nil)
	})
}

func TestAPeerLeavesInALaterRequest(t *testing.T) {
	onEnds(t, func(t *testing.T, server, client net.Conn) {
		p := pool(t, Options{Serve: served})
		r, first := repeating(p, server, "")
		first()
		reads(t, client, "AGAIN..0")
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
		r, first := repeating(p, server, "")
		first()
		reads(t, client, "AGAIN..0")
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

// Whatever comes together, no request is lost and each stream ends once.
func TestNextRequestsRaceWithCuts(t *testing.T) {
	p := pool(t, Options{Serve: served})
	var wg sync.WaitGroup
	for i := range 60 {
		server, client := pair(t)
		r, first := repeating(p, server, "")
		wg.Go(func() {
			first()
			reads(t, client, "AGAIN..0")
			for range i * 5 {
				writes(t, client, "again...")
				reads(t, client, "AGAIN...")
			}
			writes(t, client, "again...")
			switch i % 3 {
			case 0:
				r.conn.Cut(ErrStalled)
			case 1:
				_ = client.Close()
			case 2:
				writes(t, client, "another.")
			}
			select {
			case cause := <-r.closed:
				if cause != nil && !errors.Is(cause, ErrGone) && !errors.Is(cause, ErrStalled) {
					t.Errorf("ended with %v", cause)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("stream %d does not end", i)
			}
			if len(r.closed) > 0 || r.after {
				t.Errorf("stream %d is called after its end", i)
			}
		})
	}
	wg.Wait()
}
