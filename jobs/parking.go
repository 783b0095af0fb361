package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// What may be parked, that is, wait for its time without a runner. The caps
// protect memory; what is beyond them waits on a runner.
const (
	parkedAfter        = time.Second // a pause must be longer than that
	maxParked          = 10_000
	maxParkedPerClient = 1_000

	// What parked attempts hold besides their goroutines: the actions to come,
	// and the results so far.
	maxParkedBytes          = 64 << 20
	maxParkedBytesPerClient = 16 << 20
)

// Pauser is a Runner that knows actions which do nothing but let time pass. An
// attempt can wait for those without a runner.
type Pauser interface {
	// Pause returns how long action waits and what its result will be then;
	// false if it does something, or is not valid.
	Pause(action json.RawMessage) (d time.Duration, result any, ok bool)
}

// pause asks the runner whether an action is a pause worth parking for.
func (p *Processor) pause(action json.RawMessage) (time.Duration, any, bool) {
	pauser, ok := p.runner.(Pauser)
	if !ok {
		return 0, nil, false
	}
	d, result, ok := pauser.Pause(action)
	return d, result, ok && d > parkedAfter
}

// parking counts what is parked.
type parking struct {
	mu       sync.Mutex // guards what follows
	all      load
	byClient map[string]load
}

type load struct{ attempts, bytes int }

func (l load) plus(attempts, size int) load { return load{l.attempts + attempts, l.bytes + size} }

// enter takes an attempt of so many bytes in unless there is no room.
func (p *parking) enter(client string, size int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, own := p.all.plus(1, size), p.byClient[client].plus(1, size)
	if all.attempts > maxParked || all.bytes > maxParkedBytes ||
		own.attempts > maxParkedPerClient || own.bytes > maxParkedBytesPerClient {
		return false
	}
	if p.byClient == nil {
		p.byClient = make(map[string]load)
	}
	p.all, p.byClient[client] = all, own
	return true
}

func (p *parking) leave(client string, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = p.all.plus(-1, -size)
	own := p.byClient[client].plus(-1, -size)
	if p.byClient[client] = own; own.attempts == 0 {
		delete(p.byClient, client)
	}
}

func (p *parking) parked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all.attempts
}

// park gives the attempt's runner to others, and keeps of the attempt only what
// it needs later. It reports whether there was room, or it is parked already.
func (a *attempt) park(s *steps) bool {
	if a.parked {
		return true
	}
	rest, size := s.rest(a.room())
	size += parkedArtifactBytes*a.artifacts() + len(a.dataText())
	if !a.p.parking.enter(a.l.Lease.Client, size) {
		return false
	}
	*s = rest
	a.leave()
	a.parked, a.parkedBytes = true, size
	return true
}

// parkedArtifactBytes is about what an attempt keeps in mind of each artifact.
const parkedArtifactBytes = 512

// unpark waits for a runner, if the attempt has none.
func (a *attempt) unpark() error {
	if !a.parked {
		return nil
	}
	place := a.p.runners.queue(a.l.Lease.Client)
	select {
	case <-place.ready:
	case <-a.ctx.Done():
		a.p.runners.leave(place)
		return context.Cause(a.ctx)
	}
	a.leave()
	a.holds = true
	return nil
}

// leave gives back whatever the attempt has of the processor's: a place among the parked, a
// runner, or nothing any more.
func (a *attempt) leave() {
	if a.parked {
		a.parked = false
		a.p.parking.leave(a.l.Lease.Client, a.parkedBytes)
	}
	if a.holds {
		a.holds = false
		a.p.runners.release(a.l.Lease.Client)
	}
}

// rest lets time pass.
func (a *attempt) rest(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}

// renew renews the lease, and ends the attempt if it is lost. It is called when the renewal
// is due, until the attempt is over.
func (a *attempt) renew() {
	ctx, ok := a.p.rounds.renewing(a)
	if !ok {
		return
	}
	defer a.p.running.Done()
	err := insist(ctx, func() error {
		_, err := a.p.svc.store.Extend(ctx, a.l.Lease)
		return err
	})
	if err != nil && refused(err) {
		a.cancel(fmt.Errorf("renew lease: %w", err))
	}
	a.p.rounds.renewed(a)
}

// steps is what an attempt has before and behind it.
type steps struct {
	actions []json.RawMessage // those done are nil once it was parked
	results []actionResult    // of the actions done
}

// rest returns what is needed of s, and its size in bytes.
// The results are cut so that they fit into limit bytes together, as they must in
// the end.
func (s steps) rest(limit int) (kept steps, size int) {
	kept.actions = make([]json.RawMessage, len(s.actions))
	for i := len(s.results); i < len(s.actions); i++ {
		kept.actions[i] = s.actions[i] // a RawMessage has memory of its own
		size += len(s.actions[i])
	}
	level := fairShare(s.results, limit)
	for _, r := range s.results {
		r = r.cut(level)
		size += 2 * len(r.encoded) // the value is about as large
		kept.results = append(kept.results, r)
	}
	return kept, size
}
