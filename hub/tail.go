package hub

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// tail is the newest part of one client's log. It exists while the client has
// a joined room.
type tail struct {
	client string
	bounds bounds

	// generation names the history that the tail is a part of, among all tails. It
	// changes under mu when that turns out not to be the log's any more.
	generation atomic.Uint64

	mu     sync.Mutex // guards everything below
	epoch  string     // of the newest event; empty: nothing is known of the log
	base   uint64     // seq before the oldest event held; 0 while nothing is known
	baseID string     // cursor at base; it may be empty while events are held
	events []*Event   // contiguous: events[i].Seq == base+1+i
	bytes  int
	gap    *gap             // what lies beyond the head and is not here; nil: nothing is known to
	rooms  map[string]*room // by job; "" is the client room
	dead   bool             // the last room has left; a new tail must be made

	stored   uint64 // newest seq that was seen in the store, in this generation
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
	nextWake *time.Time  // when it may be woken again; nil: now; of whoever has made or found it dirty
}

// head returns the seq that the tail reaches up to, 0 if nothing is known.
func (t *tail) head() uint64 { return t.base + uint64(len(t.events)) }

// headID returns the cursor at head, empty if nothing is known.
func (t *tail) headID() string {
	if n := len(t.events); n > 0 {
		return t.events[n-1].ID
	}
	return t.baseID
}

// seen returns how much of the log was seen, here or in the store, and the cursor there.
func (t *tail) seen() (seq uint64, id string) {
	if head := t.head(); head >= t.stored {
		return head, t.headID()
	}
	return t.stored, t.storedID
}

// note keeps how far the log reaches in the store.
func (t *tail) note(seq uint64, id string) {
	if seq > t.stored {
		t.stored, t.storedID = seq, id
	}
}

// newest returns the cursor of the newest event that is known of; empty: none is.
func (t *tail) newest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq, id := t.seen()
	switch g := t.gap; {
	case t.dead, g != nil && g.unsure:
		return ""
	case g != nil && g.told.Seq > seq:
		return g.told.String()
	}
	return id
}

// gone returns the seq up to which events of the room may have left the tail.
func (r *room) gone() uint64 {
	if r.job == "" {
		return r.tail.base
	}
	return r.off
}

// covers reports whether the tail holds every event of the room after seq.
func (r *room) covers(seq uint64) bool { return r.tail.epoch != "" && r.gone() <= seq }

// append adds the event after the head and collects the rooms that want it.
func (t *tail) append(e *Event, touched []*room) []*room {
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

// touchAll collects all rooms.
func (t *tail) touchAll(touched []*room) []*room {
	for _, r := range t.rooms {
		touched = r.touch(touched)
	}
	return touched
}

// begin makes the tail hold nothing, and begin after a place in the log. id is the
// cursor there, empty if it is not known.
func (t *tail) begin(at eventlog.Cursor, id string) {
	t.epoch, t.base, t.baseID = at.Epoch, at.Seq, id
	t.events, t.bytes = nil, 0
	for _, r := range t.rooms {
		r.seqs, r.off = nil, at.Seq
	}
}

// evict drops the oldest event.
func (t *tail) evict() {
	e := t.events[0]
	t.events[0] = nil
	t.events = t.events[1:]
	t.bytes -= len(e.JSON)
	t.base, t.baseID = e.Seq, e.ID
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
