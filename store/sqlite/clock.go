package sqlite

import "time"

// clock tells two times. The wall's is what people read and what runAt and the
// expiry of keys follow; it may be set forward and back. The steady one only says
// how long the process has run, from the wall's time at its start on; back-offs
// follow it.
type clock struct {
	wall  func() time.Time
	began time.Time // has a monotonic reading
	base  int64     // the wall's time then, Unix nanoseconds: so both turn to the next millisecond together
}

func newClock(wall func() time.Time) clock {
	if wall == nil {
		wall = time.Now
	}
	return clock{wall: wall, began: time.Now(), base: wall().UnixNano()}
}

// now returns the wall's time. Leases take time.Now instead: they live in memory,
// where its monotonic reading counts.
func (c clock) now() time.Time { return c.wall() }

// steady returns the steady time in milliseconds.
func (c clock) steady() int64 {
	return (c.base + time.Since(c.began).Nanoseconds()) / int64(time.Millisecond)
}
