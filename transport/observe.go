package transport

import (
	"time"

	"github.com/jobcast/jobcast/hub"
)

// BatchEvents is how many events a connection takes from its subscription at a
// time; conflation looks at no more than that.
const BatchEvents = 256

// Observer counts what transports do. The zero value counts nothing. Its
// functions are called on hot paths and must not block.
type Observer struct {
	// OnDelivered: n events were handed to a connection; published is when the
	// newest of them was, zero if it came from history.
	OnDelivered func(transport string, n int, published time.Time)
	// OnResumed: a reader started. outcome is new, resumed, or the reason of a
	// reset.
	OnResumed func(transport, outcome string)
}

// Delivered reports a batch.
func (o Observer) Delivered(transport string, n int, published time.Time) {
	if o.OnDelivered != nil {
		o.OnDelivered(transport, n, published)
	}
}

// Resumed reports where a reader started.
func (o Observer) Resumed(transport string, st hub.Start, j hub.Joined) {
	outcome := "new"
	switch {
	case j.Reset != nil:
		outcome = string(j.Reset.Reason)
	case st.Cursor != nil:
		outcome = "resumed"
	}
	o.Outcome(transport, outcome)
}

// Outcome reports how a reader started: new, resumed, or the reason of a reset.
func (o Observer) Outcome(transport, outcome string) {
	if o.OnResumed != nil {
		o.OnResumed(transport, outcome)
	}
}
