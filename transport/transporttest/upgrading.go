package transporttest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// upgrading: order holds when a client changes how it reaches the server.
func upgrading() []scenario {
	return []scenario{
		{name: "upgrade in mid-stream", on: upgrades, run: upgradeMidStream},
		{name: "subprotocols", on: sockets, run: subprotocols},
		{name: "handshake with a body", on: sockets, run: handshakeWithBody},
	}
}

// upgradeMidStream: under a hammering writer, clients read events both before and
// after their upgrade, in order.
func upgradeMidStream(s *stage) {
	const more = 50   // events after the upgrade
	var mu sync.Mutex // guards reads and mid
	var reads [][]Item
	mid := 0
	hammer(s, seamRounds(), func(w *Work) {
		r, err := s.tr.Open(s.ctx, s.caller(), Opening{Job: w.Job})
		if err != nil {
			s.Errorf("open: %v", err)
			return
		}
		defer r.Close()
		e := r.(interface{ upgraded() bool })
		var got []Item
		before := 0
		for len(got) < before+more {
			it, err := r.Next()
			if err != nil {
				s.Errorf("after %d events, upgraded %v: %v", len(got), e.upgraded(), err)
				return
			}
			if it.Event != nil {
				got = append(got, it)
			}
			if !e.upgraded() {
				before = len(got)
			}
		}
		mu.Lock()
		reads = append(reads, got)
		if before > 0 {
			mid++
		}
		mu.Unlock()
	})
	want := s.log.Entries("")
	for _, got := range reads {
		Same(s, got, want[:len(got)])
	}
	if mid < seamRounds()/2 {
		s.Errorf("only %d of %d readers had events before the upgrade", mid, seamRounds())
	}
	if len(reads) != seamRounds() {
		s.Errorf("%d of %d readers read", len(reads), seamRounds())
	}
}

// handshakeWithBody: nothing of a handshake's body is read as frames. A small one is passed
// over; one that is large, waits to be invited or is broken is refused.
func handshakeWithBody(s *stage) {
	c := s.caller()
	frame := "\x88\x80\x00\x00\x00\x00" // the end
	large := strings.Repeat(frame, 20_000)
	for framed, taken := range map[string]bool{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(frame), frame):                            true,
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(frame), frame): true,
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large):                            false,
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large): false,
		fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n\r\n%s", len(frame), frame):    false,
		"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + frame:                                        false,
		"Transfer-Encoding: identity\r\n\r\n" + frame:                                             false,
	} {
		c.Framed = framed
		conn, err := s.tr.Connect(s.ctx, c)
		var refused *Refusal
		switch {
		case !taken && (!errors.As(err, &refused) || refused.Status != http.StatusBadRequest):
			s.Errorf("%.50q: %v", framed, err)
		case taken && err != nil:
			s.Errorf("%.50q: %v", framed, err)
		case taken:
			s.until(conn, "connected")
		}
		if err == nil {
			conn.Close()
		}
	}
}

// subprotocols: the first that is offered is selected. What is no list of them is
// refused, before there is a WebSocket.
func subprotocols(s *stage) {
	c := s.caller()
	for _, good := range [][]string{{"v1"}, {"v1, v2"}, {"v1", "v2,v3"}, {"!#$%&'*+-.^_`|~"}, {"v1\t,\tV1"}} {
		c.Protocols = good
		conn, err := s.tr.Connect(s.ctx, c)
		if err != nil {
			s.Errorf("offered %q: %v", good, err)
			continue
		}
		s.until(conn, "connected")
		conn.Close()
	}
	for _, bad := range [][]string{{""}, {"v1, v1"}, {"v1", "v1"}, {"v1,"}, {"v1,,v2"}, {"v 1"}, {"v1;q=1"}, {`"v1"`}, {"v\xe9"}} {
		c.Protocols = bad
		conn, err := s.tr.Connect(s.ctx, c)
		var refused *Refusal
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			s.Errorf("offered %q: %v", bad, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}
