package hub

import (
	"context"

	"github.com/jobcast/jobcast/eventlog"
)

// flight is one read of the store on behalf of every subscription that asked
// for the same place before the read began.
type flight struct {
	key     flightKey
	waiting []*Subscription // guarded by Hub.readMu until the flight takes off
}

type flightKey struct {
	room  eventlog.Room
	after uint64
}

// landed is a flight's outcome. Each subscription that waited has its own copy
// and consumes events from the front; the events are shared.
type landed struct {
	key    flightKey
	events []*Event
	page   eventlog.Page // what else it says
	head   uint64        // the tail's newest seq before the read began: the page lacks nothing up to it
	err    error

	headID string // cursor at head, if the tail holds that event
	pos    uint64 // where the subscription stood when it asked
}

// fetch queues a read for s, or joins an equal one that has not begun.
func (h *Hub) fetch(s *Subscription, key flightKey) {
	h.readMu.Lock()
	f := h.flights[key]
	if f == nil {
		f = &flight{key: key}
		h.flights[key] = f
		h.reads = append(h.reads, f)
		h.readCond.Signal()
	}
	f.waiting = append(f.waiting, s)
	h.readMu.Unlock()
}

// readLoop is one of the few goroutines that read history for subscriptions.
func (h *Hub) readLoop() {
	defer h.wg.Done()
	for {
		h.readMu.Lock()
		for len(h.reads) == 0 && !h.closed {
			h.readCond.Wait()
		}
		if h.closed {
			h.readMu.Unlock()
			return
		}
		f := h.reads[0]
		h.reads[0] = nil
		h.reads = h.reads[1:]
		delete(h.flights, f.key)
		h.readMu.Unlock()
		h.land(f)
	}
}

func (h *Hub) land(f *flight) {
	l := landed{key: f.key}
	l.head, l.headID = h.published(f.key.room.Client)
	l.page, l.err = h.log.Page(context.Background(), f.key.room, f.key.after, h.bounds.pageEvents, h.bounds.pageBytes)
	l.events, l.page.Events = newEvents(l.page.Events), nil
	for _, s := range f.waiting {
		s.deliver(l)
	}
}

// deliver hands over a page that s waits for, and wakes its reader.
func (s *Subscription) deliver(l landed) {
	s.mu.Lock()
	l.pos = s.asked
	s.fetching, s.landed = false, &l
	s.mu.Unlock()
	s.wake()
}

// page returns what was read of r after seq. If that is not here yet it is
// asked for, and nil is returned; wake follows.
func (s *Subscription) page(r eventlog.Room, after uint64) *landed {
	if l := s.landed; l != nil && l.key == (flightKey{r, after}) {
		return l
	}
	s.landed, s.reading = nil, true
	if !s.fetching {
		s.fetching, s.asked = true, s.pos
		s.hub.fetch(s, flightKey{r, after})
	}
	return nil
}

// consumed moves the page on after events up to seq were taken from its front.
// It forgets the page once there is nothing left in it.
func (s *Subscription) consumed(l *landed, n int, seq uint64) {
	l.events = l.events[n:]
	l.key.after = seq
	if len(l.events) == 0 {
		s.landed = nil
	}
}
