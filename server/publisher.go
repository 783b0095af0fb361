package server

import (
	"sync/atomic"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
)

// publisher hands committed events to the hub: it is the store's
// eventlog.Publisher. The store exists before the hub, which reads from it; what is
// committed in between (at start-up) nobody can have subscribed to.
type publisher struct {
	hub      atomic.Pointer[hub.Hub]
	appended func(n int)
}

// Publish implements eventlog.Publisher.
func (p *publisher) Publish(events []eventlog.Event) (answered func()) {
	p.appended(len(events))
	if h := p.hub.Load(); h != nil {
		return h.Append(events)
	}
	return nil
}
