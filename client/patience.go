package client

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// How long lies between two tries, before the jitter.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
)

// patience decides how long to wait before the next try and when to give up.
type patience struct {
	limit time.Duration // negative: none, as Forever
	steps *backoff.ExponentialBackOff
	since time.Time // of the last success, or of the beginning
}

func newPatience(limit time.Duration) *patience {
	p := &patience{limit: limit, steps: backoff.NewExponentialBackOff()}
	p.steps.InitialInterval, p.steps.MaxInterval, p.steps.Multiplier = firstWait, lastWait, 2
	p.success()
	return p
}

// success begins anew.
func (p *patience) success() {
	p.steps.Reset()
	p.since = time.Now()
}

// next returns the wait after a try that failed with err, at least asked, or a
// *LostError.
func (p *patience) next(err error, asked time.Duration) (time.Duration, error) {
	wait := max(p.steps.NextBackOff(), asked)
	if p.limit < 0 {
		return wait, nil
	}
	gone := time.Since(p.since)
	left := p.limit - gone
	if left <= 0 || asked > left {
		return 0, &LostError{For: gone, Err: err}
	}
	return min(wait, left), nil
}

// excused returns a wait that the server itself has announced, plus a little
// that keeps those who were sent away together from coming back together. It
// does not count as a time without success.
func (p *patience) excused(asked time.Duration) time.Duration {
	wait := asked + rand.N(asked/10+50*time.Millisecond)
	p.since = time.Now().Add(wait)
	return wait
}

// pause waits for d. It returns the cause of ctx's end, if that comes first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
