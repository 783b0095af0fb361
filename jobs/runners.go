package jobs

import (
	"maps"
	"sync"
)

// runners shares the processor's runners out among clients: to new jobs, which
// rounds claim, and to attempts that were parked and go on. One client
// holds at most share of them. When both kinds wait they take turns, and so do
// the clients whose attempts wait.
type runners struct {
	share        int
	claimWake    chan struct{} // capacity one: a runner is free that a claim waited for; never closed
	onBelowShare func()        // a client that held its share holds less; must not block

	mu         sync.Mutex     // guards what follows
	free       int            // neither held nor taken for a claim; negative: so many are lacking, see hold
	held       map[string]int // by client
	claiming   bool           // some are taken for a claim, and nobody knows yet for whom
	claimWaits bool           // a claim waits for one
	claimNow   bool           // it is the claim's turn
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

// take takes free runners that new jobs may have, at most limit, with who holds the
// others; gave must follow. If there are none, 0, claimWake tells when there may be; but
// once stop is closed new jobs get none.
func (r *runners) take(stop <-chan struct{}, limit int) (n int, held map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-stop: // even if runners are free
		r.claimWaits = false
		r.deal()
		return 0, nil
	default:
	}
	r.claimWaits = true
	r.deal()
	if n = min(r.free, limit); n <= 0 {
		return 0, nil
	}
	if r.next() >= 0 {
		n = 1 // those who wait have the next turn
	}
	r.free -= n
	r.claiming, r.claimNow = true, false
	return n, maps.Clone(r.held)
}

// gave says for whom jobs were found for n runners that were taken. If there was one for each,
// the next claim waits from now on, and has its turn.
func (r *runners) gave(n int, got []Leased) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claiming, r.claimWaits = false, len(got) == n
	r.free += n - len(got)
	for _, l := range got {
		r.held[l.Lease.Client]++
	}
	r.deal()
}

// hold takes a runner for a client, or as soon as one is free if none is: until then
// nobody else gets one.
func (r *runners) hold(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free--
	r.held[client]++
}

// release gives a client's runner back.
func (r *runners) release(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[client] == r.share || r.claiming { // what is being claimed may fill its share
		r.onBelowShare()
	}
	if r.held[client]--; r.held[client] == 0 {
		delete(r.held, client)
	}
	r.free++
	r.deal()
	if r.free > 0 && r.claimWaits {
		signal(r.claimWake)
	}
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

// deal gives free runners to attempts that wait, but for one that it is the claim's turn
// to get. While a claim is under way nobody knows who holds how
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
}
