package hub

import "time"

// A room that was just woken waits before it is woken again, for somewhat longer than
// it takes to write to each of its readers, or for mostDelay. What is published
// meanwhile shares one write to each of them. Rooms of few readers do not wait, and
// one in which nothing happened for so long is woken at once.
const (
	delayPerReader = 16 * time.Microsecond
	leastDelay     = time.Millisecond
	mostDelay      = 100 * time.Millisecond
)

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
			r.dirty.Store(false)
			r.tail.mu.Lock()
			subs = subs[:0]
			for _, m := range r.subs {
				subs = append(subs, m.sub)
			}
			r.tail.mu.Unlock()
			r.begin(len(subs))
			for j, s := range subs {
				subs[j] = nil
				s.wake()
			}
		}
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
