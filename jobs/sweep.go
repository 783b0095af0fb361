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
	// prunePause lies between two batches of deletions, for others to commit.
	prunePause = 20 * time.Millisecond
)

// expireLoop ends leases as they run out.
func (p *Processor) expireLoop() {
	p.sweepLoop("end leases", p.svc.leases, p.svc.store.ExpireLeases, func() {
		p.svc.due.at(time.Now()) // the next attempts may be due at once
	})
}

// promoteLoop makes jobs claimable when their time comes.
func (p *Processor) promoteLoop() {
	p.sweepLoop("make jobs due", p.svc.due, p.svc.store.PromoteDue, func() {
		p.svc.expiries.at(time.Now()) // the time of some that expire begins now
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

// sweepLoop runs sweep at its start, when a goes off, and every safetyTick. After
// each batch that was not empty it calls found and wakes those for whom there is a
// job now: everyone, if a batch before it failed, which may have taken effect.
func (p *Processor) sweepLoop(what string, a *alarm,
	sweep func(context.Context, int) (Swept, error), found func(),
) {
	doubt := false
	for {
		out, err := sweep(p.sweeping, sweepBatch)
		switch {
		case p.sweeping.Err() != nil || errors.Is(err, ErrClosed):
			return
		case err != nil:
			p.log.Warn("a sweep failed", "doing", what, "err", err)
			a.at(time.Now().Add(sweepRetry))
			doubt = true
		default:
			a.at(out.Next)
			if out.N > 0 || doubt {
				found()
			}
			for _, s := range out.Ready {
				p.svc.bell.ring(s)
			}
			if doubt {
				p.svc.bell.ringAll()
			}
			doubt = false
		}
		if out.N >= sweepBatch {
			continue
		}
		if !a.wait(p.sweeping, sweepFloor, safetyTick) {
			return
		}
	}
}

// pruneLoop deletes jobs past their retention.
func (p *Processor) pruneLoop() {
	for {
		more := p.prune()
		pause := pruneEvery
		if more {
			pause = prunePause
		}
		timer := time.NewTimer(pause)
		select {
		case <-p.sweeping.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// prune deletes one batch, and the files that nothing belongs to any more. It
// reports whether more jobs are waiting.
func (p *Processor) prune() bool {
	n, more, err := p.svc.store.Prune(p.sweeping, p.ages.Before(p.opts.Retention))
	if err != nil {
		if p.sweeping.Err() == nil && !errors.Is(err, ErrClosed) {
			p.log.Warn("old jobs could not be deleted", "err", err)
		}
		return false
	}
	if n > 0 {
		p.log.Debug("old jobs were deleted", "jobs", n)
	}
	if _, err := p.svc.RemoveGarbage(p.sweeping); err != nil && p.sweeping.Err() == nil && !errors.Is(err, ErrClosed) {
		p.log.Warn("files of deleted artifacts could not be removed", "err", err)
	}
	return more
}
