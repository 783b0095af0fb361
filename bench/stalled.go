package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Of all readers a tenth never reads, at a rate that fills their
// sockets within seconds: what do the others pay?
const (
	stalledRate  = 200
	stalledShare = 10
)

// runStalled measures the fan-out with and without readers that take nothing. The
// readers that do are as many in both cases.
func runStalled(ctx context.Context, set *settings) (outcome, error) {
	idle := set.readers / stalledShare
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
		r.Case = fmt.Sprintf("%d stalled", stalled)
		out.Rows = append(out.Rows, r)
	}
	return out, nil
}

// stalledCase opens the readers that stall, then measures the others.
func stalledCase(ctx context.Context, p *site, t target, set *settings, readers, stalled int) (row, error) {
	request, _ := t.reads(p, p.rooms[0].name)
	for range stalled {
		nc, err := neverRead(ctx, p.addr.String(), request)
		if err != nil {
			return row{}, err
		}
		defer func() { _ = nc.Close() }() //nolint:gocritic // all of them stay until the case is over
	}
	healthy := *set
	healthy.readers = readers
	return fanoutCase(ctx, p, t, &healthy, stalledRate)
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
