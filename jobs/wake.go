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

// bell wakes those who wait for jobs. A ring may be in vain; it is never
// missed by a waiter who listens before looking.
type bell struct {
	mu      sync.Mutex // guards waiters
	waiters map[Source]map[chan struct{}]struct{}
}

// listen returns a channel that receives after each ring of one of the sources
// (rings in quick succession count as one), and a function that ends it. The
// bell is the only sender; nobody closes the channel.
func (b *bell) listen(sources ...Source) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiters == nil {
		b.waiters = make(map[Source]map[chan struct{}]struct{})
	}
	for _, s := range sources {
		if b.waiters[s] == nil {
			b.waiters[s] = make(map[chan struct{}]struct{})
		}
		b.waiters[s][ch] = struct{}{}
	}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range sources {
			delete(b.waiters[s], ch)
			if len(b.waiters[s]) == 0 {
				delete(b.waiters, s)
			}
		}
	}
}

// ring wakes everyone who listens to s.
func (b *bell) ring(s Source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wakeAll(b.waiters[s])
}

// ringAll wakes everyone, which costs a claim of each: it is for when a job may have
// become claimable and nobody knows where.
func (b *bell) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, chans := range b.waiters {
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

// alarm is a time at which a sweep is due; it only ever gets earlier until it
// goes off.
type alarm struct {
	moved chan struct{} // capacity one; sent to by at, never closed

	mu   sync.Mutex // guards next
	next time.Time  // zero: nothing is known to be due
}

func newAlarm() *alarm { return &alarm{moved: make(chan struct{}, 1)} }

// at asks for a sweep at t or before; a zero t asks for nothing. What is asked
// for is a time from now on: if the system's clock is set meanwhile, it stays.
func (a *alarm) at(t time.Time) {
	if t.IsZero() {
		return
	}
	t = time.Now().Add(time.Until(t))
	a.mu.Lock()
	earlier := a.next.IsZero() || t.Before(a.next)
	if earlier {
		a.next = t
	}
	a.mu.Unlock()
	if earlier {
		signal(a.moved)
	}
}

// wait returns true when the alarm goes off, at the latest after longest and
// at the earliest after shortest; false when ctx has ended.
func (a *alarm) wait(ctx context.Context, shortest, longest time.Duration) bool {
	start := time.Now()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		a.mu.Lock()
		d := longest - time.Since(start)
		if !a.next.IsZero() {
			d = min(d, time.Until(a.next))
		}
		a.mu.Unlock()
		timer.Reset(max(d, shortest-time.Since(start)))
		select {
		case <-ctx.Done():
			return false
		case <-a.moved:
		case <-timer.C:
			a.mu.Lock()
			a.next = time.Time{}
			a.mu.Unlock()
			return true
		}
	}
}
