package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is a closed loop: each worker begins its next step when the last one has
// ended. It ends after span, or when limit steps were begun, whichever is first.
type crowd struct {
	workers int
	span    time.Duration
	limit   int
}

// load is what a crowd did.
type load struct {
	steps   int
	took    time.Duration // from the start to the end of the last step
	latency histogram     // of steps
}

// rate returns steps per second.
func (l *load) rate() float64 { return perSecond(float64(l.steps), l.took) }

func perSecond(n float64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return n / took.Seconds()
}

// run lets the crowd take its steps. The first error ends it, as ctx does.
func (c crowd) run(ctx context.Context, step func(ctx context.Context, worker int) error) (*load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var begun atomic.Int64
	loads := make([]load, c.workers)
	start := time.Now()
	var workers sync.WaitGroup
	for w := range c.workers {
		workers.Go(func() {
			for ctx.Err() == nil && time.Since(start) < c.span && begun.Add(1) <= int64(c.limit) {
				at := time.Now()
				if err := step(ctx, w); err != nil {
					cancel(err)
					return
				}
				loads[w].latency.add(time.Since(at))
				loads[w].steps++
			}
		})
	}
	workers.Wait()
	all := &load{took: time.Since(start)}
	for w := range loads {
		all.steps += loads[w].steps
		all.latency.merge(&loads[w].latency)
	}
	if err := context.Cause(ctx); err != nil {
		return all, err
	}
	if all.steps == 0 {
		return all, errors.New("not one step was taken in time")
	}
	return all, nil
}
