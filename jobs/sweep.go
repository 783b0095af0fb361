package jobs

import (
	"context"
	"errors"
	"time"
)

const (
	// sweepBatch is how many jobs one sweeping command touches, so that it
	// does not keep other commands waiting.
	sweepBatch = 200
	// sweepFloor keeps a sweep from spinning should the store call something
	// due that it does not yet sweep.
	sweepFloor = 10 * time.Millisecond
	// sweepRetry is when a sweep that failed is tried again.
	sweepRetry = time.Second

	// pruneEvery is how often old jobs are looked for.
	pruneEvery = time.Minute
	// pruneTakes bounds one transaction of deletions while nobody else wants to commit.
	// None follows for pruneRests times as long as it took, so that others, who wait for
	// the disk as well, mostly meet none. While many commit, each takes some along.
	pruneTakes = time.Millisecond
	pruneRests = 3
)

// Sweeps do what time brings about. See Store for what all methods promise.
type Sweeps interface {
	// ExpireLeases ends every lease whose time is over, as Fail with
	// ClassLeaseExpired would, at most limit of them, and as Fail with TimedOut
	// would those whose attempt has run longer than the job's timeout, unless
	// the holder is this process, which keeps that time itself. Next is when
	// the next open lease runs out.
	ExpireLeases(ctx context.Context, limit int) (Swept, error)

	// PromoteDue makes jobs whose runAt or nextAttemptAt has come claimable, at
	// most limit. Next is when the next one is due.
	PromoteDue(ctx context.Context, limit int) (Swept, error)

	// ExpireJobs ends pending jobs that nobody has begun by their expiresAt, as
	// failed with ClassExpired, at most limit of them, going round among clients.
	// Next is when the next one expires.
	ExpireJobs(ctx context.Context, limit int) (Swept, error)

	// Prune deletes jobs whose terminal event is older than before, the oldest
	// first, with their events, and raises each log's pruned mark in the same
	// transaction. One call is one transaction. It ends soon after takes is over,
	// at once if another command waits for it, but deletes something first: at
	// most 250 events with takes 0. A job whose events take several calls is gone
	// from the first. The files of artifacts become garbage.
	Prune(ctx context.Context, before time.Time, takes time.Duration) (Pruned, error)
}

// Pruned is what one call of Prune did.
type Pruned struct {
	N       int  // jobs that went
	More    bool // there may be more
	Yielded bool // it ended because another command waited for it
}

// expireLoop ends leases as they run out.
func (p *Processor) expireLoop() {
	p.sweepLoop("end leases", p.svc.leases, p.svc.store.ExpireLeases, func() {
		p.svc.due.within(0) // the next attempts may be due at once
	})
}

// promoteLoop makes jobs claimable when their time comes.
func (p *Processor) promoteLoop() {
	p.sweepLoop("make jobs due", p.svc.due, p.svc.store.PromoteDue, func() {
		p.svc.expiries.within(0) // the time of some that expire begins now
	})
}

// expiryLoop ends jobs that nobody has begun in time.
func (p *Processor) expiryLoop() {
	p.sweepLoop("end expired jobs", p.svc.expiries, func(ctx context.Context, limit int) (Swept, error) {
		out, err := p.svc.store.ExpireJobs(ctx, limit)
		p.svc.expired.Add(int64(out.N))
		return out, err
	}, func() {})
}

// sweepLoop runs sweep at its start, when due passes, and every safetyTick. After
// each batch that was not empty it calls found and wakes those for whom there is a
// job now: everyone, if a batch before it failed, which may have taken effect.
func (p *Processor) sweepLoop(what string, due *deadline,
	sweep func(context.Context, int) (Swept, error), found func(),
) {
	doubt := false
	for {
		out, err := sweep(p.sweeping, sweepBatch)
		switch {
		case p.sweeping.Err() != nil || errors.Is(err, ErrClosed):
			return
		case err != nil:
			p.log.Warn("a sweep failed", "operation", what, "error", err)
			due.within(sweepRetry)
			doubt = true
		default:
			if out.Waits {
				due.within(out.Next)
			}
			if out.N > 0 || doubt {
				found()
			}
			for _, s := range out.Ready {
				p.svc.ready.notify(s)
			}
			if doubt {
				p.svc.ready.notifyAll()
			}
			doubt = false
		}
		if out.N >= sweepBatch {
			continue
		}
		if !due.wait(p.sweeping, sweepFloor, safetyTick) {
			return
		}
	}
}

// garbageEvery is how long the files of deleted artifacts stay at most while more jobs
// are deleted: they count towards what the folder may hold.
const garbageEvery = 10 * time.Second

// pruneLoop deletes jobs past their retention, and the files that nothing belongs to any
// more: these when no more jobs wait, or after garbageEvery.
func (p *Processor) pruneLoop() {
	removed := time.Now()
	for {
		more, rest, err := p.prune()
		switch {
		case err != nil: // if the store's files were replaced, it does not know what is garbage
		case !more, time.Since(removed) >= garbageEvery:
			p.removeGarbage()
			removed = time.Now()
		}
		timer := time.NewTimer(rest)
		select {
		case <-p.sweeping.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// prune deletes one batch. It reports whether more jobs are waiting, and for how long they
// may.
func (p *Processor) prune() (more bool, rest time.Duration, err error) {
	began := time.Now()
	out, err := p.svc.store.Prune(p.sweeping, p.ages.Before(p.opts.Retention), pruneTakes)
	switch {
	case err != nil:
		if p.sweeping.Err() == nil && !errors.Is(err, ErrClosed) {
			p.log.Warn("old jobs could not be deleted", "error", err)
		}
		return false, pruneEvery, err
	case !out.More:
		rest = pruneEvery
	case !out.Yielded:
		rest = pruneRests * time.Since(began)
	}
	if out.N > 0 {
		p.log.Debug("old jobs were deleted", "jobs", out.N)
	}
	return out.More, rest, nil
}

func (p *Processor) removeGarbage() {
	if _, err := p.svc.RemoveGarbage(p.sweeping); err != nil && p.sweeping.Err() == nil && !errors.Is(err, ErrClosed) {
		p.log.Warn("files of deleted artifacts could not be removed", "error", err)
	}
}
