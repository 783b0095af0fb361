package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// readers is how many goroutines read history for catching-up subscriptions:
// as many as the store has read connections.
const readers = 4

// Hub fans committed events out to subscriptions. All methods are safe for
// concurrent use.
type Hub struct {
	log    eventlog.Reader
	bounds bounds

	mu    sync.RWMutex // guards tails
	tails map[string]*tail

	wakeMu   sync.Mutex // guards dirty, stopped
	wakeCond *sync.Cond
	dirty    []*room
	stopped  bool

	generations atomic.Uint64 // how many were given to tails

	readMu   sync.Mutex // guards reads, pending, closed
	readCond *sync.Cond
	reads    []func()
	pending  map[pageKey]*pageRead
	closed   bool

	wg sync.WaitGroup
}

// bounds of memory, per client and per read.
type bounds struct {
	tailEvents, tailBytes int // one client's tail; a reader further behind reads the store
	pageEvents, pageBytes int // one read of the store, and so what a catching-up reader holds
}

// defaultBounds is never written to.
var defaultBounds = bounds{tailEvents: 4096, tailBytes: 4 << 20, pageEvents: 1000, pageBytes: 256 << 10}

// New starts a hub that reads history from log. Close it to stop its goroutines.
func New(log eventlog.Reader) *Hub {
	h := &Hub{log: log, bounds: defaultBounds, tails: make(map[string]*tail), pending: make(map[pageKey]*pageRead)}
	h.wakeCond = sync.NewCond(&h.wakeMu)
	h.readCond = sync.NewCond(&h.readMu)
	h.wg.Add(1 + readers)
	go h.wakeLoop()
	for range readers {
		go h.readLoop()
	}
	return h
}

// Close stops the hub's goroutines and waits for them. Subscriptions get
// nothing more; they must still be closed by their owners.
func (h *Hub) Close() {
	h.wakeMu.Lock()
	h.stopped = true
	h.wakeCond.Broadcast()
	h.wakeMu.Unlock()
	h.readMu.Lock()
	h.closed = true
	h.readCond.Broadcast()
	h.readMu.Unlock()
	h.wg.Wait()
}

// Append appends committed events to their tails. Who wants them is woken by calling what
// it returns; nil: nobody is to be. Any number of publishers may call it at once, about the same
// client too: the package comment says what becomes of an event that is not the next one.
// It never blocks on a reader or the store, and its time does not grow with the number
// of subscriptions, nor does that of the waking: rooms with more than a few readers are
// woken by another goroutine.
func (h *Hub) Append(events []eventlog.Event) (wake func()) {
	now := time.Now()
	var touched []*room
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Client == events[0].Client {
			n++
		}
		if t := h.lookup(events[0].Client); t != nil {
			t.mu.Lock()
			for i := 0; i < n && !t.dead; i++ {
				if e := &events[i]; t.next(e) {
					touched = t.append(newEvent(e, now), touched)
				} else {
					touched = h.outOfOrder(t, e, now, touched)
				}
			}
			if t.gap != nil {
				touched = t.settle(touched)
			}
			t.mu.Unlock()
		}
		events = events[n:]
	}
	if len(touched) == 0 {
		return nil
	}
	return func() { h.wakeFew(touched) }
}

func (h *Hub) lookup(client string) *tail {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.tails[client]
}

// enter registers m with a room, making the room and the tail if needed.
func (h *Hub) enter(m *member, name eventlog.Room) {
	for {
		t := h.tailOf(name.Client)
		t.mu.Lock()
		if t.dead { // lost a race with the last room's leaving; the map has or gets a new one
			t.mu.Unlock()
			continue
		}
		r := t.rooms[name.Job]
		if r == nil {
			r = &room{tail: t, job: name.Job, off: t.head()}
			t.rooms[name.Job] = r
		}
		m.room, m.index = r, len(r.subs)
		m.before = t.mark()
		r.subs = append(r.subs, m)
		t.mu.Unlock()
		return
	}
}

func (h *Hub) tailOf(client string) *tail {
	if t := h.lookup(client); t != nil {
		return t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tails[client]
	if t == nil {
		t = &tail{client: client, bounds: h.bounds, rooms: make(map[string]*room)}
		t.generation.Store(h.generations.Add(1))
		h.tails[client] = t
	}
	return t
}

// exit is the reverse of enter; the last one out removes room and tail.
func (h *Hub) exit(m *member) {
	r, t := m.room, m.room.tail
	h.mu.Lock()
	defer h.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(r.subs) - 1
	r.subs[m.index] = r.subs[last]
	r.subs[m.index].index = m.index
	r.subs[last] = nil
	r.subs = r.subs[:last]
	if last > 0 {
		return
	}
	delete(t.rooms, r.job)
	if len(t.rooms) == 0 {
		t.dead = true
		t.closeGap()
		delete(h.tails, t.client)
	}
}
