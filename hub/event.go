package hub

import (
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// Event is one committed event with its wire forms, shared by every subscription that
// reads it. All fields are set before it is given out and never change.
type Event struct {
	eventlog.Event
	At time.Time // when it was published; zero when it was read from the store

	frames frames
}

// newEvent makes what subscriptions share of a committed event.
func newEvent(e *eventlog.Event, at time.Time) *Event {
	shared := &Event{Event: *e, At: at, frames: make(frames, framings)}
	shared.JSON = e.FrameJSON()
	return shared
}

// newEvents does so for events that were read from the store.
func newEvents(events []eventlog.Event) []*Event {
	out := make([]*Event, len(events))
	for i := range events {
		out[i] = newEvent(&events[i], time.Time{})
	}
	return out
}

// Conflate keeps, of the progress events in a batch, only the newest of each
// job and attempt. Everything else stays, in order, and so do the events of
// jobs for which may (nil: all) says no. It reuses items.
func Conflate(items []Item, may func(job string) bool) []Item {
	newest := make(map[string]int) // job -> index of the newest progress of the attempt at hand
	drop := 0
	for i := range items {
		e := items[i].Event
		if e == nil {
			continue
		}
		switch {
		case e.Type == eventlog.TypeProgress: // superseded by a newer one of the same attempt
		case e.Type == eventlog.TypeStarted, e.Type == eventlog.TypeRetrying, e.Type.Terminal():
			delete(newest, e.JobID) // an attempt begins or ends
			continue
		default: // it stands beside the progress of its attempt
			continue
		}
		if j, ok := newest[e.JobID]; ok {
			items[j] = Item{}
			drop++
		}
		newest[e.JobID] = i
	}
	if drop == 0 {
		return items
	}
	kept := items[:0]
	for _, it := range items {
		if it.Event != nil || it.Mark != nil {
			kept = append(kept, it)
		}
	}
	return kept
}
