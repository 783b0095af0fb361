package jobs

import (
	"maps"
	"sync"
)

// runners shares the processor's runners out among clients: to new jobs, which
// the claim loop fetches, and to attempts that were parked and go on. One client
// holds at most share of them. When both kinds wait they take turns, and so do
// the clients whose attempts wait.
type runners struct {
	share        int
	claimWake    chan struct{} // capacity one: a runner may be free for a new job; never closed
	onBelowShare func()        // a client that held its share holds less; must not block

	mu         sync.Mutex     // guards what follows
	free       int            // neither held nor taken by the claim loop
	held       map[string]int // by client
	claiming   bool           // the claim loop has taken some, and nobody knows yet for whom
	claimWaits bool           // the claim loop waits for one
	claimNow   bool           // it is the claim loop's turn
	waiting    map[string][]*place
	turn       []string // the clients in waiting, the next one first
}

// place is an attempt's turn to get a runner again.
type place struct {
	client string
	ready  chan struct{} // closed once the runner is its own
}

func newRunners(n, share int, onBelowShare func()) *runners {
	return &runners{
		share: min(share, n), claimWake: make(chan struct{}, 1), onBelowShare: onBelowShare,
		free: n, held: make(map[string]int), waiting: make(map[string][]*place),
	}
}

// take waits for free runners and takes those that new jobs may have, at most
// limit, with who holds the others; 0 once stop is closed. gave must follow.
func (r *runners) take(stop <-chan struct{}, limit int) (n int, held map[string]int) {
	for {
		select {
		case <-stop: // even if runners are free
			r.mu.Lock()
			r.claimWaits = false
			r.deal()
			r.mu.Unlock()
			return 0, nil
		default:
		}
		r.mu.Lock()
		r.claimWaits = true
		r.deal()
		if n = min(r.free, limit); n > 0 {
			if r.next() >= 0 {
				n = 1 // those who wait have the next turn
			}
			r.free -= n
			r.claimWaits, r.claiming, r.claimNow = false, true, false
			held = maps.Clone(r.held)
		}
		r.mu.Unlock()
		if n > 0 {
			return n, held
		}
		select {
		case <-stop:
		case <-r.claimWake:
		}
	}
}

// gave says for whom jobs were found for n runners that were taken.
func (r *runners) gave(n int, got []Claimed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claiming = false
	r.free += n - len(got)
	for _, l := range got {
		r.held[l.Lease.Client]++
	}
	r.deal()
}

// release gives a client's runner back.
func (r *runners) release(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[client] == r.share {
		r.onBelowShare()
	}
	if r.held[client]--; r.held[client] == 0 {
		delete(r.held, client)
	}
	r.free++
	r.deal()
}

// queue asks for a runner for an attempt that goes on. Either its place becomes
// ready, and then release follows, or leave does.
func (r *runners) queue(client string) *place {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &place{client: client, ready: make(chan struct{})}
	if len(r.waiting[client]) == 0 {
		r.turn = append(r.turn, client)
	}
	r.waiting[client] = append(r.waiting[client], p)
	r.deal()
	return p
}

// leave takes a place out of the queue, and gives its runner back if it has one.
func (r *runners) leave(p *place) {
	r.mu.Lock()
	list := r.waiting[p.client]
	for i, other := range list {
		if other != p {
			continue
		}
		if r.waiting[p.client] = append(list[:i:i], list[i+1:]...); len(list) == 1 {
			r.forget(p.client)
		}
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.release(p.client)
}

// forget takes a client out of the turn. It is called with mu held.
func (r *runners) forget(client string) {
	delete(r.waiting, client)
	for i, c := range r.turn {
		if c == client {
			r.turn = append(r.turn[:i:i], r.turn[i+1:]...)
			return
		}
	}
}

// next returns the first place in turn of a client below its share; -1: none. It
// is called with mu held.
func (r *runners) next() int {
	for i, client := range r.turn {
		if r.held[client] < r.share {
			return i
		}
	}
	return -1
}

// deal gives free runners to attempts that wait, and rouses the claim loop if
// any is left for it. While a claim is under way nobody knows who holds how
// many, so its end deals. It is called with mu held.
func (r *runners) deal() {
	for r.free > 0 && !r.claiming && (!r.claimWaits || !r.claimNow) {
		i := r.next()
		if i < 0 {
			break
		}
		client := r.turn[i]
		first := r.waiting[client][0]
		r.turn = append(r.turn[:i:i], r.turn[i+1:]...)
		if r.waiting[client] = r.waiting[client][1:]; len(r.waiting[client]) == 0 {
			delete(r.waiting, client)
		} else {
			r.turn = append(r.turn, client)
		}
		r.free--
		r.held[client]++
		r.claimNow = true
		close(first.ready)
	}
	if r.free > 0 {
		signal(r.claimWake)
	}
}
