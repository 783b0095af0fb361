package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// A list goes by row id, the order of commits. ?2 is the client, ?3 and ?4 the rows that
// it lies between, ?5 to ?8 what narrows it, ?9 the limit and ?10 the status.
const (
	sqlList       = sqlJobColumns + sqlJobFrom + `WHERE j.client = ?2 AND j.id < ?3 AND j.id >= ?4 AND j.status < 5` + sqlNarrow
	sqlListStatus = sqlJobColumns + ` FROM jobs j INDEXED BY jobs_status` + sqlJobJoins + `WHERE j.client = ?2 AND j.id < ?3 AND j.id >= ?4 AND j.status = ?10` + sqlNarrow
	sqlNarrow     = ` AND (?5 = '' OR j.queue = ?5) AND j.created_at >= ?6 AND j.created_at < ?7
	AND (?8 = '' OR instr(j.uuid, ?8) OR instr(lower(s.title), ?8) OR instr(lower(j.error), ?8) OR instr(lower(j.error_message), ?8))
	ORDER BY j.id DESC LIMIT ?9`

	// The last row that is looked at, if there are so many.
	sqlScan       = `SELECT id, uuid FROM jobs WHERE client = ? AND id < ? AND id >= ? AND status < 5 ORDER BY id DESC LIMIT 1 OFFSET ?`
	sqlScanStatus = `SELECT id, uuid FROM jobs INDEXED BY jobs_status WHERE client = ? AND id < ? AND id >= ? AND status = ? ORDER BY id DESC LIMIT 1 OFFSET ?`
)

// clockSlack is how far the time in a job's id may be from when it was stored.
const clockSlack = time.Hour

// List implements jobs.Store.
func (s *Store) List(ctx context.Context, client string, q jobs.ListQuery) (jobs.JobPage, error) {
	q.Limit = max(1, min(q.Limit, jobs.MaxListLimit))
	if q.MaxBytes <= 0 {
		q.MaxBytes = jobs.MaxPageBytes
	}
	if q.MaxScan <= 0 {
		q.MaxScan = jobs.MaxListScan
	}
	return read(ctx, s, func(db *conn) (jobs.JobPage, error) {
		page := jobs.JobPage{Jobs: []jobs.Job{}}
		var id, pruned int64
		found, err := db.row(sqlLog, []any{client}, &id, &pruned)
		if err != nil || !found {
			return page, err
		}
		rows, err := db.listed(id, q)
		if err != nil {
			return page, err
		}
		page.Jobs, page.Next, err = db.list(id, rows, q)
		if err != nil {
			return jobs.JobPage{}, err
		}
		return page, nil
	})
}

// rowSpan are the rows from one on and below another. next is the id of the job in the
// first of them, if there may be older ones to be looked at; empty: there are none.
type rowSpan struct {
	from, below int64
	next        string
}

// listed returns the rows that a page is looked for in.
func (s *conn) listed(client int64, q jobs.ListQuery) (rows rowSpan, err error) {
	if rows.below, err = s.listStart(client, q.After); err != nil || !q.Narrow() {
		return rows, err
	}
	if !q.To.IsZero() {
		first := int64(maxRowID) // jobs are stored in another order than their ids are drawn in
		if _, err := s.row(sqlRowFrom, []any{jobs.FirstID(q.To.Add(clockSlack))}, &first); err != nil {
			return rows, err
		}
		rows.below = min(rows.below, first)
	}
	if !q.From.IsZero() {
		if _, err = s.row(sqlRowBefore, []any{jobs.FirstID(q.From.Add(-clockSlack))}, &rows.from); err != nil {
			return rows, err
		}
	}
	query, args := sqlScan, []any{client, rows.below, rows.from, q.MaxScan - 1}
	if code, ok := statusCode(q.Status); ok {
		query, args = sqlScanStatus, []any{client, rows.below, rows.from, code, q.MaxScan - 1}
	}
	var last int64
	found, err := s.row(query, args, &last, &rows.next)
	if found {
		rows.from = last
	}
	return rows, err
}

// list reads whole jobs until one of the limits of q. It holds no more than one job beyond
// them. next is where the next page begins; nil: nowhere.
func (s *conn) list(client int64, rows rowSpan, q jobs.ListQuery) (page []jobs.Job, next *string, err error) {
	query, args := sqlList, []any{
		int64(wholeJob), client, rows.below, rows.from, q.Queue, millisOr(q.From, 0), millisOr(q.To, maxRowID), jobs.LowerASCII(q.Search), q.Limit + 1,
	}
	if code, ok := statusCode(q.Status); ok {
		query, args = sqlListStatus, append(args, code)
	}
	found, more, err := s.readList(query, args, q)
	page, size := []jobs.Job{}, 0
	for i := range found {
		if err == nil {
			err = s.addArtifacts(&found[i])
		}
		if err != nil {
			return nil, nil, err
		}
		if size += found[i].Size(); i > 0 && size > q.MaxBytes { // with its artifacts it is too much
			more = true
			break
		}
		page = append(page, found[i].Job)
	}
	switch {
	case more:
		next = &page[len(page)-1].ID
	case rows.next != "":
		next = &rows.next
	}
	return page, next, err
}

// readList reads jobs without their artifacts. more tells that one was left.
func (s *conn) readList(query string, args []any, q jobs.ListQuery) (found []jobRow, more bool, err error) {
	size := 0
	err = s.each(query, args, func(rows *sql.Rows) (bool, error) {
		r, err := scanJob(rows, nil)
		if err != nil {
			return false, err
		}
		size += r.Size()
		if more = len(found) > 0 && (len(found) >= q.Limit || size > q.MaxBytes); more {
			return false, nil
		}
		found = append(found, r)
		return true, nil
	})
	return found, more, err
}

func millisOr(t time.Time, zero int64) int64 {
	if t.IsZero() {
		return zero
	}
	return t.UnixMilli()
}

// listStart returns the row id that a page lies below. If the job named was
// pruned since, its UUIDv7 tells where it was, to within a few jobs that were
// submitted in the same millisecond.
func (s *conn) listStart(client int64, after string) (int64, error) {
	if after == "" {
		return maxRowID, nil
	}
	var id int64
	found, err := s.row(sqlRowID, []any{after, client}, &id)
	if err != nil || found {
		return id, err
	}
	found, err = s.row(sqlRowBefore, []any{after}, &id)
	if err != nil || !found {
		return 0, err
	}
	return id + 1, nil
}
