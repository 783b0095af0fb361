package hub

import "context"

// Cursor is a parsed place in a log; how it is written is the caller's affair.
type Cursor struct {
	Epoch string
	Seq   uint64
	Text  string // as written
}

// History is the committed log as the hub reads it. Each method is one read
// transaction. Implementations are safe for concurrent use.
type History interface {
	// Open judges the cursor at (nil: none) and tells how the room stands.
	Open(ctx context.Context, r Room, at *Cursor) (Opened, error)
	// Page reads events with seq > after, in order, at most maxEvents and
	// maxBytes, but at least one if there is any.
	Page(ctx context.Context, r Room, after uint64, maxEvents, maxBytes int) (Page, error)
}

// Opened is how a room stands at one moment.
type Opened struct {
	Reason   string // why the cursor cannot be continued from; empty: it can
	Head     uint64 // newest seq of the client's log
	HeadID   string
	Oldest   uint64 // the position before the room's oldest kept event
	OldestID string
	Job      []byte // job rooms: the Job object as JSON
	Status   string // job rooms: the job's status
	End      uint64 // job rooms: seq of the terminal event, 0 while there is none

	BeforeEnd string // job rooms: the cursor right before the terminal event

	// Job rooms: all events up to Head after the cursor if that is valid, else
	// after Oldest, if Whole. Few are worth it: that saves a Page.
	Events []*Event
	Whole  bool
}

// Page is a stretch of history.
type Page struct {
	Events []*Event
	More   bool   // there is more after the last event
	Pruned uint64 // client rooms: the highest seq deleted by retention
	OldID  string // client rooms: cursor at Pruned, set if after < Pruned
	Gone   bool   // job rooms: the job was deleted
}

// flight is one read of the store on behalf of every subscription that asked
// for the same place before the read began.
type flight struct {
	key     flightKey
	waiting []*Subscription // guarded by Hub.readMu until the flight takes off
}

type flightKey struct {
	room  Room
	after uint64
}

// landed is a flight's outcome. Each subscription that waited has its own copy
// and consumes page.Events from the front; the events are shared.
type landed struct {
	key  flightKey
	page Page
	head uint64 // the tail's newest seq before the read began: the page lacks nothing up to it
	err  error

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
	l.page, l.err = h.history.Page(context.Background(), f.key.room, f.key.after, h.bounds.pageEvents, h.bounds.pageBytes)
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
func (s *Subscription) page(r Room, after uint64) *landed {
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
	l.page.Events = l.page.Events[n:]
	l.key.after = seq
	if len(l.page.Events) == 0 {
		s.landed = nil
	}
}
