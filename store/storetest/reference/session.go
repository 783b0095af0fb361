package reference

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jobcast/jobcast/transport/socketio/session"
)

type sessionKey struct{ client, id string }

// savedSession is a session; its rooms are by N.
type savedSession struct{ session.State }

// without returns the rooms but those of some numbers.
func (s savedSession) without(ns []int64) []session.Room {
	return slices.DeleteFunc(slices.Clone(s.Rooms), func(r session.Room) bool { return slices.Contains(ns, r.N) })
}

// put adds a room, in place of one with its number.
func (s *savedSession) put(r session.Room) {
	s.Rooms = append(s.without([]int64{r.N}), r)
	slices.SortFunc(s.Rooms, func(x, y session.Room) int { return cmp.Compare(x.N, y.N) })
}

// touch notes that the session is in use.
func (s *savedSession) touch(now time.Time) {
	if now.After(s.SeenAt) {
		s.SeenAt = now
	}
}

// useSession runs a command on a session that is made or touched first, unless it was left.
func (s *Store) useSession(ctx context.Context, client, id string, fn func(*savedSession)) error {
	if err := checkSessionID(id); err != nil {
		return err
	}
	return s.do(ctx, func() error {
		if s.spent() {
			return s.room(rowBytes)
		}
		s.client(client)
		own := s.tables.sessions[sessionKey{client, id}]
		if own.Left {
			return nil
		}
		own.touch(s.now())
		fn(&own)
		s.tables.sessions[sessionKey{client, id}] = own
		return nil
	})
}

func checkSessionID(id string) error {
	if len(id) > session.MaxID {
		return fmt.Errorf("the id of a session has %d bytes, and at most %d are kept", len(id), session.MaxID)
	}
	return nil
}

// JoinRoom implements session.Store.
func (s *Store) JoinRoom(ctx context.Context, client, id string, r session.Room, drop []int64) error {
	return s.useSession(ctx, client, id, func(own *savedSession) {
		own.Rooms = own.without(drop)
		own.put(r)
	})
}

// ReplaceRooms implements session.Store.
func (s *Store) ReplaceRooms(ctx context.Context, client, id string, rooms []session.Room) error {
	return s.useSession(ctx, client, id, func(own *savedSession) {
		own.Rooms = nil
		for _, r := range rooms {
			own.put(r)
		}
	})
}

// LeaveRooms implements session.Store.
func (s *Store) LeaveRooms(ctx context.Context, client, id string, ns []int64) error {
	return s.do(ctx, func() error {
		if own, ok := s.tables.sessions[sessionKey{client, id}]; ok {
			own.Rooms = own.without(ns)
			s.tables.sessions[sessionKey{client, id}] = own
		}
		return nil
	})
}

// EndRooms implements session.Store.
func (s *Store) EndRooms(ctx context.Context, client, id string, ends []session.End) error {
	return s.do(ctx, func() error {
		own, ok := s.tables.sessions[sessionKey{client, id}]
		if !ok {
			return nil
		}
		for _, e := range ends {
			own.end(e)
		}
		var over []uint64 // the latest first
		for _, r := range own.Rooms {
			if r.End > 0 {
				over = append(over, r.End)
			}
		}
		slices.SortFunc(over, func(x, y uint64) int { return cmp.Compare(y, x) })
		if len(over) > session.MaxEnds {
			own.Rooms = slices.DeleteFunc(own.Rooms, func(r session.Room) bool { return r.End > 0 && r.End <= over[session.MaxEnds] })
		}
		s.tables.sessions[sessionKey{client, id}] = own
		return nil
	})
}

// end notes that a room is over, and forgets those of its job that were joined before it
// and are over too.
func (s *savedSession) end(e session.End) {
	i := slices.IndexFunc(s.Rooms, func(r session.Room) bool { return r.N == e.N })
	if i < 0 {
		return
	}
	ended := s.Rooms[i]
	ended.End = e.End
	s.put(ended)
	s.Rooms = slices.DeleteFunc(s.Rooms, func(r session.Room) bool { return r.Job == ended.Job && r.End > 0 && r.N < e.N })
}

// LeaveSession implements session.Store.
func (s *Store) LeaveSession(ctx context.Context, client, id string) error {
	if err := checkSessionID(id); err != nil {
		return err
	}
	return s.do(ctx, func() error {
		s.client(client)
		own := s.tables.sessions[sessionKey{client, id}]
		own.touch(s.now())
		own.Left, own.Rooms = true, nil
		s.tables.sessions[sessionKey{client, id}] = own
		return nil
	})
}

// Session implements session.Store.
func (s *Store) Session(_ context.Context, client, id string) (session.State, error) {
	return read(s, func() (session.State, error) {
		out := s.tables.sessions[sessionKey{client, id}].State
		out.Rooms = append([]session.Room(nil), out.Rooms...) // nil if there is none
		return out, nil
	})
}

// TouchSessions implements session.Store.
func (s *Store) TouchSessions(ctx context.Context, ids []string) error {
	return s.do(ctx, func() error {
		for k, own := range s.tables.sessions {
			if slices.Contains(ids, k.id) {
				own.touch(s.now())
				s.tables.sessions[k] = own
			}
		}
		return nil
	})
}

// sweepRows ends a call of SweepSessions.
const sweepRows = 200

// sweptSessions is how many sessions went, and whether there may be more.
type sweptSessions struct {
	n    int
	more bool
}

// SweepSessions implements session.Store.
func (s *Store) SweepSessions(ctx context.Context, before time.Time) (int, bool, error) {
	out, err := write(ctx, s, func() (out sweptSessions, _ error) {
		rows := 0
		for _, k := range slices.Collect(maps.Keys(s.tables.sessions)) {
			own := s.tables.sessions[k]
			if !own.SeenAt.Before(millis(before)) {
				continue
			}
			if rows >= sweepRows {
				out.more = true
				break
			}
			delete(s.tables.sessions, k)
			rows += len(own.Rooms) + 1
			out.n++
		}
		return out, nil
	})
	return out.n, out.more, err
}
