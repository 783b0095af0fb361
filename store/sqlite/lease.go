package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlHeld = `SELECT id, attempt, max_attempts FROM jobs
	WHERE uuid = ? AND client = ? AND status = 1 AND lease = ?`
	sqlEnded    = `SELECT id, last_lease, last_end FROM jobs WHERE uuid = ? AND client = ? AND status < 5`
	sqlComplete = `UPDATE jobs SET status = 2, lease = NULL, last_lease = lease, last_end = 1, result = ?,
	error = NULL, error_message = NULL, completed_at = ? WHERE id = ? AND status = 1`
	sqlFail = `UPDATE jobs SET status = 3, lease = NULL, last_lease = iif(?, lease, last_lease),
	last_end = iif(?, 2, last_end), error = ?, error_message = ?, completed_at = ? WHERE id = ? AND status = 1`
	sqlAgain = `UPDATE jobs SET status = 0, lease = NULL, last_lease = iif(?, lease, last_lease),
	last_end = iif(?, 2, last_end), error = ?, error_message = ?, attempt = ?, next_at = ?, ready = ?, retry_due = ?, retry_ms = ?
	WHERE id = ? AND status = 1`
	sqlNewest = `SELECT seq FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1`
)

// running is a job under a lease.
type running struct {
	id           int64
	uuid         string
	head         *logHead
	attempt, max int
}

// held finds the job that l is the open lease of. Otherwise r.id is 0 and
// ended says how l ended, if it was the last to end an attempt.
func (b *batch) held(l jobs.Lease) (r running, ended int, err error) {
	r.uuid = l.JobID
	if r.head, err = b.client(l.Client); err != nil {
		return r, 0, err
	}
	if r.head == nil {
		return r, 0, refuse(jobs.ErrNotFound)
	}
	hash := tokenHash(l.Token)
	found, err := b.row(sqlHeld, []any{l.JobID, r.head.id, hash}, &r.id, &r.attempt, &r.max)
	if err != nil || found {
		return r, 0, err
	}
	var id int64
	var last []byte
	found, err = b.row(sqlEnded, []any{l.JobID, r.head.id}, &id, &last, &ended)
	switch {
	case err != nil:
		return r, 0, err
	case !found:
		return r, 0, refuse(jobs.ErrNotFound)
	case !bytes.Equal(last, hash):
		return r, 0, refuse(jobs.ErrLeaseLost)
	}
	return r, ended, nil
}

// holding is held for calls that need the lease to be open.
func (b *batch) holding(l jobs.Lease) (running, error) {
	r, _, err := b.held(l)
	if err == nil && r.id == 0 {
		err = refuse(jobs.ErrLeaseLost)
	}
	return r, err
}

// renew moves the lease's deadline and returns how long it lasts now.
func (b *batch) renew(r running) (time.Duration, error) {
	l, ok := b.lease(r.id)
	if !ok {
		return 0, fmt.Errorf("job %s has a lease without a deadline", r.uuid)
	}
	now := time.Now()
	l.deadline = now.Add(l.ttl)
	b.leases[r.id] = &l
	return l.end().Sub(now), nil
}

// Append implements jobs.Store.
func (s *Store) Append(ctx context.Context, l jobs.Lease, bodies []jobs.Body) (jobs.Receipt, error) {
	return write(ctx, s, len(bodies), func(b *batch) (jobs.Receipt, error) {
		r, err := b.holding(l)
		if err != nil {
			return jobs.Receipt{}, err
		}
		if err := b.grow(bytesOf(bodies)); err != nil {
			return jobs.Receipt{}, err
		}
		lasts, err := b.renew(r)
		if err != nil {
			return jobs.Receipt{}, err
		}
		id, err := b.append(r.head, r.id, r.uuid, b.now(), bodies...)
		if err == nil && len(bodies) == 0 {
			id, err = b.newest(r)
		}
		return jobs.Receipt{LastEventID: id, Lasts: lasts}, err
	})
}

// Extend implements jobs.Store.
func (s *Store) Extend(ctx context.Context, l jobs.Lease) (jobs.Receipt, error) {
	return s.Append(ctx, l, nil)
}

// newest returns the cursor of a job's newest event.
func (b *batch) newest(r running) (string, error) {
	var seq uint64
	if _, err := b.row(sqlNewest, []any{r.id}, &seq); err != nil {
		return "", err
	}
	return b.position(r.head.id, seq)
}

// Complete implements jobs.Store.
func (s *Store) Complete(ctx context.Context, l jobs.Lease, result json.RawMessage) (jobs.Job, error) {
	if len(result) == 0 {
		result = json.RawMessage("{}")
	}
	return write(ctx, s, 1, func(b *batch) (jobs.Job, error) {
		r, again, err := b.heldOr(l, endComplete)
		if err != nil || again != nil {
			return deref(again), err
		}
		now := b.now()
		artifacts, err := b.artifacts(r.id, r.uuid)
		if err != nil {
			return jobs.Job{}, fmt.Errorf("read artifacts of job %s: %w", r.uuid, err)
		}
		end := jobs.CompletedWith(now, artifacts, result)
		if !end.Fits() {
			return jobs.Job{}, refuse(&jobs.InvalidError{Fields: []jobs.FieldError{{Pointer: "/result",
				Detail: "is too large for one event together with the job's artifacts; store it as an artifact"}}})
		}
		if _, err := b.changed(sqlComplete, blob(result), now.UnixMilli(), r.id); err != nil {
			return jobs.Job{}, fmt.Errorf("complete job %s: %w", r.uuid, err)
		}
		b.moved(r.head, processing, completed)
		b.leases[r.id] = nil
		if _, err := b.append(r.head, r.id, r.uuid, now, end); err != nil {
			return jobs.Job{}, err
		}
		return b.briefByID(r.id)
	})
}

// Fail implements jobs.Store.
func (s *Store) Fail(ctx context.Context, l jobs.Lease, f jobs.Failure) (jobs.Job, error) {
	return write(ctx, s, 1, func(b *batch) (jobs.Job, error) {
		r, again, err := b.heldOr(l, endFail)
		if err != nil || again != nil {
			return deref(again), err
		}
		if err := b.fail(r, f, true); err != nil {
			return jobs.Job{}, err
		}
		return b.briefByID(r.id)
	})
}

// heldOr is held for calls that may be repeated: again is the job if l has
// already ended in this way.
func (b *batch) heldOr(l jobs.Lease, end int) (r running, again *jobs.Job, err error) {
	r, ended, err := b.held(l)
	switch {
	case err != nil || r.id != 0:
		return r, nil, err
	case ended != end:
		return r, nil, refuse(jobs.ErrLeaseLost)
	}
	row, err := b.brief(sqlJobByUUID, []any{l.JobID, l.Client})
	if err == nil && row == nil {
		err = refuse(jobs.ErrNotFound)
	}
	if err != nil {
		return r, nil, err
	}
	return r, &row.Job, nil
}

func deref(j *jobs.Job) jobs.Job {
	if j == nil {
		return jobs.Job{}
	}
	return *j
}

// fail ends an attempt without success. remember keeps the lease, so that its
// holder may repeat the call.
func (b *batch) fail(r running, f jobs.Failure, remember bool) error {
	if f.Retry && r.attempt < r.max {
		return b.again(r, f, f.Backoff.After(r.attempt), r.attempt, remember)
	}
	now := b.now()
	if _, err := b.changed(sqlFail, remember, remember, f.Class, f.Message, now.UnixMilli(), r.id); err != nil {
		return fmt.Errorf("fail job %s: %w", r.uuid, err)
	}
	b.moved(r.head, processing, failed)
	b.leases[r.id] = nil
	_, err := b.append(r.head, r.id, r.uuid, now, jobs.FailedWith(now, f.Class, f.Message))
	return err
}

// again makes a running job pending, due after delay, with counted attempts begun.
func (b *batch) again(r running, f jobs.Failure, delay time.Duration, counted int, remember bool) error {
	now := b.now()
	next := now.Add(delay)
	ready, due, asked := 1, any(nil), any(nil)
	if ms := delay.Milliseconds(); ms > 0 {
		ready, due, asked = 0, b.steady()+ms, ms
	}
	_, err := b.changed(sqlAgain, remember, remember, f.Class, f.Message, counted, next.UnixMilli(), ready, due, asked, r.id)
	if err != nil {
		return fmt.Errorf("retry job %s: %w", r.uuid, err)
	}
	b.moved(r.head, processing, pending)
	b.leases[r.id] = nil
	_, err = b.append(r.head, r.id, r.uuid, now, jobs.Retrying(f.Class, f.Message, r.attempt, next))
	return err
}

// Release implements jobs.Store.
func (s *Store) Release(ctx context.Context, l jobs.Lease) error {
	_, err := write(ctx, s, 1, func(b *batch) (struct{}, error) {
		r, err := b.holding(l)
		if err != nil {
			return struct{}{}, err
		}
		f := jobs.Failure{Class: jobs.ClassInterrupted, Message: "the attempt was handed back and does not count"}
		return struct{}{}, b.again(r, f, 0, r.attempt-1, false)
	})
	return err
}
