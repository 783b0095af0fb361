package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// A step of Prune: as much as can be deleted between two looks at the clock and at who
// else wants to commit. It takes a millisecond or two.
const (
	pruneJobs = 25
	pruneRows = 250 // events
)

const (
	sqlGone = `SELECT id, client FROM jobs WHERE status = 5 LIMIT 1`
	// How many events a job has matters only if they are more than a step may delete.
	sqlExpired = `SELECT id, client, status, coalesce(batch, 0), (SELECT coalesce(max(seq), 0) FROM events WHERE job = jobs.id),
		(SELECT count(*) FROM (SELECT 1 FROM events WHERE job = jobs.id LIMIT ?))
		FROM jobs WHERE completed_at IS NOT NULL AND completed_at < ? ORDER BY completed_at LIMIT ?`
	// A job that goes leaves its index entries at once, and frees its idempotency key.
	sqlHide      = `UPDATE jobs SET status = 5, completed_at = NULL, idem_key = NULL, batch = NULL WHERE id = ?`
	sqlOldest    = `SELECT count(*), max(seq) FROM (SELECT seq FROM events WHERE job = ? ORDER BY seq LIMIT ?)`
	sqlDelOldest = `DELETE FROM events WHERE job = ? AND seq <= ?`
	sqlDelEvents = `DELETE FROM events WHERE job IN (SELECT value FROM json_each(?))`
	sqlDelJob    = `DELETE FROM jobs WHERE id = ?`
	sqlDelJobs   = `DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?))`
	sqlSetPruned = `UPDATE clients SET pruned = max(pruned, ?) WHERE id = ?`
)

// Prune implements jobs.Store: one call is one transaction. It goes on step by step until
// takes is over, or somebody waits for this commit or for the next. A job with more events than a step
// may delete is hidden by the first of its steps and finished by later ones.
func (s *Store) Prune(ctx context.Context, before time.Time, takes time.Duration) (jobs.Pruned, error) {
	return write(ctx, s, batchRows, func(b *batch) (jobs.Pruned, error) {
		var out jobs.Pruned
		for began := time.Now(); ; {
			n, more, err := b.prune(before)
			if err != nil {
				return jobs.Pruned{}, err
			}
			out.N, out.More = out.N+n, more
			out.Yielded = !b.alone || len(s.committer.queue) > 0
			if !more || out.Yielded || time.Since(began) >= takes {
				return out, nil
			}
		}
	})
}

// prune is one step. It returns how many jobs went, and whether there may be more.
func (b *batch) prune(before time.Time) (n int, more bool, err error) {
	var job, client int64
	found, err := b.row(sqlGone, nil, &job, &client)
	if err != nil {
		return 0, false, err
	}
	if found {
		n, err = b.pruneOldest(job, client)
		return n, true, err
	}
	old, err := b.pastRetention(before)
	if err != nil || len(old) == 0 {
		return 0, false, err
	}
	if err := b.leave(old); err != nil {
		return 0, false, err
	}
	if first := old[0]; first.events > pruneRows {
		if _, err := b.exec(sqlHide, first.id); err != nil {
			return 0, false, fmt.Errorf("hide job: %w", err)
		}
		n, err = b.pruneOldest(first.id, first.client)
		return n, true, err
	}
	return len(old), true, b.deleteJobs(old)
}

// expiredJob is a job past its retention.
type expiredJob struct {
	id, client int64
	status     int
	batch      int64  // the row of its batch; 0: none
	highest    uint64 // seq of its newest event
	events     int    // how many it has; pruneRows + 1: more than a step may delete
}

// pastRetention returns the jobs whose end is oldest and before a time: as many as a step
// may delete, or one that has too many events for that.
func (b *batch) pastRetention(before time.Time) (old []expiredJob, err error) {
	left := pruneRows
	err = b.each(sqlExpired, []any{pruneRows + 1, before.UnixMilli(), pruneJobs}, func(rows *sql.Rows) (bool, error) {
		var j expiredJob
		if err := rows.Scan(&j.id, &j.client, &j.status, &j.batch, &j.highest, &j.events); err != nil {
			return false, err
		}
		if j.events > left && len(old) > 0 {
			return false, nil
		}
		left -= j.events
		old = append(old, j)
		return left > 0, nil
	})
	return old, err
}

// leave takes jobs out of what is counted, with their artifacts, and out of their
// batches.
func (b *batch) leave(old []expiredJob) error {
	batches := make(map[int64]int)
	for _, j := range old {
		head, err := b.clientByID(j.client)
		if err != nil {
			return err
		}
		b.moved(head, "", j.status, gone)
		if j.batch != 0 {
			batches[j.batch]++
		}
	}
	for row, n := range batches {
		if err := b.leaveBatch(row, n); err != nil {
			return err
		}
	}
	return b.dropArtifacts(idsOf(old))
}

// deleteJobs deletes jobs with all their events.
func (b *batch) deleteJobs(old []expiredJob) error {
	marks := make(map[int64]uint64)
	for _, j := range old {
		marks[j.client] = max(marks[j.client], j.highest)
	}
	for client, highest := range marks {
		if _, err := b.exec(sqlSetPruned, highest, client); err != nil {
			return fmt.Errorf("raise pruned: %w", err)
		}
	}
	ids := idsOf(old)
	if _, err := b.exec(sqlDelEvents, ids); err != nil {
		return fmt.Errorf("delete events: %w", err)
	}
	if _, err := b.exec(sqlDelJobs, ids); err != nil {
		return fmt.Errorf("delete jobs: %w", err)
	}
	return nil
}

// idsOf returns the rows of jobs as a JSON array.
func idsOf(old []expiredJob) string {
	list := []byte{'['}
	for i, j := range old {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, j.id, 10)
	}
	return string(append(list, ']'))
}

// pruneOldest deletes the oldest events of a hidden job, as many as a step may delete,
// and the job itself if none is left. It returns how many jobs went.
func (b *batch) pruneOldest(job, client int64) (int, error) {
	var events int
	var highest sql.NullInt64
	if _, err := b.row(sqlOldest, []any{job, pruneRows}, &events, &highest); err != nil {
		return 0, err
	}
	if events > 0 {
		if _, err := b.exec(sqlDelOldest, job, highest.Int64); err != nil {
			return 0, fmt.Errorf("delete events: %w", err)
		}
		if _, err := b.exec(sqlSetPruned, highest.Int64, client); err != nil {
			return 0, fmt.Errorf("raise pruned: %w", err)
		}
	}
	if events == pruneRows { // whether some are left shows in the next step
		return 0, nil
	}
	if _, err := b.exec(sqlDelJob, job); err != nil {
		return 0, fmt.Errorf("delete job: %w", err)
	}
	return 1, nil
}
