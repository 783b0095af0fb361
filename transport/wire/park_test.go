package wire

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestParkedAnswersWhenWokenAndAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Options{})
		began := time.Now()
		answer := func(at time.Duration) func([]byte, int) ([]byte, Next) {
			return func(buf []byte, _ int) ([]byte, Next) {
				if time.Since(began) < at {
					return buf, Idle
				}
				return append(buf, "answer"...), Close
			}
		}
		for _, tc := range []struct{ ready, wake, want time.Duration }{
			{ready: 20 * time.Second, wake: 0, want: 20 * time.Second},
			{ready: 3 * time.Second, wake: 3 * time.Second, want: 3 * time.Second},
		} {
			began = time.Now()
			server, client := net.Pipe()
			s := newScript(answer(tc.ready))
			c := p.Park(server, nil, s, 20*time.Second)
			if tc.wake > 0 {
				time.AfterFunc(tc.wake, c.Wake)
			}
			got, _ := io.ReadAll(client)
			if string(got) != "answer" || time.Since(began) != tc.want {
				t.Errorf("%q after %v, want it after %v", got, time.Since(began), tc.want)
			}
			s.ended(t, nil)
		}
		p.Close()
	})
}

func TestParkedConnectionGoesBackWithItsNextRequest(t *testing.T) {
	const next = "next\r\n\r\n" // the server is given whole heads
	served := make(chan string, 1)
	p := pool(t, Options{Serve: func(nc net.Conn) error {
		defer func() { _ = nc.Close() }()
		b := make([]byte, len(next))
		_, err := io.ReadFull(nc, b)
		served <- string(b)
		return err
	}})
	for name, early := range map[string][]byte{"later": nil, "pipelined": []byte("ne")} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			s := newScript(func(buf []byte, _ int) ([]byte, Next) { return append(buf, "answer"...), Reuse })
			p.Park(server, early, s, time.Minute)
			if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			s.ended(t, nil) // its slot is free although the connection lives on
			if _, err := client.Write([]byte(next)[len(early):]); err != nil {
				t.Fatal(err)
			}
			if got := <-served; got != next {
				t.Errorf("the server read %q", got)
			}
		})
	}
}

// A peer that has its answer and leaves at once has missed nothing.
func TestParkedPeerThatLeavesWithItsAnswer(t *testing.T) {
	p := pool(t, Options{})
	for range 3000 {
		server, client := net.Pipe()
		s := newScript(func(buf []byte, _ int) ([]byte, Next) { return append(buf, "answer"...), Close })
		p.Park(server, nil, s, time.Minute)
		if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		s.ended(t, nil)
	}
}

func TestParkedPeerThatLeavesOrIsCut(t *testing.T) {
	p := NewPool(Options{})
	server, client := pair(t)
	gone := newScript(idleFill)
	p.Park(server, nil, gone, time.Minute)
	_ = client.Close()
	gone.ended(t, ErrGone)

	server, _ = pair(t)
	cut := newScript(idleFill)
	p.Park(server, []byte("GET"), cut, time.Minute) // its reader waits for the answer
	p.Close()
	cut.ended(t, ErrDrained)
}

// A peer that has sent its next request already and leaves before the answer is
// noticed all the same.
func TestParkedPipeliningPeerThatLeaves(t *testing.T) {
	p := pool(t, Options{})
	server, client := pair(t)
	s := newScript(idleFill)
	p.Park(server, []byte("GET /next"), s, time.Minute)
	if _, err := client.Write([]byte(" HTTP/1.1")); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	s.ended(t, ErrGone)
}

// The watch tells of a peer's end once. A look that a deadline cuts short must not lose
// that, or the connection would be idle for ever.
func TestEndIsKeptOverATimeout(t *testing.T) {
	server, client := pair(t)
	raw, err := server.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c, k := &Conn{nc: server, raw: raw, watched: true, pending: pendingEnd}, &parking{nudged: true}
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	_ = server.SetReadDeadline(time.Unix(1, 0))
	if err := k.take(c); err != nil || c.pending != pendingEnd {
		t.Fatalf("a look that was cut short: %v, pending %d", err, c.pending)
	}
	_ = server.SetReadDeadline(time.Time{})
	for len(k.early) == 0 {
		if err := k.take(c); err != nil {
			t.Fatal(err)
		}
	}
	if c.pending != pendingEnd {
		t.Errorf("pending %d after what came before the end", c.pending)
	}
	for err = nil; err == nil; err = k.take(c) {
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}
