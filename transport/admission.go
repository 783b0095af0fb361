package transport

import (
	"context"
	"fmt"
	"sync"

	"github.com/jobcast/jobcast/auth"
)

// Admission is a taken slot whose stream may not exist yet. A slot is taken
// before a job is made, and the key may be revoked before the stream can be
// told to end: the admission remembers that.
type Admission struct {
	slot *auth.Slot

	mu     sync.Mutex // guards the fields below
	ended  bool
	reason error
	end    func(error) // nil until OnEnd
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

// OnEnd sets what ends the stream when its key is revoked or expires: it is
// called once, at once if that has happened already, and must not block.
func (a *Admission) OnEnd(end func(reason error)) {
	a.mu.Lock()
	a.end = end
	ended, reason := a.ended, a.reason
	a.mu.Unlock()
	if ended {
		end(reason)
	}
}

// Release gives the slot back. Further calls do nothing.
func (a *Admission) Release() { a.slot.Release() }

func (a *Admission) finish(reason error) {
	a.mu.Lock()
	a.ended, a.reason = true, reason
	end := a.end
	a.mu.Unlock()
	if end != nil {
		end(reason)
	}
}
