package hub

import (
	"context"
	"fmt"

	"github.com/jobcast/jobcast/eventlog"
)

// Open judges a cursor of a client's log and tells how that stands.
func (h *Hub) Open(ctx context.Context, client string, at eventlog.Cursor) (eventlog.Opened, error) {
	return h.log.Open(ctx, eventlog.Room{Client: client}, &at)
}

// Head returns the cursor of the newest event of a client's log. What is just being
// published may come after it.
func (h *Hub) Head(ctx context.Context, client string) (string, error) {
	if t := h.lookup(client); t != nil {
		if id := t.newest(); id != "" {
			return id, nil
		}
	}
	o, err := h.log.Open(ctx, eventlog.Room{Client: client}, nil)
	return o.HeadID, err
}

// Resumed is a room as it was when its connection was cut.
type Resumed struct {
	Job   string
	N     int64           // Start.N of its join
	Start eventlog.Cursor // events at or below it are not for this room
	Begun bool            // its Started was given out
	Live  bool            // its replay was over: it goes on at the position

	// How far its replay has come: a seq, and the cursor to come back with.
	Done   uint64
	DoneID string
}

// Resume puts a subscription that has no rooms yet back to where another one
// was: to the position at, which the caller has judged, with rooms in the order
// of their joins. A room whose Reader.Open fails with an error that is gone is
// left out, and its number returned; other errors end the attempt.
func (s *Subscription) Resume(ctx context.Context, at eventlog.Cursor, rooms []Resumed, gone func(error) bool) (lost []int64, err error) {
	s.mu.Lock()
	s.pos, s.posID, s.resuming = at.Seq, at.String(), true
	s.mu.Unlock()
	defer s.resumed()
	for _, r := range rooms {
		m := &member{sub: s, name: eventlog.Room{Client: s.client, Job: r.Job}, n: r.N, hold: released}
		if err := s.add(m); err != nil {
			return lost, err
		}
		s.hub.enter(m, m.name) // register first, then read
		if !s.entered(m) {
			return lost, ErrClosed
		}
		o, err := s.hub.log.Open(ctx, m.name, &at)
		if err != nil && gone(err) {
			s.Leave(r.Job)
			lost = append(lost, r.N)
			continue
		}
		if err != nil {
			return lost, fmt.Errorf("resume room: %w", err)
		}
		s.put(m, r, o)
	}
	return lost, nil
}

func (s *Subscription) resumed() {
	s.mu.Lock()
	s.resuming = false
	s.mu.Unlock()
	s.wake()
}

// put places a room that is resumed.
func (s *Subscription) put(m *member, r Resumed, o eventlog.Opened) {
	sure := s.hub.agrees(m.room.tail, m.before, o.HeadID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stand(m, sure && valid(o))
	m.phase, m.start, m.end, m.status = placed, r.Start.Seq, o.End, o.Status
	m.done, m.doneID = r.Done, r.DoneID
	m.joined = &Joined{
		Room: m.name, N: m.n, Cursor: r.Start.String(), Job: o.Job, Status: o.Status,
		Position: s.posID, PositionAt: s.pos, Again: r.Begun,
	}
	if r.Live {
		m.phase, m.said, m.joined = replaying, true, nil
		if m.start <= s.pos {
			m.done, m.doneID = s.pos, s.posID
		}
		if m.end == 0 || m.end > s.pos && m.end > m.start {
			m.phase = live
			return
		}
	}
	s.queue = append(s.queue, m)
}
