package hub

import (
	"sync/atomic"
	"time"
)

// Room names what can be watched: one job, or (Job empty) a client's whole log.
type Room struct{ Client, Job string }

// Kind is what the hub needs to know of an event's type.
type Kind uint8

// The kinds of events.
const (
	Other    Kind = iota
	Progress      // superseded by a newer one of the same job and attempt
	Boundary      // an attempt begins or ends
	Terminal      // the last event of its job
)

// Framings is how many wire forms of an event can be kept beside it. Each
// transport owns one slot, assigned by the transport package.
const Framings = 4

// Event is one committed event, shared by every subscription that reads it.
// All fields are set before it is published and never change.
type Event struct {
	Client string
	Job    string
	Seq    uint64
	ID     string // cursor of this event
	Kind   Kind
	Status string    // the job's final status, only on a Terminal event
	JSON   []byte    // as on the wire: compact, one line
	At     time.Time // when it was published; zero when it was read from the store

	frames [Framings]atomic.Pointer[[]byte]
}

// Frame returns the event's wire form of one transport, building it on first
// use. Two callers may race to build; both results are equal and one is kept.
// The bytes are shared and must not be changed.
func (e *Event) Frame(slot int, build func(*Event) []byte) []byte {
	if f := e.frames[slot].Load(); f != nil {
		return *f
	}
	f := build(e)
	e.frames[slot].Store(&f)
	return f
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
		switch e.Kind {
		case Other: // stands beside the progress of its attempt
			continue
		case Boundary, Terminal:
			delete(newest, e.Job)
			continue
		}
		if j, ok := newest[e.Job]; ok {
			items[j] = Item{}
			drop++
		}
		newest[e.Job] = i
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
