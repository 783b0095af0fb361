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

// Backoff returns how long a job waits after its n-th attempt (1, 2, …) failed:
// 1 s * 2^(n-1), times a random factor of 0.5..1.5 that keeps jobs which failed
// together from returning together, at most 10 min.
func Backoff(n int) time.Duration {
	d := maxBackoff
	if n < 1 {
		n = 1
	}
	if n <= 10 { // 2^10 s is beyond the cap
		d = min(d, time.Second<<(n-1))
	}
	return min(maxBackoff, time.Duration(float64(d)*(0.5+rand.Float64())))
}

// backoffAfter is Backoff, but not shorter than least, of which ten minutes count
// at most. What was told the same least does not return together either.
func backoffAfter(least time.Duration) func(n int) time.Duration {
	if least <= 0 {
		return Backoff
	}
	least = min(least, maxBackoff)
	return func(n int) time.Duration {
		return min(maxBackoff, max(Backoff(n), least+rand.N(least/10+1)))
	}
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
