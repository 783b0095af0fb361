package main

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
)

// feed carries committed events from the store to the hub: it is the store's
// jobs.Publisher. The store exists before the hub, which reads from it; what is
// committed in between (at start-up) nobody can have subscribed to.
type feed struct {
	hub      atomic.Pointer[hub.Hub]
	appended func(n int)
}

// Publish implements jobs.Publisher.
func (f *feed) Publish(events []jobs.Event) {
	f.appended(len(events))
	h := f.hub.Load()
	if h == nil {
		return
	}
	now := time.Now()
	out := hubEvents(events)
	for _, e := range out {
		e.At = now
	}
	h.Publish(out)
}

func hubEvent(e *jobs.Event) *hub.Event {
	h := &hub.Event{Client: e.Client, Job: e.JobID, Seq: e.Seq, ID: e.ID, JSON: e.FrameJSON()}
	switch {
	case e.Type == jobs.TypeProgress:
		h.Kind = hub.Progress
	case e.Type == jobs.TypeStarted || e.Type == jobs.TypeRetrying:
		h.Kind = hub.Boundary
	case e.Type.Terminal():
		h.Kind, h.Status = hub.Terminal, string(e.Type.Status())
	}
	return h
}

func hubEvents(events []jobs.Event) []*hub.Event {
	out := make([]*hub.Event, len(events))
	for i := range events {
		out[i] = hubEvent(&events[i])
	}
	return out
}

// history is the store as the hub reads it.
type history struct{ store jobs.Store }

// Open implements hub.History.
func (h history) Open(ctx context.Context, r hub.Room, at *hub.Cursor) (hub.Opened, error) {
	var cursor *jobs.Cursor
	if at != nil {
		cursor = &jobs.Cursor{Epoch: at.Epoch, Seq: at.Seq}
	}
	st, err := h.store.Open(ctx, jobs.Room(r), cursor)
	if err != nil {
		return hub.Opened{}, err
	}
	o := hub.Opened{
		Reason: string(st.Verdict), Head: st.Head, HeadID: st.HeadID,
		Oldest: st.Oldest, OldestID: st.OldID, End: st.EndSeq, BeforeEnd: st.BeforeEnd,
	}
	o.Whole, o.Events = st.Whole, hubEvents(st.Events)
	if st.Job != nil {
		o.Status = string(st.Job.Status)
		if o.Job, err = (jobs.Abridged{Job: *st.Job}).MarshalJSON(); err != nil {
			return hub.Opened{}, fmt.Errorf("encode job: %w", err)
		}
	}
	return o, nil
}

// Page implements hub.History.
func (h history) Page(ctx context.Context, r hub.Room, after uint64, maxEvents, maxBytes int) (hub.Page, error) {
	p, err := h.store.Page(ctx, jobs.Room(r), after, math.MaxInt64, maxEvents, maxBytes)
	if err != nil {
		return hub.Page{}, err
	}
	page := hub.Page{More: p.More, Pruned: p.Pruned, Gone: p.Gone, Events: hubEvents(p.Events)}
	if r.Job == "" && after < p.Pruned { // rare: say where the log begins now
		st, err := h.store.Open(ctx, jobs.Room(r), nil)
		if err != nil {
			return hub.Page{}, err
		}
		page.Pruned, page.OldID = st.Oldest, st.OldID
	}
	return page, nil
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
