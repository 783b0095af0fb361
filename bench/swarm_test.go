package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serveOnce accepts n connections, reads the request of each, sends raw and
// closes it. It returns the listener's address.
func serveOnce(t *testing.T, n int, raw []byte) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, len("go")))
			_, _ = conn.Write(raw)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

func dialSwarm(t *testing.T, addr netip.AddrPort, readers int) *swarm {
	t.Helper()
	s, err := newSwarm(addr, func(int, *reader) ([]byte, decoder) { return []byte("go"), &sseDecoder{} })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.dial(readers); err != nil {
		s.Close()
		t.Fatal(err)
	}
	return s
}

func event(seq int, message string) string {
	return fmt.Sprintf("id: e-%d\ndata: {\"message\":\"%s\"}\n\n", seq, message)
}

func TestSwarmCounts(t *testing.T) {
	stamp := fmt.Sprint(time.Now().Add(-time.Second).UnixNano())
	for name, c := range map[string]struct {
		seqs                   []int
		lost, doubled, missing uint64
	}{
		"whole":        {[]int{1, 2, 3, 4, 5}, 0, 0, 0},
		"a hole":       {[]int{1, 2, 5}, 2, 0, 0},
		"a double":     {[]int{1, 2, 2, 3, 4, 5}, 0, 1, 0},
		"out of order": {[]int{1, 2, 4, 3, 5}, 1, 1, 0},
		"cut short":    {[]int{1, 2, 3}, 0, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var raw strings.Builder
			raw.WriteString(event(1, "created") + "event: live\ndata: {}\n\n")
			for _, seq := range c.seqs[1:] {
				raw.WriteString(event(seq, stamp+" ."))
			}
			const readers = 3
			addr := serveOnce(t, readers, stream(raw.String()))
			s := dialSwarm(t, addr, readers)
			defer s.Close()
			if err := s.until(time.Now().Add(10*time.Second), func() bool { return s.gone == readers }); err != nil {
				t.Fatal(err)
			}
			if s.live != readers || s.fault == nil {
				t.Errorf("%d live, fault %v", s.live, s.fault)
			}
			got := [3]uint64{s.lost, s.doubled, s.missing(5)}
			if want := [3]uint64{c.lost * readers, c.doubled * readers, c.missing * readers}; got != want {
				t.Errorf("lost, doubled, missing: %v, want %v", got, want)
			}
			if whole := s.delivered == uint64(len(c.seqs)-1)*readers-s.doubled; !whole {
				t.Errorf("%d delivered", s.delivered)
			}
			if p50 := s.latency.quantile(0.5); p50 < time.Second || p50 > 10*time.Second {
				t.Errorf("latency %v", p50)
			}
		})
	}
}

func TestSwarmGivesUp(t *testing.T) {
	addr := serveOnce(t, 1, stream())
	s := dialSwarm(t, addr, 1)
	defer s.Close()
	if err := s.until(time.Now(), func() bool { return false }); err == nil {
		t.Error("waited for ever")
	}
}

// A reader ends once, also while somebody else still has its socket, as a program
// that is just being started does.
func TestSwarmCountsAnEndOnce(t *testing.T) {
	s := dialSwarm(t, serveOnce(t, 1, stream()), 1)
	defer s.Close()
	other, err := unix.Dup(s.readers[0].fd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(other) }()
	rounds := 0
	err = s.until(time.Now().Add(time.Minute), func() bool {
		if s.gone > 0 {
			rounds++
		}
		return rounds > 10
	})
	if err != nil || s.gone != 1 {
		t.Errorf("%d ends of one reader, %v", s.gone, err)
	}
}

// Readers that come back say where they were, and what they get then must go on there.
func TestSwarmComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		second        []int // after 1, 2, 3
		lost, doubled uint64
	}{
		"whole":    {[]int{4, 5}, 0, 0},
		"a hole":   {[]int{5}, 1, 0},
		"a double": {[]int{3, 4, 5}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			asked := make(chan string, 2)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, seqs := range [][]int{{1, 2, 3}, c.second} {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					line, _ := bufio.NewReader(conn).ReadString('\n')
					asked <- line
					text := ""
					for _, seq := range seqs {
						text += event(seq, "")
					}
					_, _ = conn.Write(stream(text))
					_ = conn.Close()
				}
			}()
			defer func() {
				_ = ln.Close()
				<-done
			}()
			s, err := newSwarm(netip.MustParseAddrPort(ln.Addr().String()), func(_ int, last *reader) ([]byte, decoder) {
				return []byte("after " + last.cursor() + "\n"), &sseDecoder{}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			deadline := time.Now().Add(10 * time.Second)
			if err := errors.Join(s.dial(1), s.until(deadline, func() bool { return s.gone == 1 })); err != nil {
				t.Fatal(err)
			}
			if err := s.comeBack(5, 1, deadline); err != nil {
				t.Fatal(err)
			}
			if first, second := <-asked, <-asked; first != "after \n" || second != "after e-3\n" {
				t.Errorf("asked %q, then %q", first, second)
			}
			if s.lost != c.lost || s.doubled != c.doubled || s.arrived != 1 || s.way.total != 1 {
				t.Errorf("lost %d, doubled %d, arrived %d", s.lost, s.doubled, s.arrived)
			}
		})
	}
}
