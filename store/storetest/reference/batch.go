package reference

import (
	"context"
	"slices"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// batchKey is what a batch is found by.
type batchKey struct{ client, key string }

// batch is what an idempotency key has made.
type batch struct {
	hash [32]byte
	ids  []string
}

// batch returns the batch that a key has made, while one of its jobs is kept.
func (s *Store) batch(client, key string) (batch, bool) {
	made := s.tables.batches[batchKey{client, key}]
	kept := slices.ContainsFunc(made.ids, func(id string) bool {
		j, ok := s.tables.jobs[id]
		return ok && !j.gone
	})
	return made, kept
}

// SubmitBatch implements jobs.Store.
func (s *Store) SubmitBatch(ctx context.Context, client string, ids []string, specs []jobs.Spec, idem jobs.Idempotency) (jobs.Batch, error) {
	return write(ctx, s, func() (jobs.Batch, error) {
		if old, ok := s.batch(client, idem.Key); ok && old.hash == idem.Hash {
			return jobs.Batch{IDs: old.ids, Replayed: true}, nil
		}
		single, err := s.replay(client, idem) // also refuses the key of another batch
		if err != nil {
			return jobs.Batch{}, err
		}
		if single.replayed {
			return jobs.Batch{}, jobs.ErrIdempotencyMismatch
		}
		size := 0
		for _, spec := range specs {
			size += spec.Size()
		}
		if err := s.admit(client, len(specs), size); err != nil {
			return jobs.Batch{}, err
		}
		out := jobs.Batch{IDs: ids}
		for i, spec := range specs {
			j := s.insert(client, ids[i], spec, jobs.Idempotency{})
			if j.ExpiresAt != nil {
				out.Expires = soonest(out.Expires, j.ExpiresAt.Sub(j.CreatedAt.Time))
			}
		}
		if idem.Key != "" {
			s.tables.batches[batchKey{client, idem.Key}] = batch{idem.Hash, ids}
		}
		return out, nil
	})
}

// soonest is the shorter of two times; 0 is none.
func soonest(x, y time.Duration) time.Duration {
	if x == 0 || y < x {
		return y
	}
	return x
}
