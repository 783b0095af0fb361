package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
)

// publisher hands committed events to the hub: it is the store's
// eventlog.Publisher. The store exists before the hub, which reads from it; what is
// committed in between (at start-up) nobody can have subscribed to.
type publisher struct {
	hub      atomic.Pointer[hub.Hub]
	appended func(n int)
}

// Publish implements eventlog.Publisher.
func (p *publisher) Publish(events []eventlog.Event) {
	p.appended(len(events))
	if h := p.hub.Load(); h != nil {
		h.Publish(events)
	}
}

// waitEnd returns when the job has its terminal event, when limit is over or
// when ctx ends.
func waitEnd(ctx context.Context, h *hub.Hub, client, job string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	woken := make(chan struct{}, 1)
	sub := h.Subscribe(client, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer sub.Close()
	if _, err := sub.Join(ctx, job, hub.Start{From: hub.FromNow}); err != nil {
		return err
	}
	for {
		items, more := sub.Next(nil, 64, 64<<10)
		for _, it := range items {
			if it.Mark != nil && it.Mark.Kind != hub.Started && it.Mark.Kind != hub.Live {
				return nil
			}
		}
		if more {
			continue
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return nil
		}
	}
}
