package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlRunning   = `SELECT uuid, queue, max(created_at, coalesce(run_at, 0)), client, attempt, max_attempts, timeout_ms FROM jobs WHERE id = ? AND status = 1`
	sqlSource    = `SELECT client, queue FROM jobs WHERE id = ? AND ready = 1`
	sqlLocal     = `SELECT id FROM jobs WHERE status = 1 AND lease_local = 1 LIMIT ?`
	sqlDue       = `SELECT id FROM jobs WHERE due IS NOT NULL AND due <= ? ORDER BY due LIMIT ?`
	sqlNextDue   = `SELECT due FROM jobs WHERE due IS NOT NULL ORDER BY due LIMIT 1`
	sqlRetryDue  = `SELECT id FROM jobs WHERE retry_due IS NOT NULL AND retry_due <= ? ORDER BY retry_due LIMIT ?`
	sqlNextRetry = `SELECT retry_due FROM jobs WHERE retry_due IS NOT NULL ORDER BY retry_due LIMIT 1`
	sqlPromote   = `UPDATE jobs SET ready = 1, due = NULL, retry_due = NULL, retry_ms = NULL WHERE id = ? RETURNING client, queue`
	// A process that starts knows the delay, and that some of it may have passed.
	sqlBoundRetries = `UPDATE jobs SET retry_due = ? + retry_ms WHERE retry_due IS NOT NULL AND retry_due > ? + retry_ms`
	sqlCancel       = `UPDATE jobs SET status = 4, ready = 0, due = NULL, retry_due = NULL, retry_ms = NULL, next_at = NULL, lease = NULL, completed_at = ?
	WHERE id = ? AND status IN (0, 1)`
)

// ExpireLeases implements jobs.Store.
func (s *Store) ExpireLeases(ctx context.Context, limit int) (jobs.Swept, error) {
	return write(ctx, s, 0, func(b *batch) (jobs.Swept, error) {
		now := time.Now()
		ids := b.overdue(now, limit)
		for _, job := range ids {
			if err := b.expire(job, now); err != nil {
				return jobs.Swept{}, err
			}
		}
		ready, err := b.sources(ids)
		out := jobs.Swept{N: len(ids), Ready: ready}
		out.Next, out.Waits = b.nextDeadline(now)
		return out, err
	})
}

// sources returns where those of some jobs are that can be claimed, each once.
func (b *batch) sources(ids []int64) (ready []jobs.Source, err error) {
	seen := make(map[jobs.Source]bool)
	for _, job := range ids {
		var client int64
		var queue string
		found, err := b.row(sqlSource, []any{job}, &client, &queue)
		if err != nil {
			return nil, fmt.Errorf("read queue of job: %w", err)
		}
		if !found {
			continue
		}
		head, err := b.clientByID(client)
		if err != nil {
			return nil, err
		}
		if s := jobs.SourceIn(head.name, queueName(queue)); !seen[s] {
			seen[s] = true
			ready = append(ready, s)
		}
	}
	return ready, nil
}

// overdue returns jobs whose lease has run out, longest first, at most limit.
func (b *batch) overdue(now time.Time, limit int) []int64 {
	type over struct {
		job int64
		end time.Time
	}
	var found []over
	for job := range b.st.leases { // leases of this very batch are too young
		if l, ok := b.lease(job); ok && !l.end().After(now) {
			found = append(found, over{job, l.end()})
		}
	}
	slices.SortFunc(found, func(x, y over) int {
		return cmp.Or(x.end.Compare(y.end), cmp.Compare(x.job, y.job))
	})
	var ids []int64
	for _, o := range found[:min(limit, len(found))] {
		ids = append(ids, o.job)
	}
	return ids
}

// nextDeadline returns how long it is from now until the next open lease runs out, if one
// is open.
func (b *batch) nextDeadline(now time.Time) (left time.Duration, open bool) {
	var next time.Time
	see := func(l lease) {
		if next.IsZero() || l.end().Before(next) {
			next = l.end()
		}
	}
	for job := range b.st.leases {
		if _, changed := b.leases[job]; !changed {
			see(b.st.leases[job])
		}
	}
	for _, l := range b.leases {
		if l != nil {
			see(*l)
		}
	}
	if next.IsZero() {
		return 0, false
	}
	return next.Sub(now), true
}

// expire ends the lease of a job whose holder went silent, or took too long.
func (b *batch) expire(job int64, now time.Time) error {
	r := running{id: job}
	var client, timeout int64
	found, err := b.row(sqlRunning, []any{job}, &r.uuid, &r.queue, &r.since, &client, &r.attempt, &r.max, &timeout)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("job %d has a deadline without a lease", job)
	}
	if r.head, err = b.clientByID(client); err != nil {
		return err
	}
	if l, ok := b.lease(job); ok && !l.limit.IsZero() && !l.limit.After(now) {
		return b.fail(r, jobs.TimedOut(timeout), false)
	}
	return b.fail(r, jobs.Failure{
		Class: jobs.ClassLeaseExpired, Message: "the worker went silent and its lease ran out", Retry: true,
	}, false)
}

// expireLocal ends the leases that an earlier process gave to itself, at most
// limit. The lock on the folder proves that this process is gone.
func (s *Store) expireLocal(ctx context.Context, limit int) (int, error) {
	return write(ctx, s, limit, func(b *batch) (int, error) {
		ids, err := b.ids(sqlLocal, limit)
		if err != nil {
			return 0, err
		}
		for _, id := range ids {
			if err := b.expire(id, time.Now()); err != nil {
				return 0, err
			}
		}
		return len(ids), nil
	})
}

// PromoteDue implements jobs.Store.
func (s *Store) PromoteDue(ctx context.Context, limit int) (jobs.Swept, error) {
	return write(ctx, s, 0, func(b *batch) (jobs.Swept, error) {
		ids, err := b.due(limit)
		if err != nil {
			return jobs.Swept{}, fmt.Errorf("find due jobs: %w", err)
		}
		for _, id := range ids {
			if err := b.promote(id); err != nil {
				return jobs.Swept{}, err
			}
		}
		ready, err := b.sources(ids)
		if err != nil {
			return jobs.Swept{}, err
		}
		out := jobs.Swept{N: len(ids), Ready: ready}
		out.Next, out.Waits, err = b.nextDue()
		return out, err
	})
}

// promote makes a job claimable whose time has come.
func (b *batch) promote(job int64) error {
	var client int64
	var queue string
	found, err := b.row(sqlPromote, []any{job}, &client, &queue)
	if err == nil && !found {
		err = fmt.Errorf("job %d is missing", job)
	}
	if err != nil {
		return fmt.Errorf("promote job: %w", err)
	}
	head, err := b.clientByID(client)
	if err != nil {
		return err
	}
	b.moved(head, queue, waiting, pending)
	return b.beginExpiry(job)
}

// due returns waiting jobs whose time has come, at most limit.
func (b *batch) due(limit int) ([]int64, error) {
	ids, err := b.ids(sqlDue, b.now().UnixMilli(), limit)
	if err != nil || len(ids) == limit {
		return ids, err
	}
	retries, err := b.ids(sqlRetryDue, b.steady(), limit-len(ids))
	return append(ids, retries...), err
}

// nextDue returns how long it is until the next waiting job is due, if one waits.
func (b *batch) nextDue() (left time.Duration, waits bool, err error) {
	var due, retry int64
	planned, err := b.row(sqlNextDue, nil, &due)
	if err != nil {
		return 0, false, err
	}
	if planned {
		left = fromMillis(due).Sub(b.now())
	}
	retried, err := b.row(sqlNextRetry, nil, &retry)
	if err != nil {
		return 0, false, err
	}
	if pause := time.Duration(retry-b.steady()) * time.Millisecond; retried && (!planned || pause < left) {
		left = pause
	}
	return left, planned || retried, nil
}

// boundRetries lets no job wait longer than the delay that was asked for,
// whatever clock its time was written by.
func (st *state) boundRetries(db *conn) error {
	now := st.clock.steady()
	_, err := db.exec(sqlBoundRetries, now, now)
	return err
}

// Cancel implements jobs.Store.
func (s *Store) Cancel(ctx context.Context, client, id string) (jobs.Job, error) {
	return write(ctx, s, 1, func(b *batch) (jobs.Job, error) {
		r, err := b.brief(sqlJobByUUID, []any{id, client})
		switch {
		case err != nil:
			return jobs.Job{}, err
		case r == nil:
			return jobs.Job{}, refuse(jobs.ErrNotFound)
		case r.status == cancelled:
			return r.Job, nil
		case r.Status.Terminal():
			return jobs.Job{}, refuse(&jobs.ConflictError{Job: r.Job,
				Detail: fmt.Sprintf("the job is already %s", r.Status)})
		}
		from, err := b.standing(r)
		if err != nil {
			return jobs.Job{}, err
		}
		now := b.now()
		if _, err := b.changed(sqlCancel, now.UnixMilli(), r.id); err != nil {
			return jobs.Job{}, fmt.Errorf("cancel job %s: %w", id, err)
		}
		head, err := b.clientByID(r.client)
		if err != nil {
			return jobs.Job{}, err
		}
		b.moved(head, r.queue, from, cancelled)
		b.tell(head, jobs.WasCancelled)
		b.leases[r.id] = nil
		if _, err := b.append(head, r.id, r.ID, now, jobs.CancelledAt(now)); err != nil {
			return jobs.Job{}, err
		}
		return b.briefByID(r.id)
	})
}

// standing is a job's status, and waiting if it is pending and not ready.
func (b *batch) standing(r *jobRow) (int, error) {
	if r.status != pending {
		return r.status, nil
	}
	var client int64
	var queue string
	ready, err := b.row(sqlSource, []any{r.id}, &client, &queue)
	if err != nil {
		return 0, fmt.Errorf("read whether job %s is ready: %w", r.ID, err)
	}
	if !ready {
		return waiting, nil
	}
	return pending, nil
}

// ids reads a column of row ids.
func (s *conn) ids(query string, args ...any) ([]int64, error) {
	var ids []int64
	err := s.each(query, args, func(rows *sql.Rows) (bool, error) {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return true, err
	})
	return ids, err
}
