package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/transport/socketio/session"
)

// sweepRows ends a transaction of SweepSessions: with the rows of the session
// that crosses it, it deletes few enough that no commit of others waits long.
const sweepRows = 200

const (
	// A session that was left takes no rooms any more: then nothing changes.
	sqlUseSession = `INSERT INTO sessions (id, client, seen_at) VALUES (?, ?, ?)
	ON CONFLICT (id, client) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at) WHERE was_left = 0`
	sqlLeaveSession = `INSERT INTO sessions (id, client, seen_at, was_left) VALUES (?, ?, ?, 1)
	ON CONFLICT (id, client) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at), was_left = 1`
	sqlTouchSession = `UPDATE sessions SET seen_at = max(seen_at, ?) WHERE id = ?`
	sqlPutRoom      = `INSERT OR REPLACE INTO session_rooms (session, client, n, job, start_epoch, start_seq, joined_at, end_seq)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	sqlEndRoom = `UPDATE session_rooms SET end_seq = ? WHERE session = ? AND client = ? AND n = ?`
	// Of a job's rooms that are over the newest is enough.
	sqlDelEnded = `DELETE FROM session_rooms WHERE session = ? AND client = ? AND end_seq > 0 AND n < ?
	AND job = (SELECT job FROM session_rooms WHERE session = ? AND client = ? AND n = ?)`
	sqlTrimEnded = `DELETE FROM session_rooms WHERE session = ? AND client = ? AND end_seq > 0 AND end_seq <=
	(SELECT end_seq FROM session_rooms WHERE session = ? AND client = ? AND end_seq > 0 ORDER BY end_seq DESC LIMIT 1 OFFSET ?)`
	sqlDelRoom  = `DELETE FROM session_rooms WHERE session = ? AND client = ? AND n = ?`
	sqlDelRooms = `DELETE FROM session_rooms WHERE session = ? AND client = ?`
	sqlSession  = `SELECT s.client, s.seen_at, s.was_left FROM sessions s CROSS JOIN clients c ON c.id = s.client
	WHERE s.id = ? AND c.name = ?`
	sqlRooms = `SELECT n, job, start_epoch, start_seq, joined_at, end_seq FROM session_rooms
	WHERE session = ? AND client = ? ORDER BY n`
	sqlUnseen     = `SELECT id, client FROM sessions WHERE seen_at < ? ORDER BY seen_at LIMIT ?`
	sqlDelSession = `DELETE FROM sessions WHERE id = ? AND client = ?`
)

// ownSession is a session's key.
type ownSession struct {
	id     string
	client int64
}

// JoinRoom implements session.Store.
func (s *Store) JoinRoom(ctx context.Context, client, id string, r session.Room, drop []int64) error {
	return s.useSession(ctx, client, id, 1+len(drop), func(b *batch, own ownSession) error {
		if err := b.dropRooms(own, drop); err != nil {
			return err
		}
		return b.putRoom(own, r)
	})
}

// ReplaceRooms implements session.Store. It writes what differs: a session that comes
// back may have thousands of rooms, nearly all as they are, and others wait meanwhile.
func (s *Store) ReplaceRooms(ctx context.Context, client, id string, rooms []session.Room) error {
	return s.useSession(ctx, client, id, 1+len(rooms), func(b *batch, own ownSession) error {
		old, err := b.rooms(own)
		if err != nil {
			return err
		}
		there := make(map[int64]session.Room, len(old))
		for _, r := range old {
			there[r.N] = r
		}
		wanted := make(map[int64]bool, len(rooms))
		for _, r := range rooms {
			wanted[r.N] = true
			if was, ok := there[r.N]; ok && was == r {
				continue
			}
			there[r.N] = r
			if err := b.putRoom(own, r); err != nil {
				return err
			}
		}
		var drop []int64
		for _, r := range old {
			if !wanted[r.N] {
				drop = append(drop, r.N)
			}
		}
		return b.dropRooms(own, drop)
	})
}

// useSession runs a command on a session that is made or touched first, unless
// it was left.
func (s *Store) useSession(ctx context.Context, client, id string, rows int, fn func(*batch, ownSession) error) error {
	if err := checkSessionID(id); err != nil {
		return err
	}
	_, err := write(ctx, s, rows, func(b *batch) (struct{}, error) {
		if b.st.storage.spent() {
			return struct{}{}, refuse(b.st.storage.refusal(0, rowBytes))
		}
		head, err := b.ensureClient(client)
		if err != nil {
			return struct{}{}, err
		}
		n, err := b.changed(sqlUseSession, id, head.id, b.now().UnixMilli())
		if err != nil {
			return struct{}{}, fmt.Errorf("use session: %w", err)
		}
		if n == 0 {
			return struct{}{}, nil
		}
		return struct{}{}, fn(b, ownSession{id, head.id})
	})
	return err
}

func checkSessionID(id string) error {
	if len(id) > session.MaxID {
		return fmt.Errorf("the id of a session has %d bytes, and at most %d are kept", len(id), session.MaxID)
	}
	return nil
}

func (b *batch) putRoom(own ownSession, r session.Room) error {
	_, err := b.exec(sqlPutRoom, own.id, own.client, r.N, r.Job, r.Start.Epoch, r.Start.Seq, r.JoinedAt, r.End)
	if err != nil {
		return fmt.Errorf("insert room of a session: %w", err)
	}
	return nil
}

func (b *batch) dropRooms(own ownSession, ns []int64) error {
	for _, n := range ns {
		if _, err := b.exec(sqlDelRoom, own.id, own.client, n); err != nil {
			return fmt.Errorf("delete room of a session: %w", err)
		}
	}
	return nil
}

// LeaveRooms implements session.Store.
func (s *Store) LeaveRooms(ctx context.Context, client, id string, ns []int64) error {
	_, err := write(ctx, s, len(ns), func(b *batch) (struct{}, error) {
		head, err := b.client(client)
		if err != nil || head == nil {
			return struct{}{}, err
		}
		return struct{}{}, b.dropRooms(ownSession{id, head.id}, ns)
	})
	return err
}

// EndRooms implements session.Store.
func (s *Store) EndRooms(ctx context.Context, client, id string, ends []session.End) error {
	_, err := write(ctx, s, 2*len(ends)+1, func(b *batch) (struct{}, error) {
		head, err := b.client(client)
		if err != nil || head == nil {
			return struct{}{}, err
		}
		return struct{}{}, b.endRooms(ownSession{id, head.id}, ends)
	})
	return err
}

func (b *batch) endRooms(own ownSession, ends []session.End) error {
	for _, e := range ends {
		if _, err := b.exec(sqlEndRoom, e.End, own.id, own.client, e.N); err != nil {
			return fmt.Errorf("end room of a session: %w", err)
		}
		if _, err := b.exec(sqlDelEnded, own.id, own.client, e.N, own.id, own.client, e.N); err != nil {
			return fmt.Errorf("delete older room of a session: %w", err)
		}
	}
	if _, err := b.exec(sqlTrimEnded, own.id, own.client, own.id, own.client, session.MaxEnds); err != nil {
		return fmt.Errorf("delete oldest rooms of a session: %w", err)
	}
	return nil
}

// LeaveSession implements session.Store.
func (s *Store) LeaveSession(ctx context.Context, client, id string) error {
	if err := checkSessionID(id); err != nil {
		return err
	}
	_, err := write(ctx, s, 1, func(b *batch) (struct{}, error) {
		head, err := b.ensureClient(client)
		if err != nil {
			return struct{}{}, err
		}
		if _, err := b.exec(sqlLeaveSession, id, head.id, b.now().UnixMilli()); err != nil {
			return struct{}{}, fmt.Errorf("leave session: %w", err)
		}
		if _, err := b.exec(sqlDelRooms, id, head.id); err != nil {
			return struct{}{}, fmt.Errorf("delete rooms of a session: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// Session implements session.Store.
func (s *Store) Session(ctx context.Context, client, id string) (session.State, error) {
	return read(ctx, s, func(db *conn) (session.State, error) {
		var state session.State
		var owner, seen int64
		found, err := db.row(sqlSession, []any{id, client}, &owner, &seen, &state.Left)
		if err != nil || !found {
			return session.State{}, err
		}
		state.SeenAt = fromMillis(seen)
		state.Rooms, err = db.rooms(ownSession{id, owner})
		if err != nil {
			return session.State{}, err
		}
		return state, nil
	})
}

// rooms reads the rooms of a session, by N.
func (s *conn) rooms(own ownSession) (rooms []session.Room, err error) {
	err = s.each(sqlRooms, []any{own.id, own.client}, func(rows *sql.Rows) (bool, error) {
		var r session.Room
		err := rows.Scan(&r.N, &r.Job, &r.Start.Epoch, &r.Start.Seq, &r.JoinedAt, &r.End)
		rooms = append(rooms, r)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("read rooms of a session: %w", err)
	}
	return rooms, nil
}

// TouchSessions implements session.Store.
func (s *Store) TouchSessions(ctx context.Context, ids []string) error {
	_, err := write(ctx, s, len(ids), func(b *batch) (struct{}, error) {
		now := b.now().UnixMilli()
		for _, id := range ids {
			if _, err := b.exec(sqlTouchSession, now, id); err != nil {
				return struct{}{}, fmt.Errorf("touch session: %w", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// sweptSessions is how many sessions went, and whether there may be more.
type sweptSessions struct {
	n    int
	more bool
}

// SweepSessions implements session.Store: one call is one transaction. A session
// goes whole, because half of its rooms would look like all of them.
func (s *Store) SweepSessions(ctx context.Context, before time.Time) (int, bool, error) {
	out, err := write(ctx, s, sweepRows, func(b *batch) (sweptSessions, error) {
		found, err := b.unseen(before)
		if err != nil {
			return sweptSessions{}, err
		}
		left := int64(sweepRows)
		for i, own := range found {
			if left <= 0 {
				return sweptSessions{n: i, more: true}, nil
			}
			rooms, err := b.changed(sqlDelRooms, own.id, own.client)
			if err != nil {
				return sweptSessions{}, fmt.Errorf("delete rooms of a session: %w", err)
			}
			if _, err := b.exec(sqlDelSession, own.id, own.client); err != nil {
				return sweptSessions{}, fmt.Errorf("delete session: %w", err)
			}
			left -= rooms + 1
		}
		return sweptSessions{n: len(found)}, nil
	})
	return out.n, out.more, err
}

// unseen returns sessions not touched since before, longest first, one more
// than a transaction can delete.
func (b *batch) unseen(before time.Time) ([]ownSession, error) {
	var found []ownSession
	err := b.each(sqlUnseen, []any{before.UnixMilli(), sweepRows + 1}, func(rows *sql.Rows) (bool, error) {
		var own ownSession
		err := rows.Scan(&own.id, &own.client)
		found = append(found, own)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("read sessions to sweep: %w", err)
	}
	return found, nil
}
