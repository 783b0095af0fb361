package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlRowID     = `SELECT id FROM jobs WHERE uuid = ? AND client = ?`
	sqlRowBefore = `SELECT id FROM jobs WHERE uuid < ? ORDER BY uuid DESC LIMIT 1`
	sqlRowFrom   = `SELECT id FROM jobs WHERE uuid >= ? ORDER BY uuid LIMIT 1`
	sqlCounts    = `SELECT status, n FROM counts`
	maxRowID     = 1<<63 - 1
)

// read runs fn in one read transaction of a read-only connection. ctx bounds
// the wait for the connection only.
func read[T any](ctx context.Context, s *Store, fn func(*conn) (T, error)) (T, error) {
	return readOnce(ctx, s, func(db *conn) (value T, err error) {
		if _, err := db.exec("BEGIN"); err != nil {
			return value, fmt.Errorf("begin read: %w", err)
		}
		value, err = fn(db)
		if _, end := db.exec("ROLLBACK"); err == nil && end != nil {
			err = fmt.Errorf("end read: %w", end)
		}
		return value, err
	})
}

// readOnce is read for a single statement, which sees one state of the database in
// any case.
func readOnce[T any](ctx context.Context, s *Store, fn func(*conn) (T, error)) (T, error) {
	var zero T
	select {
	case <-s.closing:
		return zero, jobs.ErrClosed
	default:
	}
	select {
	case s.reading <- struct{}{}:
	case <-s.closing:
		return zero, jobs.ErrClosed
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	db := s.takeIdle()
	defer func() { s.putIdle(db) }()
	value, err := fn(db)
	if corrupt(err) { // or the disk did not answer for a moment: once more
		if db, err = s.renew(s.readerDB, db); err == nil {
			value, err = fn(db)
		}
	}
	if err != nil {
		return zero, s.health.storageError(err)
	}
	return value, nil
}

// takeIdle takes the connection that was used last; one is there for whoever may read.
func (s *Store) takeIdle() *conn {
	s.idleMu.Lock()
	defer s.idleMu.Unlock()
	last := len(s.idle) - 1
	db := s.idle[last]
	s.idle = s.idle[:last]
	return db
}

func (s *Store) putIdle(db *conn) {
	s.idleMu.Lock()
	s.idle = append(s.idle, db)
	s.idleMu.Unlock()
	<-s.reading
}

// Get implements jobs.Store.
func (s *Store) Get(ctx context.Context, client, id string) (jobs.Job, error) {
	return getJob(ctx, s, (*conn).job, client, id)
}

// Brief implements jobs.Store.
func (s *Store) Brief(ctx context.Context, client, id string) (jobs.Job, error) {
	return getJob(ctx, s, (*conn).brief, client, id)
}

func getJob(ctx context.Context, s *Store, get func(*conn, string, []any, ...any) (*jobRow, error), client, id string) (jobs.Job, error) {
	return read(ctx, s, func(db *conn) (jobs.Job, error) {
		r, err := get(db, sqlJobByUUID, []any{id, client})
		if err != nil {
			return jobs.Job{}, err
		}
		if r == nil {
			return jobs.Job{}, jobs.ErrNotFound
		}
		return r.Job, nil
	})
}

// Counts implements jobs.Store.
func (s *Store) Counts(ctx context.Context) (map[jobs.Status]int64, error) {
	return readOnce(ctx, s, func(db *conn) (map[jobs.Status]int64, error) {
		counts := make(map[jobs.Status]int64, len(statuses))
		err := db.each(sqlCounts, nil, func(rows *sql.Rows) (bool, error) {
			var code int
			var n int64
			if err := rows.Scan(&code, &n); err != nil {
				return false, err
			}
			if code < 0 || code >= len(statuses) {
				return false, fmt.Errorf("unknown status %d in counts", code)
			}
			counts[statuses[code]] = n
			return true, nil
		})
		return counts, err
	})
}
