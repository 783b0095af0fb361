package hub

import (
	"context"

	"github.com/jobcast/jobcast/eventlog"
)

// verdict is what the store says of the place of a member.
type verdict struct {
	m       *member
	cursor  eventlog.Cursor
	opened  eventlog.Opened
	refusal *Mark // Gone or Fault: the room cannot go on
}

// valid reports whether the cursor is a place in the log. What retention deleted after
// it shows when that is read.
func valid(o eventlog.Opened) bool {
	return o.Reason == eventlog.Valid || o.Reason == eventlog.ReasonPruned
}

// tail returns the tail that the placed rooms are read from; nil: there is no such room.
func (s *Subscription) tail() *tail {
	for _, m := range s.members {
		if m.phase >= placed {
			return m.room.tail
		}
	}
	return nil
}

// judge has the store judge where s and its rooms stand, because they stand in a
// history that may not be the log's any more. Nothing is given out meanwhile.
func (s *Subscription) judge() {
	s.judging, s.fetched = true, nil
	s.hub.queueReads(s.readVerdicts)
}

func (s *Subscription) readVerdicts() {
	s.mu.Lock()
	t := s.tail()
	if t == nil || t.wait(s.readVerdicts) {
		s.judging = t != nil
		s.mu.Unlock()
		return
	}
	t.mu.Lock()
	before := t.mark()
	t.mu.Unlock()
	position := verdict{m: &member{sub: s, name: eventlog.Room{Client: s.client}}}
	position.cursor, _ = eventlog.ParseCursor(s.posID)
	var rooms []verdict
	for _, m := range s.members {
		if m.phase >= placed {
			v := verdict{m: m}
			v.cursor, _ = eventlog.ParseCursor(s.cursorOf(m))
			rooms = append(rooms, v)
		}
	}
	s.mu.Unlock()

	position.read(s.hub.log)
	for i := range rooms {
		if rooms[i].refusal = position.refusal; position.refusal == nil {
			rooms[i].read(s.hub.log)
		}
	}
	s.mu.Lock()
	s.judged(before, position, rooms)
	s.mu.Unlock()
	s.wake()
}

// read asks the store.
func (v *verdict) read(log eventlog.Reader) {
	var err error
	if v.opened, err = log.Open(context.Background(), v.m.name, &v.cursor); err == nil {
		return
	}
	v.refusal = &Mark{Kind: Fault, Room: v.m.name, N: v.m.n}
	if p, err := log.Page(context.Background(), v.m.name, v.cursor.Seq, 1, 1); err == nil && p.Gone {
		v.refusal.Kind = Gone
	}
}

// agrees reports whether the verdict is about the log that the tail is a part of.
func (v *verdict) agrees(t *tail, before tailMark) bool {
	return v.refusal != nil || v.m.sub.hub.agrees(t, before, v.opened.HeadID)
}

// judged goes on according to the verdicts. If the position is good, only rooms whose
// own cursors are not begin anew. Otherwise the position is the end of the log now, and
// every room is joined anew: at its cursor if that is good, else where a room goes on
// after a reset.
func (s *Subscription) judged(before tailMark, position verdict, rooms []verdict) {
	t := s.tail()
	s.judging = false
	if t == nil || !position.agrees(t, before) {
		return // it is judged again, if there is anything left to judge
	}
	for i := range rooms { // each was read after the ones before it
		before.seq = max(before.seq, position.opened.Head)
		if i > 0 {
			before.seq = max(before.seq, rooms[i-1].opened.Head)
		}
		if !rooms[i].agrees(t, before) {
			return
		}
	}
	stands := position.refusal == nil && valid(position.opened)
	if !stands && position.refusal == nil {
		s.moveTo(position.opened)
	}
	s.astray = position.refusal != nil
	known := make(map[*member]bool, len(rooms))
	for _, v := range rooms {
		known[v.m] = true
		if s.member(v.m.name.Job) == v.m {
			s.apply(v, stands)
		}
	}
	s.generation = before.generation
	for _, m := range s.members { // that were placed meanwhile
		if m.phase >= placed && !known[m] && (s.astray || m.before.generation != before.generation) {
			s.generation = 0
		}
	}
}

// apply goes on with one room; stands says that the position is good.
func (s *Subscription) apply(v verdict, stands bool) {
	m := v.m
	if v.refusal == nil {
		m.end, m.status = v.opened.End, v.opened.Status
		if stands && valid(v.opened) {
			return
		}
	}
	switch {
	case s.replay == m:
		s.replay, s.queue = nil, append([]*member{m}, s.queue...)
	case m.phase == live:
		s.queue = append(s.queue, m)
	}
	j := Joined{
		Room: m.name, Job: v.opened.Job, Status: v.opened.Status, N: m.n, Cursor: v.cursor.String(),
		Position: s.posID, PositionAt: s.pos,
	}
	if m.joined != nil { // it has not started yet, and may have a reset to give out
		j.Again, j.Reset = m.joined.Again, m.joined.Reset
	}
	m.start, m.done = min(m.start, v.cursor.Seq), v.cursor.Seq
	if v.refusal == nil && !valid(v.opened) {
		m.start, j.Cursor = v.opened.Oldest, v.opened.OldestID
		if m.name.Job == "" {
			m.start, j.Cursor = s.pos, s.posID
		}
		m.done, j.Reset = m.start, m.reset(v.opened, j.Cursor)
	}
	m.doneID = j.Cursor
	m.phase, m.said, m.joined, m.refusal = placed, false, &j, v.refusal
}

// reset is the mark of a room that goes on at cursor.
func (m *member) reset(o eventlog.Opened, cursor string) *Mark {
	return &Mark{Kind: Reset, Room: m.name, N: m.n, Reason: o.Reason, Oldest: o.OldestID, Cursor: cursor}
}
