package jobs

import (
	"context"
	"slices"
	"sync"
	"time"
)

// roundSteps is how many attempts one round settles, so that other commands do not wait
// long for it.
const roundSteps = 250

// How long a round waits for the reports of attempts that began together: a fourth of what
// the round before took, within bounds.
const (
	gatherShare    = 4
	leastGathering = 50 * time.Microsecond
	mostGathering  = 500 * time.Microsecond
)

// rounds gathers what attempts report. One goroutine of the processor sends one command
// to the store at a time, a round: all that was reported while the round before was under
// way, and a claim for the runners that are free. So the end of one job, the begin of
// another and the progress of a third share a commit.
type rounds struct {
	news chan struct{} // capacity one: something was reported, or the last attempt is gone; never closed

	most int // ends without a runner, see end

	mu      sync.Mutex // guards what follows, and the reported of every attempt
	waiting []*attempt // those with something for the next round, in the order of their reports
	alive   int        // attempts that are not gone
	ending  int        // of those, the ones that have ended and given back what they had

	fresh    int         // attempts that began together and have not reported: the next round waits for them
	group    uint64      // of those
	patience *time.Timer // ends the waiting; nil: never used
}

// reported is what an attempt has reported and the store has not answered. While one of
// its steps is under way, what comes after that waits, so that the order stays.
type reported struct {
	next   Step          // for the next round
	due    bool          // there is something in it
	queued bool          // it stands in waiting
	sent   bool          // the step before is under way
	alone  bool          // that is settled by itself, because a round has left it open
	ended  bool          // the attempt's end was reported
	ending bool          // and it has given back what it had
	holds  bool          // it holds a runner; the attempt's own goroutine alone knows until the end was reported
	gone   bool          // nothing is left to do for it
	group  uint64        // of those that it began with
	silent chan struct{} // closed once all is answered; nil: nobody waits for that
}

func newRounds(runners int) *rounds { return &rounds{news: make(chan struct{}, 1), most: runners} }

// progress hands events of an attempt to the next round.
func (r *rounds) progress(a *attempt, events ...Body) {
	r.report(a, func() { a.next.Events = append(a.next.Events, events...) })
}

// end hands the end of an attempt to the next round, and gives its runner back with it, so
// that one round takes both. The attempt keeps its runner, or its place among the parked,
// until its end is stored if the store is in trouble already, or if as many ends wait as there
// are runners: so results do not pile up while the store is slow.
func (r *rounds) end(a *attempt, s Step) {
	r.report(a, func() {
		s.Lease, s.Events = a.l.Lease, a.next.Events
		a.next, a.ended = s, true
		if !a.alone && r.ending < r.most {
			a.ending = true
			r.ending++
			a.leave()
		}
	})
}

// endingNoMore says that an attempt's end waits no more, or not without a runner. It is
// called with mu held.
func (r *rounds) endingNoMore(a *attempt) {
	if a.ending {
		a.ending = false
		r.ending--
	}
}

func (r *rounds) report(a *attempt, change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	a.due = true
	r.queue(a)
	r.came(a)
	if r.fresh == 0 {
		signal(r.news)
	}
}

// queue lets an attempt wait for the next round if it has something for that. It is called
// with mu held.
func (r *rounds) queue(a *attempt) {
	if a.due && !a.sent && !a.queued {
		a.queued = true
		r.waiting = append(r.waiting, a)
	}
}

// gather puts the next round off until all of the n attempts that begin now have reported,
// but not for longer than d: those that begin together often end together. A lone one
// has nobody to wait for.
func (r *rounds) gather(n int, d time.Duration) {
	if d = min(d, mostGathering); n < 2 || d < leastGathering {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fresh = n
	r.group++
	if r.patience == nil {
		r.patience = time.AfterFunc(d, r.gathered)
	} else {
		r.patience.Reset(d)
	}
}

// gathered ends the gathering.
func (r *rounds) gathered() {
	r.mu.Lock()
	r.fresh = 0
	r.mu.Unlock()
	signal(r.news)
}

// gathering reports whether the next round is still put off.
func (r *rounds) gathering() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh > 0
}

// came notes that an attempt has reported, or is gone. It is called with mu held.
func (r *rounds) came(a *attempt) {
	if r.fresh > 0 && a.group == r.group {
		a.group = 0
		if r.fresh--; r.fresh == 0 {
			r.patience.Stop()
			signal(r.news)
		}
	}
}

// take returns the steps of the next round and whose they are. If it takes all that
// wait, so that the round has the end of every attempt that gave its runner back, it also
// calls claim.
func (r *rounds) take(claim func()) (of []*attempt, steps []Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), roundSteps)
	of, steps = make([]*attempt, 0, n), make([]Step, 0, n)
	for _, a := range r.waiting[:n] {
		a.queued = false
		if a.gone {
			continue
		}
		of, steps = append(of, a), append(steps, a.next)
		a.next, a.due, a.sent = Step{Lease: a.l.Lease}, false, true
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	if len(r.waiting) == 0 {
		claim()
	}
	return of, steps
}

// answered says that the step of an attempt that was under way has its answer.
func (r *rounds) answered(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.sent, a.alone = false, false
	if r.queue(a); a.due {
		signal(r.news)
	} else {
		a.hush()
	}
}

// again says that a step under way is to be tried once more as s.
func (r *rounds) again(a *attempt, s Step) {
	r.mu.Lock()
	a.next, a.due = s, true
	r.mu.Unlock()
	r.answered(a)
}

// apart says that the step under way is settled by itself. An attempt that has ended takes
// a runner again for that long, unless it has kept its own or its place among the parked.
func (r *rounds) apart(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.alone = true
	r.endingNoMore(a)
	if a.ended && !a.holds && !a.parked {
		a.holds = true
		a.p.runners.hold(a.l.Lease.Client)
	}
}

// flush waits until all that the attempt has reported is answered.
func (r *rounds) flush(ctx context.Context, a *attempt) error {
	r.mu.Lock()
	if a.gone || !a.due && !a.sent {
		r.mu.Unlock()
		return nil
	}
	if a.silent == nil {
		a.silent = make(chan struct{})
	}
	silent := a.silent
	r.mu.Unlock()
	select {
	case <-silent:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hush lets those go on who wait for the attempt's answers. It is called with mu held.
func (a *attempt) hush() {
	if a.silent != nil {
		close(a.silent)
		a.silent = nil
	}
}

// begin counts an attempt.
func (r *rounds) begin(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.next.Lease, a.holds, a.group = a.l.Lease, true, r.group
	a.renewal = time.AfterFunc(a.p.opts.LeaseTTL/3, a.renew)
	r.alive++
}

// forget ends what there is for an attempt. What it has reported and no round has taken
// is dropped.
func (r *rounds) forget(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.gone = true
	r.endingNoMore(a)
	a.leave()
	a.hush()
	a.renewal.Stop()
	if a.endRenewal != nil {
		a.endRenewal()
	}
	r.came(a)
	if r.alive--; r.alive == 0 {
		signal(r.news)
	}
}

// renewing begins to renew an attempt's lease, which the processor waits for; false: it is
// not needed any more.
func (r *rounds) renewing(a *attempt) (context.Context, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.gone {
		return nil, false
	}
	var ctx context.Context
	ctx, a.endRenewal = context.WithCancel(a.p.store)
	a.p.running.Add(1)
	return ctx, true
}

// renewed says that an attempt's lease was renewed, or is lost.
func (r *rounds) renewed(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.endRenewal()
	if !a.gone {
		a.renewal.Reset(a.p.opts.LeaseTTL / 3)
	}
}

// idle reports whether no attempt is left.
func (r *rounds) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive == 0
}
