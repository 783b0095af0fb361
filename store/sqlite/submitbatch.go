package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/jobs"
)

const (
	// A key that made a job has no hash here, so that it fits no batch.
	sqlBatchByKey = `SELECT idem_hash, jobs FROM batches WHERE client = ? AND idem_key = ?
	UNION ALL SELECT NULL, NULL FROM jobs WHERE client = ? AND idem_key = ? AND idem_key IS NOT NULL`
	sqlAddBatch   = `INSERT INTO batches (client, idem_key, idem_hash, jobs, kept) VALUES (?, ?, ?, ?, ?)`
	sqlLeaveBatch = `UPDATE batches SET kept = kept - ? WHERE id = ?`
	sqlDelBatch   = `DELETE FROM batches WHERE id = ? AND kept = 0`
)

// batchRowBytes is what a batch with a key takes beside the ids of its jobs.
const batchRowBytes = 512

// SubmitBatch implements jobs.Store.
func (s *Store) SubmitBatch(ctx context.Context, client string, ids []string, specs []jobs.Spec, idem jobs.Idempotency) (jobs.Batch, error) {
	return write(ctx, s, len(specs), func(b *batch) (jobs.Batch, error) {
		head, err := b.client(client)
		if err != nil {
			return jobs.Batch{}, err
		}
		if out, err := b.replayBatch(head, idem); err != nil || out.Replayed {
			return out, err
		}
		if err := b.admit(head, len(specs), sizeOf(specs, idem)); err != nil {
			return jobs.Batch{}, err
		}
		if head, err = b.ensureClient(client); err != nil {
			return jobs.Batch{}, err
		}
		return b.submitBatch(head, ids, specs, idem)
	})
}

// sizeOf is how many bytes a batch takes beside the rows of its jobs.
func sizeOf(specs []jobs.Spec, idem jobs.Idempotency) (n int64) {
	for _, spec := range specs {
		n += int64(spec.Size())
	}
	if idem.Key != "" {
		n += int64(len(specs)*len(uuid.UUID{})) + batchRowBytes
	}
	return n
}

// replayBatch answers a batch whose key was used before: replayed, or refused. head is
// nil for a new client.
func (b *batch) replayBatch(head *logHead, idem jobs.Idempotency) (jobs.Batch, error) {
	if idem.Key == "" || head == nil {
		return jobs.Batch{}, nil
	}
	var hash, ids []byte
	found, err := b.row(sqlBatchByKey, []any{head.id, idem.Key, head.id, idem.Key}, &hash, &ids)
	if err != nil || !found {
		return jobs.Batch{}, err
	}
	if string(hash) != string(idem.Hash[:]) {
		return jobs.Batch{}, refuse(jobs.ErrIdempotencyMismatch)
	}
	return jobs.Batch{IDs: unpackIDs(ids), Replayed: true}, nil
}

// submitBatch adds jobs to a log. No job is read back.
func (b *batch) submitBatch(head *logHead, ids []string, specs []jobs.Spec, idem jobs.Idempotency) (jobs.Batch, error) {
	out, by := jobs.Batch{IDs: ids}, cause{}
	if idem.Key != "" {
		packed, err := packIDs(ids)
		if err != nil {
			return jobs.Batch{}, err
		}
		if by.batch, err = b.inserted(sqlAddBatch, head.id, idem.Key, idem.Hash[:], packed, len(ids)); err != nil {
			return jobs.Batch{}, fmt.Errorf("insert batch: %w", err)
		}
	}
	now := b.now()
	for i, spec := range specs {
		spec = b.withTTL(spec)
		if _, err := b.insertSpec(head, ids[i], spec, now, by); err != nil {
			return jobs.Batch{}, err
		}
		if expires, _ := b.expiry(spec, now); !expires.IsZero() {
			out.Expires = soonest(out.Expires, expires.Sub(fromMillis(now.UnixMilli())))
		}
	}
	return out, nil
}

// soonest is the shorter of two times; 0 is none.
func soonest(x, y time.Duration) time.Duration {
	if x == 0 || y < x {
		return y
	}
	return x
}

// leaveBatch takes n jobs out of a batch, and with the last one frees its key.
func (b *batch) leaveBatch(row int64, n int) error {
	if _, err := b.exec(sqlLeaveBatch, n, row); err != nil {
		return fmt.Errorf("leave batch: %w", err)
	}
	if _, err := b.exec(sqlDelBatch, row); err != nil {
		return fmt.Errorf("delete batch: %w", err)
	}
	return nil
}

// packIDs writes the ids of jobs one after the other, 16 bytes each.
func packIDs(ids []string) ([]byte, error) {
	packed := make([]byte, 0, len(ids)*len(uuid.UUID{}))
	for _, text := range ids {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("job id %q: %w", text, err)
		}
		packed = append(packed, id[:]...)
	}
	return packed, nil
}

// unpackIDs reads what packIDs has written.
func unpackIDs(packed []byte) []string {
	ids := make([]string, len(packed)/len(uuid.UUID{}))
	for i := range ids {
		ids[i] = uuid.UUID(packed[i*len(uuid.UUID{}):][:len(uuid.UUID{})]).String()
	}
	return ids
}
