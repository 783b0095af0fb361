package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlNextExpiring = `SELECT client, expires_due FROM jobs
	WHERE client > ? AND expires_due IS NOT NULL AND status = 0 AND started_at IS NULL ORDER BY client, expires_due LIMIT 1`
	sqlUnbegun = `SELECT id, uuid, queue, iif(ready, 0, -2), expires_ms FROM jobs
	WHERE client = ? AND expires_due <= ? AND expires_due IS NOT NULL AND status = 0 AND started_at IS NULL ORDER BY expires_due LIMIT ?`
	sqlNextUnbegun = `SELECT expires_due FROM jobs
	WHERE client = ? AND expires_due IS NOT NULL AND status = 0 AND started_at IS NULL ORDER BY expires_due LIMIT 1`
	sqlExpire = `UPDATE jobs SET status = 3, ready = 0, due = NULL, error = ?, error_message = ?, completed_at = ?
	WHERE id = ? AND status = 0 AND started_at IS NULL`
	sqlBeginExpiry = `UPDATE jobs SET expires_due = ? + max(0, expires_at - ?)
	WHERE id = ? AND expires_at IS NOT NULL AND expires_due IS NULL AND started_at IS NULL RETURNING client, expires_due`
	// A process that starts knows the time that was asked for, and that some of it
	// may have passed.
	sqlBoundExpiries = `UPDATE jobs SET expires_due = ? + expires_ms
	WHERE expires_due IS NOT NULL AND status = 0 AND started_at IS NULL AND expires_due > ? + expires_ms`
)

// expiry is when a job that is submitted now ends if nobody begins it: the time
// that its client is told, zero for never, and when that is due, nil while runAt
// has not come.
func (b *batch) expiry(spec jobs.Spec, now time.Time) (at time.Time, due any) {
	switch {
	case spec.ExpiresIn <= 0:
		return time.Time{}, nil
	case spec.RunAt.UnixMilli() > now.UnixMilli():
		return fromMillis(spec.RunAt.UnixMilli()).Add(spec.ExpiresIn), nil
	}
	return fromMillis(now.UnixMilli()).Add(spec.ExpiresIn), b.within() + spec.ExpiresIn.Milliseconds()
}

// within is the steady time, rounded up: what lasts for some time from now on lasts
// for no millisecond less on any clock.
func (b *batch) within() int64 { return b.steady() + 1 }

// beginExpiry starts the time of a job whose runAt has come.
func (b *batch) beginExpiry(job int64) error {
	var client, due int64
	found, err := b.row(sqlBeginExpiry, []any{b.within(), b.now().UnixMilli(), job}, &client, &due)
	if err != nil {
		return fmt.Errorf("begin expiry: %w", err)
	}
	if found {
		b.expires(client, due)
	}
	return nil
}

// boundExpiries lets no job wait longer than was asked for, whatever clock its time
// was written by.
func (st *state) boundExpiries(db *conn) error {
	now := st.clock.steady()
	if _, err := db.exec(sqlBoundExpiries, now, now); err != nil {
		return fmt.Errorf("bound expiries: %w", err)
	}
	return nil
}

// readExpiries reads when the first job of each client expires.
func (st *state) readExpiries(db *conn) error {
	clear(st.expiries)
	for client := int64(0); ; {
		var at int64
		found, err := db.row(sqlNextExpiring, []any{client}, &client, &at)
		if err != nil {
			return fmt.Errorf("read expiries: %w", err)
		}
		if !found {
			return nil
		}
		st.expiries[client] = at
	}
}

// expires notes that a job of a client expires at a time.
func (b *batch) expires(client, due int64) {
	if first, ok := b.firstExpiry(client); !ok || due < first {
		b.expiries[client] = due
	}
}

// firstExpiry is when a client's first job expires, or earlier.
func (b *batch) firstExpiry(client int64) (due int64, ok bool) {
	if due, ok = b.expiries[client]; ok {
		return due, due != 0
	}
	due, ok = b.st.expiries[client]
	return due, ok
}

// ExpireJobs implements jobs.Store. It goes by what is known of each client's first
// expiry, so its cost does not grow with the jobs that wait, and takes as many of
// each client, so that those of one do not wait for the thousands of another.
func (s *Store) ExpireJobs(ctx context.Context, limit int) (jobs.Swept, error) {
	return write(ctx, s, limit, func(b *batch) (jobs.Swept, error) {
		var out jobs.Swept
		due := b.expiring()
		for i, client := range due[:min(limit, len(due))] {
			share := (limit - out.N) / (len(due) - i)
			n, err := b.expireOf(client, max(1, share))
			if err != nil {
				return jobs.Swept{}, err
			}
			b.expired = client
			if out.N += n; out.N >= limit {
				break
			}
		}
		out.Next, out.Waits = b.nextExpiry()
		return out, nil
	})
}

// expiring returns the clients that may have an expired job, in turn: those after
// the one that was looked at last come first.
func (b *batch) expiring() []int64 {
	var due []int64
	now := b.steady()
	for client := range b.st.expiries { // jobs of this very batch are too young
		if at, ok := b.firstExpiry(client); ok && at <= now {
			due = append(due, client)
		}
	}
	slices.Sort(due)
	first, _ := slices.BinarySearch(due, b.expired+1)
	return slices.Concat(due[first:], due[:first])
}

// expireOf ends at most limit expired jobs of one client, and notes when its next
// one expires.
func (b *batch) expireOf(client int64, limit int) (int, error) {
	type unbegun struct {
		id    int64
		uuid  string
		queue string
		from  int // pending or waiting
		asked int64
	}
	var found []unbegun
	err := b.each(sqlUnbegun, []any{client, b.steady(), limit}, func(rows *sql.Rows) (bool, error) {
		var u unbegun
		err := rows.Scan(&u.id, &u.uuid, &u.queue, &u.from, &u.asked)
		found = append(found, u)
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("find expired jobs: %w", err)
	}
	head, err := b.clientByID(client)
	if err != nil {
		return 0, err
	}
	now := b.now()
	for _, u := range found {
		message := fmt.Sprintf("nobody began the job within %d ms", u.asked)
		if _, err := b.exec(sqlExpire, jobs.ClassExpired, message, now.UnixMilli(), u.id); err != nil {
			return 0, fmt.Errorf("expire job %s: %w", u.uuid, err)
		}
		b.moved(head, u.queue, u.from, failed)
		b.tell(head, jobs.WasFailed)
		if _, err := b.append(head, u.id, u.uuid, now, jobs.FailedWith(now, jobs.ClassExpired, message)); err != nil {
			return 0, err
		}
	}
	var next int64
	_, err = b.row(sqlNextUnbegun, []any{client}, &next)
	b.expiries[client] = next // 0: no job is left that expires
	return len(found), err
}

// nextExpiry returns how long it is until the next job may expire, if one does.
func (b *batch) nextExpiry() (left time.Duration, waits bool) {
	all := maps.Clone(b.st.expiries)
	maps.Copy(all, b.expiries)
	var next int64
	for _, at := range all {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if next == 0 {
		return 0, false
	}
	return time.Duration(next-b.steady()) * time.Millisecond, true
}
