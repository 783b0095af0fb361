package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// pruneRows bounds the event rows that one transaction deletes, so that no
// commit of others waits long behind retention.
const pruneRows = 200

const (
	sqlGone    = `SELECT id, client FROM jobs WHERE status = 5 LIMIT 1`
	sqlExpired = `SELECT id, client, status FROM jobs WHERE completed_at IS NOT NULL AND completed_at < ? ORDER BY completed_at LIMIT 1`
	// A job that goes leaves its index entries at once, and frees its idempotency key.
	sqlHide      = `UPDATE jobs SET status = 5, completed_at = NULL, idem_key = NULL WHERE id = ?`
	sqlOldest    = `SELECT id, seq FROM events WHERE job = ? ORDER BY seq LIMIT ?`
	sqlDelEvent  = `DELETE FROM events WHERE id = ?`
	sqlDelJob    = `DELETE FROM jobs WHERE id = ?`
	sqlSetPruned = `UPDATE clients SET pruned = max(pruned, ?) WHERE id = ?`
)

// pruned is the outcome of Prune.
type pruned struct {
	n    int
	more bool
}

// Prune implements jobs.Store: one call is one transaction. A job with more
// events than fit is hidden by the first and finished by later ones.
func (s *Store) Prune(ctx context.Context, before time.Time) (int, bool, error) {
	out, err := write(ctx, s, pruneRows, func(b *batch) (pruned, error) {
		var out pruned
		for left := pruneRows; ; {
			job, client, err := b.nextToPrune(before)
			if err != nil || job == 0 {
				return out, err
			}
			if left == 0 {
				out.more = true
				return out, nil
			}
			n, err := b.deleteEvents(job, client, left)
			if err != nil {
				return pruned{}, err
			}
			if left -= n; left == 0 {
				continue // whether events are left shows in the next call
			}
			if _, err := b.exec(sqlDelJob, job); err != nil {
				return pruned{}, fmt.Errorf("delete job: %w", err)
			}
			out.n++
		}
	})
	return out.n, out.more, err
}

// nextToPrune returns a job that is hidden already, or else hides the one whose
// end is oldest; 0 if nothing is older than before.
func (b *batch) nextToPrune(before time.Time) (job, client int64, err error) {
	found, err := b.row(sqlGone, nil, &job, &client)
	if err != nil || found {
		return job, client, err
	}
	var status int
	found, err = b.row(sqlExpired, []any{before.UnixMilli()}, &job, &client, &status)
	if err != nil || !found {
		return 0, 0, err
	}
	if _, err := b.exec(sqlHide, job); err != nil {
		return 0, 0, fmt.Errorf("hide job: %w", err)
	}
	head, err := b.clientByID(client)
	if err != nil {
		return 0, 0, err
	}
	if err := b.dropArtifacts(head, job); err != nil {
		return 0, 0, err
	}
	b.moved(head, status, gone)
	return job, client, nil
}

// deleteEvents deletes a job's oldest events, at most limit, and raises the
// log's pruned mark over them. It returns how many went.
func (b *batch) deleteEvents(job, client int64, limit int) (int, error) {
	var ids []int64
	var highest uint64
	err := b.each(sqlOldest, []any{job, limit}, func(rows *sql.Rows) (bool, error) {
		var id int64
		err := rows.Scan(&id, &highest)
		ids = append(ids, id)
		return true, err
	})
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if _, err := b.exec(sqlDelEvent, id); err != nil {
			return 0, fmt.Errorf("delete event: %w", err)
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	if _, err := b.exec(sqlSetPruned, highest, client); err != nil {
		return 0, fmt.Errorf("raise pruned: %w", err)
	}
	return len(ids), nil
}
