package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// maxBackoff caps the wait between two attempts of a job.
const maxBackoff = 10 * time.Minute

// Backoff says how long a job waits between two attempts: 1 s * 2^(n-1) * Factor after the
// n-th, at least Least and at most 10 min. It is drawn by whoever ends the attempt, so
// that a store needs no chance of its own. The zero Backoff is no wait.
type Backoff struct {
	Factor float64
	Least  time.Duration
}

// NewBackoff draws a back-off. Its factor of 0.5..1.5 keeps jobs which failed together
// from returning together; what was told the same least, of which ten minutes count at
// most, does not return together either.
func NewBackoff(least time.Duration) Backoff {
	b := Backoff{Factor: 0.5 + rand.Float64()}
	if least > 0 {
		least = min(least, maxBackoff)
		b.Least = least + rand.N(least/10+1)
	}
	return b
}

// After returns the wait after the n-th attempt (1, 2, …).
func (b Backoff) After(n int) time.Duration {
	d := maxBackoff
	if n = max(n, 1); n <= 10 { // 2^10 s is beyond the cap
		d = min(d, time.Second<<(n-1))
	}
	return min(maxBackoff, max(time.Duration(float64(d)*b.Factor), b.Least))
}

// How often a command is tried again while the store does not take it.
const (
	firstStoreRetry = 50 * time.Millisecond
	lastStoreRetry  = 5 * time.Second
)

func storeBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = firstStoreRetry
	b.MaxInterval = lastStoreRetry
	return b
}

// refused reports whether the store has decided: asking again would change
// nothing. All other errors are troubles that may pass.
func refused(err error) bool {
	var conflict *ConflictError
	var invalid *InvalidError
	var limit *LimitError
	return errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) || errors.Is(err, ErrIdempotencyMismatch) ||
		errors.Is(err, ErrArtifactChanged) || errors.As(err, &conflict) || errors.As(err, &invalid) || errors.As(err, &limit)
}

// insist runs a command that is safe to repeat until the store has decided or
// ctx has ended.
func insist(ctx context.Context, command func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := command()
		if err != nil && refused(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(storeBackoff()), backoff.WithMaxElapsedTime(0))
	return err
}
