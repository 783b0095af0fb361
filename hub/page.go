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
	err    error

	before tailMark // of the time before the read began: the page lacks nothing up to it
	pos    uint64   // where the subscription stood when it asked
}

// tailMark is how much was seen of a log at one moment.
type tailMark struct {
	generation uint64 // of the tail
	seq        uint64
	id         string // cursor at seq
}

// mark returns how much was seen until now.
func (t *tail) mark() tailMark {
	seq, id := t.seen()
	return tailMark{t.generation.Load(), seq, id}
}

// fetch queues a read for s, or joins an equal one that has not begun.
func (h *Hub) fetch(s *Subscription, key pageKey) {
	h.readMu.Lock()
	defer h.readMu.Unlock()
	p := h.pending[key]
	if p == nil {
		p = &pageRead{key: key}
		h.pending[key] = p
		h.reads = append(h.reads, func() { h.readPage(p) })
		h.readCond.Signal()
	}
	p.waiting = append(p.waiting, s)
}

// queueReads has functions called by the goroutines that read the store.
func (h *Hub) queueReads(reads ...func()) {
	h.readMu.Lock()
	h.reads = append(h.reads, reads...)
	h.readCond.Broadcast()
	h.readMu.Unlock()
}

// readLoop is one of the few goroutines that read the store for subscriptions and tails.
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
		read := h.reads[0]
		h.reads[0] = nil
		h.reads = h.reads[1:]
		h.readMu.Unlock()
		read()
	}
}

func (h *Hub) readPage(p *pageRead) {
	h.readMu.Lock()
	delete(h.pending, p.key)
	h.readMu.Unlock()
	c := pageCopy{key: p.key}
	t := h.lookup(p.key.room.Client)
	if t != nil {
		t.mu.Lock()
		c.before = t.mark()
		t.mu.Unlock()
	}
	c.page, c.err = h.log.Page(context.Background(), p.key.room, p.key.after, h.bounds.pageEvents, h.bounds.pageBytes)
	if t != nil && c.err == nil && !c.page.Gone {
		h.agrees(t, c.before, c.page.HeadID)
		if t.wait(func() { h.readPage(p) }) { // the page may come from another history than the tail
			return
		}
	}
	c.events, c.page.Events = newEvents(c.page.Events), nil
	for _, s := range p.waiting {
		s.deliver(c)
	}
}

// deliver hands over a page that s waits for, and wakes its reader.
func (s *Subscription) deliver(c pageCopy) {
	s.mu.Lock()
	c.pos = s.asked
	s.fetching, s.fetched = false, &c
	s.mu.Unlock()
	s.wake()
}

// page returns what was read of r after seq. If that is not here yet it is
// asked for, and nil is returned; wake follows.
func (s *Subscription) page(r eventlog.Room, after uint64) *pageCopy {
	if c := s.fetched; c != nil && c.key == (pageKey{r, after}) && c.before.generation == s.generation {
		return c
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
func (s *Subscription) consumed(c *pageCopy, n int, seq uint64) {
	c.events = c.events[n:]
	c.key.after = seq
	if len(c.events) == 0 {
		s.fetched = nil
	}
}
