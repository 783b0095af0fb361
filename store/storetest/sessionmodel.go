package storetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/transport/socketio/session"
)

// testSessionModel runs random commands against the store and a map, on one
// store with fresh sessions for each run.
func testSessionModel(w *world) {
	run := 0
	rapid.Check(w.T, func(t *rapid.T) {
		run++
		shared, own := fmt.Sprint("s", run), fmt.Sprint("o", run)
		m := &sessionModel{w: w, known: map[sessionKey]*modelSession{},
			keys: []sessionKey{{"a", shared}, {"b", shared}, {"a", own}}}
		t.Repeat(map[string]func(*rapid.T){
			"join": m.join, "leave rooms": m.leaveRooms, "end rooms": m.endRooms, "replace": m.replace, "leave": m.leave, "": m.check,
		})
	})
}

type sessionKey struct{ client, id string }

// modelSession is a session as the model sees it.
type modelSession struct {
	rooms map[int64]session.Room
	left  bool
}

func (s *modelSession) drop(ns []int64) {
	for _, n := range ns {
		delete(s.rooms, n)
	}
}

type sessionModel struct {
	w     *world
	keys  []sessionKey
	known map[sessionKey]*modelSession
}

func (m *sessionModel) key(t *rapid.T) sessionKey {
	return rapid.SampledFrom(m.keys).Draw(t, "session")
}

// use returns a session, which is known from now on.
func (m *sessionModel) use(k sessionKey) *modelSession {
	if m.known[k] == nil {
		m.known[k] = &modelSession{rooms: map[int64]session.Room{}}
	}
	return m.known[k]
}

func drawRoom(t *rapid.T) session.Room {
	r := joined(rapid.Int64Range(1, 4).Draw(t, "n"))
	r.JoinedAt = rapid.Uint64Range(0, 99).Draw(t, "joined at")
	return r
}

func drawNumbers(t *rapid.T) []int64 {
	return rapid.SliceOfN(rapid.Int64Range(1, 4), 0, 3).Draw(t, "numbers")
}

func wantOK(t *rapid.T, err error) {
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func (m *sessionModel) join(t *rapid.T) {
	k, r, drop := m.key(t), drawRoom(t), drawNumbers(t)
	wantOK(t, m.w.store.JoinRoom(m.w.Context(), k.client, k.id, r, drop))
	if s := m.use(k); !s.left {
		s.drop(drop)
		s.rooms[r.N] = r
	}
}

func (m *sessionModel) leaveRooms(t *rapid.T) {
	k, ns := m.key(t), drawNumbers(t)
	wantOK(t, m.w.store.LeaveRooms(m.w.Context(), k.client, k.id, ns))
	if s := m.known[k]; s != nil {
		s.drop(ns)
	}
}

func (m *sessionModel) endRooms(t *rapid.T) {
	k := m.key(t)
	ends := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) session.End {
		return session.End{N: rapid.Int64Range(1, 4).Draw(t, "n"), End: rapid.Uint64Range(1, 99).Draw(t, "end")}
	}), 0, 3).Draw(t, "ends")
	wantOK(t, m.w.store.EndRooms(m.w.Context(), k.client, k.id, ends))
	s := m.known[k]
	if s == nil {
		return
	}
	for _, e := range ends {
		r, ok := s.rooms[e.N]
		if !ok {
			continue
		}
		maps.DeleteFunc(s.rooms, func(n int64, old session.Room) bool { return old.Job == r.Job && old.End > 0 && n < r.N })
		r.End = e.End
		s.rooms[e.N] = r
	}
}

func (m *sessionModel) replace(t *rapid.T) {
	k := m.key(t)
	rooms := []session.Room{drawRoom(t), drawRoom(t)}[:rapid.IntRange(0, 2).Draw(t, "rooms")]
	wantOK(t, m.w.store.ReplaceRooms(m.w.Context(), k.client, k.id, rooms))
	if s := m.use(k); !s.left {
		clear(s.rooms)
		for _, r := range rooms { // of two with one number the last
			s.rooms[r.N] = r
		}
	}
}

func (m *sessionModel) leave(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip("nothing happens to a session afterwards")
	}
	k := m.key(t)
	wantOK(t, m.w.store.LeaveSession(m.w.Context(), k.client, k.id))
	s := m.use(k)
	s.left = true
	clear(s.rooms)
}

// check compares all sessions, also those that nobody used.
func (m *sessionModel) check(t *rapid.T) {
	for _, k := range m.keys {
		got, err := m.w.store.Session(m.w.Context(), k.client, k.id)
		wantOK(t, err)
		var want session.State
		s := m.known[k]
		if s != nil {
			want.Left = s.left
			for _, n := range slices.Sorted(maps.Keys(s.rooms)) {
				want.Rooms = append(want.Rooms, s.rooms[n])
			}
		}
		if got.SeenAt.IsZero() != (s == nil) {
			t.Fatalf("%v was seen at %v", k, got.SeenAt)
		}
		got.SeenAt = time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v (-want +got):\n%s", k, diff)
		}
	}
}
