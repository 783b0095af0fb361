package hub

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

// logs are the logs of several clients.
type logs map[string]*memory

func (l logs) Open(ctx context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	return l[r.Client].Open(ctx, r, at)
}

func (l logs) Tail(ctx context.Context, r eventlog.Room, n int) (eventlog.Cursor, error) {
	return l[r.Client].Tail(ctx, r, n)
}

func (l logs) Page(ctx context.Context, r eventlog.Room, after uint64, maxEvents, maxBytes int) (eventlog.Page, error) {
	return l[r.Client].Page(ctx, r, after, maxEvents, maxBytes)
}

// TestSeveralPublishers: clients whose events are published at the same time each get
// their own, all of them and in order, while rooms come and go.
func TestSeveralPublishers(t *testing.T) {
	const events = 300
	all := logs{}
	for n := range 4 {
		all[fmt.Sprint("client-", n)] = &memory{gone: map[string]bool{}}
	}
	h := New(all)
	defer h.Close()
	var running sync.WaitGroup
	for name, log := range all {
		woken := make(chan struct{}, 1)
		r := &reader{woken: woken, sub: h.Subscribe(name, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})}
		join(t, r, "", Start{From: FromStart})
		running.Go(func() {
			for range events {
				e := log.commit("a", eventlog.TypeLog)
				e.Client = name
				h.Publish([]eventlog.Event{e})
			}
		})
		running.Go(func() { // tails are made and dropped meanwhile
			for range events / 3 {
				other := h.Subscribe(name, func() {})
				if _, err := other.Join(t.Context(), "", Start{From: FromNow}); err != nil {
					t.Error(err)
				}
				other.Close()
			}
		})
		running.Go(func() {
			seen := uint64(0)
			for _, it := range r.until(t, func(it Item) bool { return it.Event != nil && it.Event.Seq == events }) {
				if it.Event == nil {
					continue
				}
				if seen++; it.Event.Seq != seen {
					t.Errorf("%s: event %d comes where %d is next", name, it.Event.Seq, seen)
					return
				}
			}
			r.sub.Close()
		})
	}
	running.Wait()
}
