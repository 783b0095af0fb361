package hub

import (
	"context"
	"slices"

	"github.com/jobcast/jobcast/eventlog"
)

// Cursor returns the place up to which a joined room's events were given out:
// a reader that comes back with it misses nothing and sees nothing twice.
func (s *Subscription) Cursor(job string) (cursor string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.member(job)
	if m == nil {
		return "", false
	}
	return s.cursorOf(m), true
}

// cursorOf: while a room is replayed its place is that of the replay, because
// the connection's position is already past events that were not given out. The
// place of a room that starts ahead of the connection is its start.
func (s *Subscription) cursorOf(m *member) string {
	if m.phase != live || m.start > s.pos {
		return m.doneID
	}
	return s.posID
}

// Reading reports whether the last Next stopped because history that it needs
// was not there yet, so that an empty Next does not mean that there is nothing.
// wake follows, if it has not come already.
func (s *Subscription) Reading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading
}

// Position returns the place to come back to for whoever has seen what Next gave
// out so far: while a room is replayed, that room's place, otherwise the place
// of the connection as a whole. The latter is past what a replay has yet to
// give, so a reader of one room that came back with it would lose that.
func (s *Subscription) Position() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	following := slices.ContainsFunc(s.members, func(m *member) bool { return m.phase == live })
	switch {
	case s.replay != nil && (s.replay.phase >= replaying || !following):
		return s.replay.doneID
	case len(s.queue) > 0 && !following:
		return s.queue[0].doneID
	}
	return s.posID
}

// Rooms returns how many rooms are joined.
func (s *Subscription) Rooms() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.members)
}

// Again describes a room that is joined already: where it is now, and the job.
func (s *Subscription) Again(ctx context.Context, job string) (Joined, error) {
	name := eventlog.Room{Client: s.client, Job: job}
	o, err := s.hub.log.Open(ctx, name, nil)
	if err != nil {
		return Joined{}, err
	}
	cursor, _ := s.Cursor(job)
	return Joined{Room: name, Cursor: cursor, Job: o.Job, Status: o.Status}, nil
}
