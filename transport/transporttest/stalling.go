package transporttest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// stalling: a reader that takes nothing costs little and is gone soon; nobody
// else notices.
func stalling() []scenario {
	return []scenario{
		{name: "stalled readers", alone: true, run: stalled},
		{name: "a stalled reader is gone", on: eventSource, run: stalledGone},
	}
}

const (
	stalledReaders = 40
	stallTime      = 10 * time.Second // after so long without a byte taken, a reader is gone
	// stallMemory bounds what all stalled readers together may hold: the tail
	// of 4 MiB, 64 KiB in flight and a bit more of rest for each, and slack. A
	// queue per reader would hold forty times the 6 MiB that are written.
	stallMemory = 32 << 20
	// stallAnswers is what they may hold on transports of many requests, beyond the tail and slack:
	// an answer that is not read is at most 1 MiB of events, which is a limit of
	// the contract and not of this test.
	stallAnswers = stalledReaders << 20
)

func stalled(s *stage) {
	w := s.log.Begin(s)
	id, secret := s.Key("acme", auth.KeyOptions{})
	before := heap()
	for range stalledReaders {
		if err := s.tr.Stall(s.ctx, Caller{Dial: s.Dial, Secret: secret}, Opening{Job: w.Job, Cursor: s.log.Head()}); err != nil {
			s.Fatal(err)
		}
	}
	s.settle(stallTime, "all readers are there", func() bool { return s.Live(id) == stalledReaders })
	healthy := s.open(Opening{Job: w.Job})
	got := s.events(healthy, 2)
	start := time.Now()
	for range 40 { // read as it is written, so that this reader never stalls
		w.EmitLarge(s, 20, 8<<10)
		got = append(got, s.events(healthy, 20)...)
	}
	Same(s, got, s.log.Entries(w.Job))
	allowed := int64(stallMemory)
	if s.tr.Requests {
		allowed = stallAnswers + 12<<20
	}
	if grown := heap() - before; grown > allowed {
		s.Errorf("%d stalled readers hold %d MiB", stalledReaders, grown>>20)
	}
	if !s.fake {
		return // nothing else runs meanwhile, so stalledGone does the waiting
	}
	s.settle(2*stallTime, "all stalled readers are gone", func() bool { return s.Live(id) == 0 })
	if took := time.Since(start); took > stallTime+time.Second {
		s.Errorf("they were gone after %v", took)
	}
	w.Emit(s, 1, 1)
	s.events(healthy, 1)
}

// stalledGone: a socket that takes no byte more is given up. Sockets are written in one
// place for all transports, so one is enough.
func stalledGone(s *stage) {
	w := s.log.Begin(s)
	if err := s.tr.Stall(s.ctx, s.caller(), Opening{Job: w.Job, Cursor: s.log.Head()}); err != nil {
		s.Fatal(err)
	}
	s.settle(stallTime, "the reader is there", func() bool { return s.Live(s.key) == 1 })
	w.EmitLarge(s, 1000, 8<<10) // more than the buffers of a system hold
	s.settle(2*stallTime, "the stalled reader is gone", func() bool { return s.Live(s.key) == 0 })
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// dial connects without a protocol; the connection is closed with the scenario.
func (s *stage) dial() net.Conn {
	s.Helper()
	nc, err := s.Dial(s.ctx)
	if err != nil {
		s.Fatalf("dial: %v", err)
	}
	s.Cleanup(func() { _ = nc.Close() })
	deadline, _ := s.ctx.Deadline()
	_ = nc.SetDeadline(deadline)
	return nc
}

func (s *stage) send(nc net.Conn, text string) {
	s.Helper()
	if _, err := fmt.Fprint(nc, text); err != nil {
		s.Fatalf("send: %v", err)
	}
}

// slow makes the buffer of a reader that takes nothing small, so that it is full
// soon.
func slow(nc net.Conn) {
	if t, ok := nc.(interface{ SetReadBuffer(bytes int) error }); ok {
		_ = t.SetReadBuffer(8 << 10)
	}
}

// stallHTTP sends a request of an events URL and never reads the answer. One that
// is whole in itself is waited for by the server.
func stallHTTP(accept string) func(context.Context, Caller, Opening) error {
	return func(ctx context.Context, c Caller, o Opening) error {
		path := Opening{Job: o.Job}.Path()
		if accept == mediaJSON {
			path += "?wait=60&lastEventId=" + o.Cursor
		}
		nc, err := c.Dial(ctx)
		if err != nil {
			return err
		}
		slow(nc)
		context.AfterFunc(ctx, func() { _ = nc.Close() })
		_, err = fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, accept, c.Secret)
		return err
	}
}

func stallSocket(ctx context.Context, c Caller, o Opening) error {
	s, err := DialSocket(ctx, c)
	if err != nil {
		return err
	}
	slow(s.nc)
	return s.Say("subscribe", map[string]any{"jobId": o.Job, "lastEventId": o.Cursor})
}

// stallIO takes nothing once it has what the room had.
func stallIO(how Via) func(context.Context, Caller, Opening) error {
	open := openIO(how)
	return func(ctx context.Context, c Caller, o Opening) error {
		r, err := open(ctx, c, o)
		for err == nil {
			var it Item
			if it, err = r.Next(); it.Name == "live" {
				return r.(*IO).stall()
			}
		}
		return err
	}
}
