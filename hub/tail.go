package hub

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// tail is the newest part of one client's log. It exists while the client has
// a joined room.
type tail struct {
	client string
	bounds bounds

	mu     sync.Mutex // guards everything below
	known  bool       // something was published since the tail exists
	base   uint64     // seq before the oldest event held; 0 until known
	events []*Event   // contiguous: events[i].Seq == base+1+i
	bytes  int
	rooms  map[string]*room // by job; "" is the client room
	dead   bool             // the last room has left; a new tail must be made

	stored   uint64 // newest seq that the store told of while the tail exists
	storedID string
}

// room is what the hub holds of one watched room.
type room struct {
	tail *tail
	job  string

	// Guarded by tail.mu.
	off  uint64   // job rooms: events of this room at or below off may be missing from seqs
	seqs []uint64 // job rooms: the room's events that the tail holds
	subs []*member

	dirty    atomic.Bool // queued for waking, or waiting before it
	nextWake *time.Time  // when it may be woken again; nil: now; of wakeLoop
}

// head returns the newest seq that was published, 0 if nothing was.
func (t *tail) head() uint64 { return t.base + uint64(len(t.events)) }

// newest returns the cursor of the newest event that is known; empty: none is.
func (t *tail) newest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.dead:
		return ""
	case len(t.events) > 0 && t.head() >= t.stored:
		return t.at(t.head()).ID
	case t.head() > t.stored:
		return "" // it was too large to be held
	}
	return t.storedID
}

// note keeps what the store told.
func (t *tail) note(seq uint64, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.stored {
		t.stored, t.storedID = seq, id
	}
}

// gone returns the seq up to which events of the room may have left the tail.
func (r *room) gone() uint64 {
	if r.job == "" {
		return r.tail.base
	}
	return r.off
}

// covers reports whether the tail holds every event of the room after seq.
func (r *room) covers(seq uint64) bool { return r.tail.known && r.gone() <= seq }

// append adds one event and collects the rooms that want it.
func (t *tail) append(e *Event, touched []*room) []*room {
	if !t.known {
		t.known = true
		t.lose(e.Seq - 1)
	} else if e.Seq != t.head()+1 {
		t.lose(e.Seq - 1)
	}
	t.events = append(t.events, e)
	t.bytes += len(e.JSON)
	if r := t.rooms[e.JobID]; r != nil {
		r.seqs = append(r.seqs, e.Seq)
		touched = r.touch(touched)
	}
	if r := t.rooms[""]; r != nil {
		touched = r.touch(touched)
	}
	for len(t.events) > t.bounds.tailEvents || t.bytes > t.bounds.tailBytes {
		t.evict()
	}
	return touched
}

func (r *room) touch(touched []*room) []*room {
	if r.dirty.CompareAndSwap(false, true) {
		touched = append(touched, r)
	}
	return touched
}

// lose makes the tail begin after base: at its first event, or because what it
// held does not reach up to base without a hole.
func (t *tail) lose(base uint64) {
	t.events, t.bytes, t.base = nil, 0, base
	for _, r := range t.rooms {
		r.seqs, r.off = nil, base
	}
}

// evict drops the oldest event.
func (t *tail) evict() {
	e := t.events[0]
	t.events[0] = nil
	t.events = t.events[1:]
	t.bytes -= len(e.JSON)
	t.base = e.Seq
	if r := t.rooms[e.JobID]; r != nil && e.JobID != "" && len(r.seqs) > 0 && r.seqs[0] == e.Seq {
		r.seqs = r.seqs[1:]
		r.off = e.Seq
	}
}

// at returns the event numbered seq, which the tail must hold.
func (t *tail) at(seq uint64) *Event { return t.events[seq-t.base-1] }

// take appends the room's events in (after, upTo] to dst while b allows. The
// tail must cover after.
func (r *room) take(dst []Item, after, upTo uint64, b *budget) []Item {
	t := r.tail
	upTo = min(upTo, t.head())
	if r.job == "" {
		for seq := max(after, t.base) + 1; seq <= upTo && b.left(); seq++ {
			dst = b.add(dst, t.at(seq))
		}
		return dst
	}
	i := sort.Search(len(r.seqs), func(i int) bool { return r.seqs[i] > after })
	for ; i < len(r.seqs) && r.seqs[i] <= upTo && b.left(); i++ {
		dst = b.add(dst, t.at(r.seqs[i]))
	}
	return dst
}

// budget bounds one batch. At least one event always fits.
type budget struct{ events, bytes int }

func (b *budget) left() bool { return b.events > 0 && b.bytes > 0 }

func (b *budget) add(dst []Item, e *Event) []Item {
	b.events--
	b.bytes -= len(e.JSON)
	return append(dst, Item{Event: e})
}
