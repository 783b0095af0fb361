package gateway

import (
	"context"
	"hash/maphash"
	"testing"

	"github.com/jobcast/jobcast/transport/socketio/session"
)

// guarded counts the commands that remove rooms, and asserts that the session cannot be
// taken over meanwhile.
type guarded struct {
	session.Store
	t        *testing.T
	g        *Gateway
	commands int
}

func (s *guarded) removing(id string) error {
	s.t.Helper()
	s.commands++
	if m := &s.g.resuming[maphash.String(s.g.seed, id)%uint64(len(s.g.resuming))]; m.TryLock() {
		m.Unlock()
		s.t.Error("a newer connection may read the rooms while they are removed")
	}
	return nil
}

func (s *guarded) LeaveRooms(_ context.Context, _, id string, _ []int64) error { return s.removing(id) }
func (s *guarded) EndRooms(_ context.Context, _, id string, _ []session.End) error {
	return s.removing(id)
}

// Rooms that have ended are removed by the connection that has the session, which nobody
// takes over meanwhile, and by no older one.
func TestOnlyTheLiveConnectionRemovesRooms(t *testing.T) {
	g := &Gateway{seed: maphash.MakeSeed(), live: make(map[string]*conn)}
	store := &guarded{t: t, g: g}
	g.opt.Sessions = store
	n := &conn{g: g, id: "s"}
	var rooms []over
	for i := range int64(2*maxCleaned + 1) {
		rooms = append(rooms, over{n: i + 1, end: uint64(i % 2)})
	}
	g.live[n.id] = n
	g.remove(t.Context(), ended{n, rooms})
	if want := 5; store.commands != want { // those that have ended and those that are gone, in two and a half batches
		t.Errorf("%d commands, want %d", store.commands, want)
	}
	g.live[n.id] = &conn{g: g, id: "s"}
	if g.remove(t.Context(), ended{n, rooms}); store.commands != 5 {
		t.Error("an older connection has removed rooms of a newer one")
	}
}
