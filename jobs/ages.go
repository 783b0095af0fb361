package jobs

import "time"

// Ages tells how far back something of a certain age lies, among times that were
// written down by the clock on the wall. That clock may be set forward while the
// process runs, and then nothing has become older: what is kept for so long goes
// never earlier than that, and at most later by what the clock was set.
type Ages struct {
	wall  func() time.Time
	began time.Time // has a monotonic reading
	base  time.Time // the wall's time then
}

// NewAges returns Ages that begin now; wall nil is time.Now.
func NewAges(wall func() time.Time) Ages {
	if wall == nil {
		wall = time.Now
	}
	return Ages{wall: wall, began: time.Now(), base: wall()}
}

// Before returns the time that what has reached the age lies before.
func (a Ages) Before(age time.Duration) time.Time {
	now := a.wall()
	if lived := a.base.Round(0).Add(time.Since(a.began)); lived.Before(now.Round(0)) {
		now = lived
	}
	return now.Add(-age)
}
