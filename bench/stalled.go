package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Of all readers a fifth never reads: what do the others pay, and what memory do
// they take?
const (
	stalledRate  = 200
	stalledShare = 5
	fillEvents   = 2000             // more than a socket that is not read from holds
	cutTime      = 30 * time.Second // who takes nothing is cut within this
	watchEvery   = 50 * time.Millisecond
)

// runStalled measures the fan-out with and without readers that take nothing. The
// readers that do are as many in both cases.
func runStalled(ctx context.Context, set *settings) (outcome, error) {
	idle := max(set.readers/stalledShare, 1)
	out := outcome{Scenario: "stalled", Title: fmt.Sprintf("%d SSE readers that read beside %d that do not, %d events/s",
		set.readers-idle, idle, stalledRate)}
	t := targets()[0]
	for _, stalled := range []int{0, idle} {
		r, err := withSite(ctx, set, t, 1, func(p *site) (row, error) {
			return stalledCase(ctx, p, t, set, set.readers-idle, stalled)
		})
		if err != nil {
			return out, fmt.Errorf("%d stalled: %w", stalled, err)
		}
		out.Rows = append(out.Rows, r)
	}
	return out, nil
}

// stalledCase opens the readers that stall, measures the others, then fills the
// sockets of those that stall and waits until they are cut.
func stalledCase(ctx context.Context, p *site, t target, set *settings, readers, stalled int) (r row, err error) {
	alone, err := warmUp(ctx, p, t)
	if err != nil {
		return r, err
	}
	request, _ := t.reads(p, p.rooms[0].name, nil)
	for range stalled {
		nc, err := neverRead(ctx, p.addr.String(), request)
		if err != nil {
			return r, err
		}
		defer func() { _ = nc.Close() }() //nolint:gocritic // all of them stay until the case is over
	}
	s, err := p.join(ctx, t, readers, set.rest)
	if err != nil {
		return r, err
	}
	defer s.Close()
	before, err := p.usage()
	if err != nil {
		return r, err
	}
	peak := p.watchMemory()
	r, err = p.stream(ctx, set, t, s, alone, paced(stalledRate))
	var pub *published
	if err == nil {
		pub, err = p.deliver(ctx, s, posting{events: fillEvents, span: maxSpan, workers: publishers})
	}
	if err == nil {
		err = p.waitCut(ctx, s, set.rest)
	}
	most := peak()
	if err != nil {
		return r, err
	}
	after, err := p.usage()
	if err != nil {
		return r, err
	}
	r.Case = fmt.Sprintf("%d stalled", stalled)
	r.add("RSS before", "MB", float64(before.rss)/1e6)
	r.add("RSS peak", "MB", float64(most)/1e6)
	r.add("RSS after", "MB", float64(after.rss)/1e6)
	r.zero("lost in all", s.lost+s.missing(pub.last))
	r.zero("doubled in all", s.doubled)
	return r, nil
}

// waitCut waits until the server has no readers but those of w, and rest longer.
func (s *site) waitCut(ctx context.Context, w *swarm, rest time.Duration) error {
	var cut time.Time
	var fault error
	next := time.Now()
	err := w.until(time.Now().Add(cutTime+rest), func() bool {
		if now := time.Now(); cut.IsZero() && now.After(next) {
			next = now.Add(watchEvery)
			var live []float64
			live, fault = s.metrics(ctx, `jobcast_connections{transport="sse"}`)
			if fault == nil && int(live[0]) <= len(w.readers)-w.gone {
				cut = now
			}
		}
		return fault != nil || !cut.IsZero() && time.Since(cut) >= rest
	})
	return errors.Join(fault, err)
}

// watchMemory looks at the server's resident memory until the function is called
// that it returns, which returns the most that was seen.
func (p *process) watchMemory() func() int64 {
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for tick := time.NewTicker(watchEvery); ; {
			if u, err := p.usage(); err == nil {
				most = max(most, u.rss)
			}
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				result <- most
				return
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-result
	}
}

// neverRead asks for the events and takes none. Its small receive buffer is full
// soon.
func neverRead(ctx context.Context, addr string, request []byte) (net.Conn, error) {
	nc, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect a stalled reader: %w", err)
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(8 << 10) // only makes it stall sooner
	}
	if _, err := nc.Write(request); err != nil {
		return nil, fmt.Errorf("ask as a stalled reader: %w", err)
	}
	return nc, nil
}
