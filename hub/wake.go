package hub

import (
	"math"
	"time"
)

// A room that was just woken waits before it is woken again, for somewhat longer than
// it takes to write to each of its readers, or for mostDelay. What is published
// meanwhile shares one write to each of them. Rooms of few readers do not wait, and
// one in which nothing happened for so long is woken at once.
const (
	delayPerReader = 14 * time.Microsecond
	leastDelay     = time.Millisecond
	mostDelay      = 100 * time.Millisecond
)

// fewReaders is how many readers of a room its publisher wakes itself.
const fewReaders = 4

// enqueue hands rooms that are marked dirty to wakeLoop.
func (h *Hub) enqueue(rooms ...*room) {
	if len(rooms) == 0 {
		return
	}
	h.wakeMu.Lock()
	h.dirty = append(h.dirty, rooms...)
	h.wakeCond.Signal()
	h.wakeMu.Unlock()
}

// wakeLoop wakes the subscriptions of rooms that got events. A room that gets
// many events while it waits here is woken once.
func (h *Hub) wakeLoop() {
	defer h.wg.Done()
	var rooms []*room
	var subs []*Subscription
	for {
		h.wakeMu.Lock()
		for len(h.dirty) == 0 && !h.stopped {
			h.wakeCond.Wait()
		}
		if h.stopped {
			h.wakeMu.Unlock()
			return
		}
		rooms, h.dirty = h.dirty, rooms[:0]
		h.wakeMu.Unlock()
		for i, r := range rooms {
			rooms[i] = nil
			if wait := r.delay(); wait > 0 {
				time.AfterFunc(wait, func() { h.enqueue(r) })
				continue
			}
			subs, _ = r.collect(subs[:0], math.MaxInt)
			wakeAll(subs)
		}
	}
}

// wakeFew wakes the rooms that have few readers, which costs less than telling wakeLoop
// to, and hands the others to wakeLoop.
func (h *Hub) wakeFew(rooms []*room) {
	var few [fewReaders]*Subscription
	rest := rooms[:0]
	for _, r := range rooms {
		if subs, ok := r.collect(few[:0], len(few)); ok {
			wakeAll(subs)
		} else {
			rest = append(rest, r)
		}
	}
	h.enqueue(rest...)
}

// collect appends the room's subscriptions to subs, which are to be woken now: the room is
// dirty no longer. It does nothing if there are more than most.
func (r *room) collect(subs []*Subscription, most int) (out []*Subscription, ok bool) {
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	if len(r.subs) > most {
		return subs, false
	}
	for _, m := range r.subs {
		subs = append(subs, m.sub)
	}
	r.begin(len(subs))
	r.dirty.Store(false)
	return subs, true
}

func wakeAll(subs []*Subscription) {
	for i, s := range subs {
		subs[i] = nil
		s.wake()
	}
}

// begin notes that n subscriptions are woken now.
func (r *room) begin(n int) {
	r.nextWake = nil
	if delay := time.Duration(n) * delayPerReader; delay >= leastDelay {
		at := time.Now().Add(min(delay, mostDelay))
		r.nextWake = &at
	}
}

// delay returns how long the room is not woken yet.
func (r *room) delay() time.Duration {
	if r.nextWake == nil {
		return 0
	}
	return time.Until(*r.nextWake)
}
