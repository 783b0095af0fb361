package hub

import (
	"context"

	"github.com/jobcast/jobcast/eventlog"
)

// pageRead is one read of the store on behalf of every subscription that asked
// for the same place before the read began.
type pageRead struct {
	key     pageKey
	waiting []*Subscription // guarded by Hub.readMu until the read begins
}

type pageKey struct {
	room  eventlog.Room
	after uint64
}

// pageCopy is what was read. Each subscription that waited has its own copy and
// consumes events from the front; the events are shared.
type pageCopy struct {
	key    pageKey
	events []*Event
	page   eventlog.Page // what else it says
	head   uint64        // the tail's newest seq before the read began: the page lacks nothing up to it
	err    error

	headID string // cursor at head, if the tail holds that event
	pos    uint64 // where the subscription stood when it asked
}

// fetch queues a read for s, or joins an equal one that has not begun.
func (h *Hub) fetch(s *Subscription, key pageKey) {
	h.readMu.Lock()
	p := h.pending[key]
	if p == nil {
		p = &pageRead{key: key}
		h.pending[key] = p
		h.reads = append(h.reads, p)
		h.readCond.Signal()
	}
	p.waiting = append(p.waiting, s)
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
		p := h.reads[0]
		h.reads[0] = nil
		h.reads = h.reads[1:]
		delete(h.pending, p.key)
		h.readMu.Unlock()
		h.readPage(p)
	}
}

func (h *Hub) readPage(p *pageRead) {
	l := pageCopy{key: p.key}
	l.head, l.headID = h.published(p.key.room.Client)
	l.page, l.err = h.log.Page(context.Background(), p.key.room, p.key.after, h.bounds.pageEvents, h.bounds.pageBytes)
	l.events, l.page.Events = newEvents(l.page.Events), nil
	for _, s := range p.waiting {
		s.deliver(l)
	}
}

// deliver hands over a page that s waits for, and wakes its reader.
func (s *Subscription) deliver(l pageCopy) {
	s.mu.Lock()
	l.pos = s.asked
	s.fetching, s.fetched = false, &l
	s.mu.Unlock()
	s.wake()
}

// page returns what was read of r after seq. If that is not here yet it is
// asked for, and nil is returned; wake follows.
func (s *Subscription) page(r eventlog.Room, after uint64) *pageCopy {
	if l := s.fetched; l != nil && l.key == (pageKey{r, after}) {
		return l
	}
	s.fetched, s.reading = nil, true
	if !s.fetching {
		s.fetching, s.asked = true, s.pos
		s.hub.fetch(s, pageKey{r, after})
	}
	return nil
}

// consumed moves the page on after events up to seq were taken from its front.
// It forgets the page once there is nothing left in it.
func (s *Subscription) consumed(l *pageCopy, n int, seq uint64) {
	l.events = l.events[n:]
	l.key.after = seq
	if len(l.events) == 0 {
		s.fetched = nil
	}
}
