package transport

import (
	"context"
	"fmt"
	"sync"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
)

// Admission is a taken slot whose stream may not exist yet. A slot is taken
// before a job is made, and the key may be revoked before the stream can be
// told to end: the admission remembers that.
type Admission struct {
	slot *auth.Slot

	mu     sync.Mutex // guards the fields below
	ended  bool
	reason error
	live   Live // nil until OnEnd
}

// Live is a live stream.
type Live interface {
	auth.Shown
	// End ends it: its key was revoked or has expired, or an administrator wants it. The
	// peer is told why, as the transport tells such things. It is called at most once, and
	// must not block.
	End(reason error)
	// Watching says what it shows at the moment.
	Watching() Watching
}

// Watching is what a live stream shows, and where it stands in that.
type Watching struct {
	hub.Standing
	Conflated bool // of one room at least
}

// WatchingJob is what a stream shows that shows one job, and no events of it.
func WatchingJob(id string) Watching {
	return Watching{Standing: hub.Standing{Rooms: 1, First: []string{id}}}
}

// OpenStream takes a slot for a live stream of p; kind names the transport, for
// metrics. The errors are those of [auth.Streams.Open]. Release it.
func OpenStream(ctx context.Context, s *auth.Streams, p auth.Principal, kind string) (*Admission, error) {
	return OpenStreamInstead(ctx, s, nil, p, kind)
}

// OpenStreamInstead is OpenStream for a stream that takes the place of old, as
// [auth.Streams.OpenInstead] has it; nil: of none.
func OpenStreamInstead(ctx context.Context, s *auth.Streams, old *Admission, p auth.Principal, kind string) (*Admission, error) {
	var making *auth.Slot
	if old != nil {
		making = old.slot
	}
	a := &Admission{}
	slot, err := s.OpenInstead(ctx, making, p, kind, a.finish)
	if err != nil {
		return nil, fmt.Errorf("admit stream: %w", err)
	}
	a.slot = slot
	return a, nil
}

// OnEnd says which stream it was that was admitted: from now on it is one of the client's
// connections, and what ends it calls its End, at once if that has happened already.
func (a *Admission) OnEnd(live Live) {
	a.slot.Show(live)
	a.mu.Lock()
	a.live = live
	ended, reason := a.ended, a.reason
	a.mu.Unlock()
	if ended {
		live.End(reason)
	}
}

// Release gives the slot back. Further calls do nothing.
func (a *Admission) Release() { a.slot.Release() }

func (a *Admission) finish(reason error) {
	a.mu.Lock()
	a.ended, a.reason = true, reason
	live := a.live
	a.mu.Unlock()
	if live != nil {
		live.End(reason)
	}
}
