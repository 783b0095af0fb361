package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlLog     = `SELECT id, pruned FROM clients WHERE name = ?`
	sqlOpenLog = `SELECT c.id, c.last_seq, c.pruned, ` + sqlHeadEpoch + `,
	(SELECT epoch FROM epochs WHERE client = c.id AND from_seq <= c.pruned ORDER BY from_seq DESC LIMIT 1)
FROM clients c WHERE c.name = ?`
	sqlOpenJob = sqlJobColumns + `, c.last_seq, c.pruned, ` + sqlHeadEpoch + `,
	(SELECT seq FROM events WHERE job = j.id ORDER BY seq LIMIT 1),
	(SELECT epoch FROM epochs WHERE client = c.id
		AND from_seq < (SELECT seq FROM events WHERE job = j.id ORDER BY seq LIMIT 1) ORDER BY from_seq DESC LIMIT 1)` +
		sqlJobFrom + sqlOfUUID
	sqlHeadEpoch = `(SELECT epoch FROM epochs WHERE client = c.id AND from_seq <= c.last_seq ORDER BY from_seq DESC LIMIT 1)`
	sqlJobTail   = `SELECT j.client, (SELECT seq FROM events WHERE job = j.id ORDER BY seq DESC LIMIT 1 OFFSET ?) FROM jobs j CROSS JOIN clients c ON c.id = j.client ` + sqlOfUUID
	sqlLogTail   = `SELECT id, max(pruned, last_seq - ?) FROM clients WHERE name = ?`
	sqlEpoch     = `SELECT from_seq FROM epochs WHERE client = ? AND epoch = ?`
	sqlNextEpoch = `SELECT from_seq FROM epochs WHERE client = ? AND from_seq > ? ORDER BY from_seq LIMIT 1`
	sqlEpochs    = `SELECT from_seq, epoch FROM epochs WHERE client = ? AND from_seq <= ? ORDER BY from_seq DESC`
	sqlPageOfLog = `SELECT c.id, c.pruned, c.last_seq, ` + sqlHeadEpoch + ` FROM clients c WHERE c.name = ?`
	sqlPageOfJob = `SELECT j.id, j.client, c.last_seq, ` + sqlHeadEpoch + ` FROM jobs j CROSS JOIN clients c ON c.id = j.client
WHERE j.uuid = ? AND c.name = ? AND j.status < 5`
	sqlLogPage = `SELECT seq, kind, tail FROM events WHERE client = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`
	sqlJobPage = `SELECT seq, kind, tail FROM events WHERE job = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`
)

// openBytes bounds what Open reads of a job's events.
const openBytes = 16 << 10

// logRow is what the database knows of a log, and of the job that is opened.
type logRow struct {
	id, job              int64
	head, pruned, newest uint64
	epoch                string // of all the job's events; empty: not known to be the same
}

// Open implements eventlog.Reader. In a client room Oldest is the pruned mark: events
// of jobs that are still kept may lie below it, but no reader can start there.
// A client of whom nothing is known has an empty log.
func (s *Store) Open(ctx context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	if r.Job == "" && at == nil {
		return readOnce(ctx, s, func(db *conn) (eventlog.Opened, error) {
			_, state, err := db.openLog(r)
			return state, err
		})
	}
	return read(ctx, s, func(db *conn) (eventlog.Opened, error) {
		open := db.openLog
		if r.Job != "" {
			open = db.openJob
		}
		l, state, err := open(r)
		if err == nil && at != nil {
			state.Reason, err = db.verdict(l, *at)
		}
		switch {
		case err != nil:
			return eventlog.Opened{}, err
		case r.Job != "" && (at != nil || state.End != 0):
			from := state.Oldest
			if at != nil && state.Reason == eventlog.Valid {
				from = max(from, at.Seq)
			}
			state.Events, state.Whole, err = db.few(l, r.Client, from)
		case r.Job == "" && state.Reason == eventlog.Valid && at.Seq < l.pruned:
			state.Reason = eventlog.ReasonPruned
		}
		return state, err
	})
}

// Tail implements eventlog.Reader.
func (s *Store) Tail(ctx context.Context, r eventlog.Room, n int) (eventlog.Cursor, error) {
	return read(ctx, s, func(db *conn) (eventlog.Cursor, error) {
		var client int64
		var before uint64
		var err error
		if r.Job == "" {
			_, err = db.row(sqlLogTail, []any{n, r.Client}, &client, &before) // a client of whom nothing is known has an empty log
		} else {
			client, before, err = db.jobTail(r, n)
		}
		if err != nil {
			return eventlog.Cursor{}, err
		}
		text, err := db.position(client, before)
		at, _ := eventlog.ParseCursor(text) // it is one of ours
		return at, err
	})
}

// jobTail returns the seq right before the newest n events of a job; 0: it has no more.
func (s *conn) jobTail(r eventlog.Room, n int) (client int64, before uint64, err error) {
	var seq sql.NullInt64
	found, err := s.row(sqlJobTail, []any{n - 1, r.Job, r.Client}, &client, &seq)
	if err == nil && !found {
		err = jobs.ErrNotFound
	}
	if seq.Int64 > 0 {
		before = uint64(seq.Int64 - 1)
	}
	return client, before, err
}

// few reads the events of the opened job after a seq, if they are few.
func (s *conn) few(l logRow, client string, after uint64) (events []eventlog.Event, whole bool, err error) {
	if after >= l.newest {
		return nil, true, nil
	}
	stored, more, err := s.events(sqlJobPage, []any{l.job, after, l.newest, eventlog.MaxOpenEvents + 1}, eventlog.MaxOpenEvents, openBytes)
	if err != nil || more {
		return nil, false, err
	}
	if l.epoch != "" {
		events, err = bearing([]span{{epoch: l.epoch}}, client, stored)
	} else {
		events, err = s.withIDs(l.id, client, stored)
	}
	return events, true, err
}

// openLog tells how a client's room stands.
func (s *conn) openLog(r eventlog.Room) (l logRow, state eventlog.Opened, err error) {
	var head, oldest sql.NullString
	if _, err = s.row(sqlOpenLog, []any{r.Client}, &l.id, &l.head, &l.pruned, &head, &oldest); err != nil {
		return l, state, err
	}
	state.Head, state.HeadID = l.head, cursorAt(head, l.head)
	state.Oldest, state.OldestID = l.pruned, cursorAt(oldest, l.pruned)
	return l, state, nil
}

// openJob tells how a job's room stands.
func (s *conn) openJob(r eventlog.Room) (l logRow, state eventlog.Opened, err error) {
	var head, oldest sql.NullString
	var first uint64
	row, err := s.brief(sqlOpenJob, []any{r.Job, r.Client}, &l.head, &l.pruned, &head, &first, &oldest)
	if err != nil {
		return l, state, err
	}
	if row == nil {
		return l, state, jobs.ErrNotFound
	}
	l.id, l.job, l.newest = row.client, row.id, row.newest
	if oldest.String == row.epoch { // from before the first event to the newest
		l.epoch = row.epoch
	}
	state.Status = string(row.Status)
	if state.Job, err = (jobs.Abridged{Job: row.Job}).MarshalJSON(); err != nil {
		return l, state, fmt.Errorf("encode job: %w", err)
	}
	state.Head, state.HeadID = l.head, cursorAt(head, l.head)
	state.Oldest, state.OldestID = first-1, cursorAt(oldest, first-1)
	if row.Status.Terminal() { // nothing follows the terminal event
		state.End = row.newest
		state.BeforeEnd, err = s.position(row.client, row.newest-1)
	}
	return l, state, err
}

// verdict judges a cursor by the epochs of its log, whatever was pruned.
func (s *conn) verdict(l logRow, at eventlog.Cursor) (eventlog.Reason, error) {
	if at == (eventlog.Cursor{}) {
		return eventlog.Valid, nil
	}
	var from, next uint64
	known, err := s.row(sqlEpoch, []any{l.id, at.Epoch}, &from)
	if err != nil {
		return "", err
	}
	if !known || at.Seq < from {
		return eventlog.ReasonEpoch, nil
	}
	ended, err := s.row(sqlNextEpoch, []any{l.id, from}, &next)
	switch {
	case err != nil:
		return "", err
	case ended && at.Seq >= next:
		return eventlog.ReasonEpoch, nil
	case !ended && at.Seq > l.head:
		return eventlog.ReasonFuture, nil
	}
	return eventlog.Valid, nil
}

// storedEvent is an event without its id.
type storedEvent struct {
	seq  uint64
	kind int
	tail []byte
}

// Page implements eventlog.Reader.
func (s *Store) Page(ctx context.Context, r eventlog.Room, after uint64, maxEvents, maxBytes int) (eventlog.Page, error) {
	after = min(after, maxRowID) // SQLite's integers are signed
	return read(ctx, s, func(db *conn) (eventlog.Page, error) {
		client, of, page, err := db.pageOf(r)
		if err != nil || of == 0 {
			return page, err
		}
		query := sqlLogPage
		if r.Job != "" {
			query = sqlJobPage
		}
		stored, more, err := db.events(query, []any{of, after, uint64(maxRowID), maxEvents + 1}, maxEvents, maxBytes)
		if err != nil {
			return eventlog.Page{}, fmt.Errorf("read events: %w", err)
		}
		page.More = more
		page.Events, err = db.withIDs(client, r.Client, stored)
		if err == nil && after < page.Pruned { // rare: say where the log begins now
			var now eventlog.Opened
			_, now, err = db.openLog(r)
			page.OldestID = now.OldestID
		}
		return page, err
	})
}

// pageOf returns the row ids of a room's client and of what its events are found by,
// the client or the job, which is 0 if there is none.
func (s *conn) pageOf(r eventlog.Room) (client, of int64, page eventlog.Page, err error) {
	var epoch sql.NullString
	var head uint64
	if r.Job == "" {
		_, err = s.row(sqlPageOfLog, []any{r.Client}, &client, &page.Pruned, &head, &epoch)
		page.HeadID = cursorAt(epoch, head)
		return client, client, page, err
	}
	found, err := s.row(sqlPageOfJob, []any{r.Job, r.Client}, &of, &client, &head, &epoch)
	if page.Gone = err == nil && !found; found {
		page.HeadID = cursorAt(epoch, head)
	}
	return client, of, page, err
}

// events reads rows until one of the limits; more tells that a row was left.
func (s *conn) events(query string, args []any, maxEvents, maxBytes int) (stored []storedEvent, more bool, err error) {
	size := 0
	err = s.each(query, args, func(rows *sql.Rows) (bool, error) {
		var e storedEvent
		var tail sql.RawBytes
		if err := rows.Scan(&e.seq, &e.kind, &tail); err != nil {
			return false, err
		}
		size += eventBytes(len(eventlog.Cursor{Seq: e.seq}.String())+epochBytes-1, len(tail))
		if len(stored) > 0 && (len(stored) >= maxEvents || size > maxBytes) {
			more = true
			return false, nil
		}
		e.tail = bytes.Clone(tail)
		stored = append(stored, e)
		return true, nil
	})
	return stored, more, err
}

// span is an epoch and the first seq that it covers.
type span struct {
	from  uint64
	epoch string
}

// withIDs makes events of stored ones: each bears the epoch that covers it.
func (s *conn) withIDs(client int64, name string, stored []storedEvent) ([]eventlog.Event, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	var spans []span // newest first
	err := s.each(sqlEpochs, []any{client, stored[len(stored)-1].seq}, func(rows *sql.Rows) (bool, error) {
		var sp span
		err := rows.Scan(&sp.from, &sp.epoch)
		spans = append(spans, sp)
		return sp.from > stored[0].seq, err
	})
	if err != nil {
		return nil, err
	}
	return bearing(spans, name, stored)
}

// bearing makes events of stored ones, which bear the epochs of spans, newest first.
func bearing(spans []span, name string, stored []storedEvent) ([]eventlog.Event, error) {
	var epoch string
	events := make([]eventlog.Event, len(stored))
	for i, e := range stored {
		for n := len(spans); n > 0 && spans[n-1].from <= e.seq; n-- {
			epoch, spans = spans[n-1].epoch, spans[:n-1]
		}
		if e.kind <= 0 || e.kind >= len(kinds) {
			return nil, fmt.Errorf("event %d of client %s has the unknown kind %d", e.seq, name, e.kind)
		}
		id := eventlog.Cursor{Epoch: epoch, Seq: e.seq}.String()
		events[i] = newEvent(name, e.seq, id, kinds[e.kind], tailJob(e.tail), e.tail)
	}
	return events, nil
}

// tailJob returns the job's id that a tail names: ,"type":"…","jobId":"<id>",…
func tailJob(tail []byte) string {
	_, rest, _ := bytes.Cut(tail, []byte(`"jobId":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(id)
}
