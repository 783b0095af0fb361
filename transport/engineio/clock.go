package engineio

import (
	"container/heap"
	"sync"
	"time"
)

// clock calls sessions when their time has come. A timer for each costs 145 bytes, of
// some 4,000 that an idle connection has.
type clock struct {
	began time.Time

	mu    sync.Mutex // guards everything below, and when and at of the sessions
	due   agenda
	timer *time.Timer // for the first of due
}

func newClock() *clock {
	c := &clock{began: time.Now()}
	c.timer = time.AfterFunc(time.Hour, c.fire)
	c.timer.Stop()
	return c
}

// now returns how long the clock has been there. Setting the system's clock does not
// move it, and it needs less space than a time.Time.
func (c *clock) now() time.Duration { return time.Since(c.began) }

// set has the session's tick called at a time, and not at the one that was set before.
func (c *clock) set(s *Session, when time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.when = when
	if s.at == 0 {
		heap.Push(&c.due, s)
	} else {
		heap.Fix(&c.due, int(s.at-1))
	}
	c.wind()
}

// cancel undoes set.
func (c *clock) cancel(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.at != 0 {
		heap.Remove(&c.due, int(s.at-1))
		c.wind()
	}
}

// wind sets the timer. c.mu is held.
func (c *clock) wind() {
	if len(c.due) == 0 {
		c.timer.Stop()
		return
	}
	c.timer.Reset(max(c.due[0].when-c.now(), 0))
}

// fire calls those whose time has come, each by itself: none waits for another.
func (c *clock) fire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for now := c.now(); len(c.due) > 0 && c.due[0].when <= now; {
		go heap.Pop(&c.due).(*Session).tick()
	}
	c.wind()
}

// agenda is a heap of sessions, the one whose time comes first on top. Each knows its
// place.
type agenda []*Session

// Len implements heap.Interface.
func (a agenda) Len() int { return len(a) }

// Less implements heap.Interface.
func (a agenda) Less(i, k int) bool { return a[i].when < a[k].when }

// Swap implements heap.Interface.
func (a agenda) Swap(i, k int) {
	a[i], a[k] = a[k], a[i]
	a[i].at, a[k].at = int32(i+1), int32(k+1)
}

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	s := x.(*Session)
	*a = append(*a, s)
	s.at = int32(len(*a))
}

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	s := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	s.at = 0
	return s
}
