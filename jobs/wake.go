package jobs

import (
	"context"
	"sync"
	"time"
)

// Source names where claimable jobs come from: one client's queue, or (both
// empty) the action jobs of all clients.
type Source struct{ Client, Queue string }

// SourceIn returns the source that a client's job is claimed from, by the queue it
// is in (empty: none, because it has actions).
func SourceIn(client, queue string) Source {
	if queue == "" {
		return Source{}
	}
	return Source{client, queue}
}

// sourceOf returns the source that j is claimed from.
func sourceOf(j Job) Source {
	if j.Queue == nil {
		return Source{}
	}
	return SourceIn(j.ClientID, *j.Queue)
}

// notifier wakes those who wait for jobs. A notification may be in vain; it is never
// missed by a waiter who listens before looking.
type notifier struct {
	mu      sync.Mutex // guards waiters
	waiters map[Source]map[chan struct{}]struct{}
}

// listen returns a channel that receives after each notification of one of the
// sources (some in quick succession count as one), and a function that ends it. The
// notifier is the only sender; nobody closes the channel.
func (n *notifier) listen(sources ...Source) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiters == nil {
		n.waiters = make(map[Source]map[chan struct{}]struct{})
	}
	for _, s := range sources {
		if n.waiters[s] == nil {
			n.waiters[s] = make(map[chan struct{}]struct{})
		}
		n.waiters[s][ch] = struct{}{}
	}
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, s := range sources {
			delete(n.waiters[s], ch)
			if len(n.waiters[s]) == 0 {
				delete(n.waiters, s)
			}
		}
	}
}

// notify wakes everyone who listens to s.
func (n *notifier) notify(s Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wakeAll(n.waiters[s])
}

// notifyAll wakes everyone, which costs a claim of each: it is for when a job may have
// become claimable and nobody knows where.
func (n *notifier) notifyAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, chans := range n.waiters {
		wakeAll(chans)
	}
}

func wakeAll(chans map[chan struct{}]struct{}) {
	for ch := range chans {
		signal(ch)
	}
}

// signal sends to a channel of capacity one unless a signal waits there.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// deadline is a time at which a sweep is due; it only ever gets earlier until it
// has passed.
type deadline struct {
	moved chan struct{} // capacity one; sent to by at, never closed

	mu   sync.Mutex // guards next
	next time.Time  // zero: nothing is known to be due
}

func newDeadline() *deadline { return &deadline{moved: make(chan struct{}, 1)} }

// within asks for a sweep that begins when so much time has passed, or before. If the
// system's clock is set meanwhile, it stays that time.
func (d *deadline) within(left time.Duration) {
	t := time.Now().Add(left)
	d.mu.Lock()
	earlier := d.next.IsZero() || t.Before(d.next)
	if earlier {
		d.next = t
	}
	d.mu.Unlock()
	if earlier {
		signal(d.moved)
	}
}

// wait returns true once the deadline has passed, at the latest after longest and
// at the earliest after shortest; false when ctx has ended.
func (d *deadline) wait(ctx context.Context, shortest, longest time.Duration) bool {
	start := time.Now()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		d.mu.Lock()
		left := longest - time.Since(start)
		if !d.next.IsZero() {
			left = min(left, time.Until(d.next))
		}
		d.mu.Unlock()
		timer.Reset(max(left, shortest-time.Since(start)))
		select {
		case <-ctx.Done():
			return false
		case <-d.moved:
		case <-timer.C:
			d.mu.Lock()
			d.next = time.Time{}
			d.mu.Unlock()
			return true
		}
	}
}
