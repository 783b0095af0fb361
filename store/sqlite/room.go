package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlLog       = `SELECT id, last_seq, pruned FROM clients WHERE name = ?`
	sqlEpoch     = `SELECT from_seq FROM epochs WHERE client = ? AND epoch = ?`
	sqlNextEpoch = `SELECT from_seq FROM epochs WHERE client = ? AND from_seq > ? ORDER BY from_seq LIMIT 1`
	sqlEpochs    = `SELECT from_seq, epoch FROM epochs WHERE client = ? AND from_seq > ? AND from_seq <= ? ORDER BY from_seq`
	sqlFirst     = `SELECT seq FROM events WHERE job = ? ORDER BY seq LIMIT 1`
	sqlJobRowID  = `SELECT j.id FROM jobs j WHERE j.uuid = ? AND j.client = ? AND j.status < 5`
	sqlLogPage   = `SELECT seq, kind, tail FROM events WHERE client = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`
	sqlJobPage   = `SELECT seq, kind, tail FROM events WHERE job = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`
)

// logRow is what the database knows of a log.
type logRow struct {
	id           int64
	head, pruned uint64
}

func (s *session) log(client string) (l logRow, found bool, err error) {
	found, err = s.row(sqlLog, []any{client}, &l.id, &l.head, &l.pruned)
	return l, found, err
}

// Open implements jobs.Store. In a client room Oldest is the pruned mark: events
// of jobs that are still kept may lie below it, but no reader can start there.
// A client of whom nothing is known has an empty log.
func (s *Store) Open(ctx context.Context, r jobs.Room, at *jobs.Cursor) (jobs.RoomState, error) {
	return read(ctx, s, func(db *session) (jobs.RoomState, error) {
		var state jobs.RoomState
		l, _, err := db.log(r.Client)
		if err != nil {
			return state, err
		}
		state.Head, state.Oldest = l.head, l.pruned
		if r.Job != "" {
			if err := db.openJob(r, &state); err != nil {
				return jobs.RoomState{}, err
			}
		}
		if state.HeadID, err = db.position(l.id, state.Head); err != nil {
			return state, err
		}
		if state.OldID, err = db.position(l.id, state.Oldest); err != nil || at == nil {
			return state, err
		}
		state.Verdict, err = db.verdict(l, *at)
		if state.Verdict == jobs.Valid && r.Job == "" && at.Seq < l.pruned {
			state.Verdict = jobs.ReasonPruned
		}
		return state, err
	})
}

// openJob adds what only a job's room has.
func (s *session) openJob(r jobs.Room, state *jobs.RoomState) error {
	row, err := s.job(sqlJobByUUID, r.Job, r.Client)
	if err != nil {
		return err
	}
	if row == nil {
		return jobs.ErrNotFound
	}
	state.Job = &row.Job
	if row.Status.Terminal() { // nothing follows the terminal event
		state.EndSeq = row.newest
		if state.BeforeEnd, err = s.position(row.client, row.newest-1); err != nil {
			return err
		}
	}
	var first uint64
	if _, err := s.row(sqlFirst, []any{row.id}, &first); err != nil {
		return err
	}
	state.Oldest = first - 1
	return nil
}

// verdict judges a cursor by the epochs of its log, whatever was pruned.
func (s *session) verdict(l logRow, at jobs.Cursor) (jobs.Reason, error) {
	if at == (jobs.Cursor{}) {
		return jobs.Valid, nil
	}
	var from, next uint64
	known, err := s.row(sqlEpoch, []any{l.id, at.Epoch}, &from)
	if err != nil {
		return "", err
	}
	if !known || at.Seq < from {
		return jobs.ReasonEpoch, nil
	}
	ended, err := s.row(sqlNextEpoch, []any{l.id, from}, &next)
	switch {
	case err != nil:
		return "", err
	case ended && at.Seq >= next:
		return jobs.ReasonEpoch, nil
	case !ended && at.Seq > l.head:
		return jobs.ReasonFuture, nil
	}
	return jobs.Valid, nil
}

// storedEvent is an event without its id.
type storedEvent struct {
	seq  uint64
	kind int
	tail []byte
}

// Page implements jobs.Store.
func (s *Store) Page(ctx context.Context, r jobs.Room, after, upTo uint64, maxEvents, maxBytes int) (jobs.Page, error) {
	after, upTo = min(after, maxRowID), min(upTo, maxRowID) // SQLite's integers are signed
	return read(ctx, s, func(db *session) (jobs.Page, error) {
		l, found, err := db.log(r.Client)
		if err != nil || (!found && r.Job == "") {
			return jobs.Page{}, err
		}
		page := jobs.Page{Pruned: l.pruned}
		query, id := sqlLogPage, l.id
		if r.Job != "" {
			page.Pruned = 0
			query = sqlJobPage
			if found, err = db.row(sqlJobRowID, []any{r.Job, l.id}, &id); err != nil || !found {
				page.Gone = !found
				return page, err
			}
		}
		stored, more, err := db.events(query, []any{id, after, upTo, maxEvents + 1}, maxEvents, maxBytes)
		if err != nil {
			return jobs.Page{}, fmt.Errorf("read events: %w", err)
		}
		page.More = more
		page.Events, err = db.withIDs(l.id, r.Client, stored)
		return page, err
	})
}

// events reads rows until one of the limits; more tells that a row was left.
func (s *session) events(query string, args []any, maxEvents, maxBytes int) (stored []storedEvent, more bool, err error) {
	size := 0
	err = s.each(query, args, func(rows *sql.Rows) (bool, error) {
		var e storedEvent
		var tail sql.RawBytes
		if err := rows.Scan(&e.seq, &e.kind, &tail); err != nil {
			return false, err
		}
		size += eventBytes(len(jobs.Cursor{Seq: e.seq}.String())+epochBytes-1, len(tail))
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

// withIDs makes events of stored ones: each bears the epoch that covers it.
func (s *session) withIDs(client int64, name string, stored []storedEvent) ([]jobs.Event, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	first, last := stored[0].seq, stored[len(stored)-1].seq
	type span struct {
		from  uint64
		epoch string
	}
	var spans []span
	var epoch string
	if _, err := s.row(sqlEpochAt, []any{client, first}, &epoch); err != nil {
		return nil, err
	}
	err := s.each(sqlEpochs, []any{client, first, last}, func(rows *sql.Rows) (bool, error) {
		var sp span
		err := rows.Scan(&sp.from, &sp.epoch)
		spans = append(spans, sp)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	events := make([]jobs.Event, len(stored))
	for i, e := range stored {
		for len(spans) > 0 && spans[0].from <= e.seq {
			epoch, spans = spans[0].epoch, spans[1:]
		}
		if e.kind <= 0 || e.kind >= len(kinds) {
			return nil, fmt.Errorf("event %d of client %s has the unknown kind %d", e.seq, name, e.kind)
		}
		id := jobs.Cursor{Epoch: epoch, Seq: e.seq}.String()
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
