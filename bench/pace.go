package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	// appenders is how many appends may wait for their commit at once: enough
	// that a rate is missed only if the server cannot hold it.
	appenders = 128

	// maxOrder bounds the events of one order, as the settings' bounds do.
	maxOrder = 12_000_000

	// padding makes an event's JSON about 270 bytes, an ordinary progress event.
	padding = 54
)

// appendAtRate appends n events to the lease's job, rate a second: event i is
// begun i/rate after the first, or as soon as an appender is free. It returns
// when all are committed.
func appendAtRate(ctx context.Context, service *jobs.Service, l jobs.Lease, n, rate int) (published, error) {
	if n < 1 || n > maxOrder || rate < 1 || rate > maxRate {
		return published{}, fmt.Errorf("cannot append %d events at %d a second", n, rate)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tickets := make(chan struct{})
	results := make([]appended, appenders)
	var workers sync.WaitGroup
	start := time.Now()
	for i := range results {
		workers.Go(func() {
			if err := results[i].run(ctx, service, l, tickets); err != nil {
				cancel(err)
			}
		})
	}
	pace(ctx, start, n, rate, tickets)
	close(tickets)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return published{}, err
	}
	all := &results[0]
	for i := range results[1:] {
		o := &results[i+1]
		all.latency.merge(&o.latency)
		all.last = max(all.last, o.last)
		if o.end.After(all.end) {
			all.end = o.end
		}
	}
	return published{
		Last: all.last, TookMs: millis(all.end.Sub(start)),
		AppendP50: millis(all.latency.quantile(0.5)), AppendP99: millis(all.latency.quantile(0.99)),
	}, nil
}

// pace hands out n tickets on time.
func pace(ctx context.Context, start time.Time, n, rate int, tickets chan<- struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		due := start.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		select {
		case tickets <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// appended is what one appender did.
type appended struct {
	latency histogram
	last    uint64    // number of its newest event
	end     time.Time // when that was acknowledged
}

// run appends one event for each ticket.
func (a *appended) run(ctx context.Context, service *jobs.Service, l jobs.Lease, tickets <-chan struct{}) error {
	half, pad := 50.0, strings.Repeat(".", padding)
	for range tickets {
		at := time.Now()
		receipt, err := service.Progress(ctx, l, []jobs.Report{{
			Progress: &half, Message: fmt.Sprintf("%d %s", at.UnixNano(), pad), Step: "bench",
		}})
		if err != nil {
			return fmt.Errorf("append event: %w", err)
		}
		a.end = time.Now()
		a.latency.add(a.end.Sub(at))
		a.last = max(a.last, seqOf([]byte(receipt.LastEventID)))
	}
	return nil
}
