package hub

import (
	"cmp"
	"math"
	"slices"

	"github.com/jobcast/jobcast/eventlog"
)

// noLimit is the upper bound of a read that has none.
const noLimit = math.MaxUint64

// Next appends to items what s has not taken yet, in order: at most maxEvents
// events and about maxBytes of their JSON. It never blocks. more says that a
// further call would yield more at once; otherwise wake is called when there is.
func (s *Subscription) Next(items []Item, maxEvents, maxBytes int) (out []Item, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &budget{maxEvents, maxBytes}
	s.reading = false
	for b.left() && !s.closed {
		var done bool
		if items, done = s.step(items, b); done {
			return items, false
		}
	}
	return items, !s.closed
}

// step does one thing: a piece of the replay at hand, or of what is live. It
// reports whether there is nothing more at the moment.
func (s *Subscription) step(items []Item, b *budget) (out []Item, done bool) {
	if s.resuming {
		return items, true
	}
	if t := s.tail(); t != nil && t.generation.Load() != s.generation && !s.judging {
		s.judge()
	}
	if s.judging {
		s.reading = true
		return items, true
	}
	if s.replay == nil && s.replayNext() {
		s.replay, s.queue = s.queue[0], s.queue[1:]
	}
	if s.replay != nil {
		return s.stepReplay(items, b)
	}
	items, done = s.follow(items, b)
	return items, done && !s.replayNext()
}

// replayNext reports whether there is a room to replay, and the position has come to
// where it starts. A room that starts ahead of the position waits: where it goes
// live is the place of all rooms, which must neither pass over what the others
// have yet to get nor lie before the room's own start. If no other room is
// followed, there is nothing to pass over. A room that is joined with Hold does
// not wait, because the position stands still for it, nor does one that is refused.
func (s *Subscription) replayNext() bool {
	if len(s.queue) == 0 {
		return false
	}
	m := s.queue[0]
	if m.hold != notHeld || m.refusal != nil {
		return true
	}
	if m.start > s.pos && len(s.liveRooms()) > 0 {
		return false
	}
	if m.start > s.pos {
		s.pos, s.posID = m.start, m.doneID
	}
	return true
}

// stepReplay reads a joined room's history up to the connection's position.
func (s *Subscription) stepReplay(items []Item, b *budget) ([]Item, bool) {
	m := s.replay
	if m.hold == held {
		return items, true
	}
	if m.refusal != nil {
		s.remove(m)
		return append(items, Item{Mark: m.refusal}), false
	}
	if m.phase < replaying {
		m.phase = replaying
		items = append(items, Item{Mark: &Mark{Kind: Started, Room: m.name, N: m.n, Cursor: m.joined.Cursor, Joined: *m.joined}})
		if m.joined.Reset != nil {
			items = append(items, Item{Mark: m.joined.Reset})
		}
		m.joined = nil
	}
	if m.done >= s.pos {
		return s.finishReplay(items, m), false
	}
	before := len(items)
	t := m.room.tail
	t.mu.Lock()
	if t.generation.Load() != s.generation {
		t.mu.Unlock()
		return items, false
	}
	// A position that was read from the store may be ahead of what is published.
	covered := m.room.covers(m.done) && t.head() >= s.pos
	if covered {
		items = m.room.take(items, m.done, s.pos, b)
	}
	t.mu.Unlock()
	if !covered {
		return s.replayPage(items, m, b)
	}
	for _, it := range items[before:] {
		m.replayed(it.Event)
	}
	if b.left() {
		m.done = s.pos
	}
	return items, false
}

// replayPage takes from the store what the tail no longer holds.
func (s *Subscription) replayPage(items []Item, m *member, b *budget) ([]Item, bool) {
	l := s.page(m.name, m.done)
	if l == nil {
		return items, true
	}
	if mark := hole(m.name, l); mark != nil {
		s.fetched, mark.N = nil, m.n
		if mark.Kind != Reset {
			s.remove(m)
			return append(items, Item{Mark: mark}), false
		}
		m.done, mark.Cursor = s.pos, s.posID
		return append(items, Item{Mark: mark}), false
	}
	n := 0
	for n < len(l.events) && b.left() && l.events[n].Seq <= s.pos {
		items = b.add(items, l.events[n])
		m.replayed(l.events[n])
		n++
	}
	end := n == len(l.events) && !l.page.More
	switch {
	case end && l.pos < s.pos: // it was asked for at an earlier position, and may lack what came since
		s.fetched = nil
	case end, n < len(l.events) && b.left():
		s.fetched, m.done = nil, s.pos // the rest of the page is past the position, or there is none
	default:
		s.consumed(l, n, m.done)
	}
	return items, false
}

// replayed notes that the replay has given out e.
func (m *member) replayed(e *Event) {
	m.done, m.doneID = e.Seq, e.ID
	if e.Type.Terminal() && e.JobID == m.name.Job { // it may have ended after Join read it
		m.end, m.status = e.Seq, e.Type.Status()
	}
}

// hole says what a page that cannot be continued from means.
func hole(r eventlog.Room, l *pageCopy) *Mark {
	switch {
	case l.err != nil:
		return &Mark{Kind: Fault, Room: r}
	case l.page.Gone:
		return &Mark{Kind: Gone, Room: r}
	case r.Job == "" && l.key.after < l.page.Pruned:
		return &Mark{Kind: Reset, Room: r, Reason: eventlog.ReasonPruned, Oldest: l.page.OldestID}
	}
	return nil
}

// finishReplay turns a room live, and ends it if its job has ended already.
func (s *Subscription) finishReplay(items []Item, m *member) []Item {
	s.replay, m.phase = nil, live
	s.fetched = nil // what was read for the replay, if the tail had it all the same
	if !m.said {
		items = append(items, Item{Mark: &Mark{Kind: Live, Room: m.name, N: m.n, Cursor: s.posID}})
	}
	if m.end != 0 && (m.end <= s.pos || m.start >= m.end) {
		items = s.end(items, m, s.posID, m.status)
	}
	return items
}

func (s *Subscription) end(items []Item, m *member, cursor, status string) []Item {
	s.remove(m)
	return append(items, Item{Mark: &Mark{Kind: End, Room: m.name, N: m.n, Cursor: cursor, Status: status, Seq: m.end}})
}

// follow takes what came after the position, from the tail or, if the tail no
// longer reaches back to it, from the store.
func (s *Subscription) follow(items []Item, b *budget) ([]Item, bool) {
	rooms := s.liveRooms()
	if len(rooms) == 0 {
		return items, true
	}
	before := len(items)
	t := rooms[0].room.tail
	t.mu.Lock()
	if t.generation.Load() != s.generation {
		t.mu.Unlock()
		return items, false
	}
	behind := behind(rooms, s.pos)
	if !behind {
		items = gather(items, rooms, s.pos, b)
		if head := t.head(); b.left() && head > s.pos {
			s.pos, s.posID = head, t.at(head).ID
		}
	}
	t.mu.Unlock()
	if behind {
		return s.followPage(items, rooms, b)
	}
	done := b.left()
	if !done {
		last := items[len(items)-1].Event
		s.pos, s.posID = last.Seq, last.ID
	}
	return s.endings(items, before), done
}

// liveRooms returns the rooms whose replay is over. While a replay runs or
// waits there is nothing to follow, so usually that is all of them.
func (s *Subscription) liveRooms() []*member {
	for i, m := range s.members {
		if m.phase != live { // only while a Join is reading the store
			rest := slices.Clone(s.members[:i])
			for _, m := range s.members[i:] {
				if m.phase == live {
					rest = append(rest, m)
				}
			}
			return rest
		}
	}
	return s.members
}

// behind reports whether the tail may lack an event of a room after pos.
func behind(rooms []*member, pos uint64) bool {
	for _, m := range rooms {
		if m.room.gone() > pos {
			return true
		}
	}
	return false
}

// gather merges the events of the rooms after pos, each once.
func gather(items []Item, rooms []*member, pos uint64, b *budget) []Item {
	before, whole, left := len(items), *b, *b
	yielded := 0
	for _, m := range rooms {
		from, each := len(items), whole
		items = m.room.take(items, max(pos, m.start), noLimit, &each)
		if len(items) > from {
			yielded++
			left = each
		}
	}
	*b = left
	if yielded > 1 {
		*b = whole
		items = merge(items, before, b)
	}
	return items
}

// merge orders what several rooms yielded from index before on, and cuts it to
// the budget. A room that was itself cut fills the budget alone, so nothing
// after its cut survives.
func merge(items []Item, before int, b *budget) []Item {
	all := items[before:]
	slices.SortFunc(all, func(x, y Item) int { return cmp.Compare(x.Event.Seq, y.Event.Seq) })
	all = slices.CompactFunc(all, func(x, y Item) bool { return x.Event.Seq == y.Event.Seq })
	items = items[:before]
	for _, it := range all {
		if !b.left() {
			break
		}
		items = b.add(items, it.Event)
	}
	return items
}

// followPage reads on in the store until the tail covers the position again.
func (s *Subscription) followPage(items []Item, rooms []*member, b *budget) ([]Item, bool) {
	r := eventlog.Room{Client: s.client}
	if len(rooms) == 1 {
		r = rooms[0].name
	}
	l := s.page(r, s.pos)
	if l == nil {
		return items, true
	}
	if mark := hole(r, l); mark != nil {
		return s.followHole(items, rooms, mark, l), false
	}
	before, n := len(items), 0
	for n < len(l.events) && b.left() {
		e := l.events[n]
		if wanted(rooms, e) {
			items = b.add(items, e)
		}
		s.pos, s.posID = e.Seq, e.ID
		n++
	}
	exhausted := n == len(l.events) && !l.page.More
	s.consumed(l, n, s.pos)
	if exhausted {
		s.fetched = nil
		if l.before.seq > s.pos {
			s.pos, s.posID = l.before.seq, l.before.id
		}
	}
	return s.endings(items, before), false
}

// followHole goes on where the log does. A hole in a client's log says nothing of
// its jobs: each is whole or gone. So job rooms are replayed one by one up to
// where the log goes on, and only the client's room is reset.
func (s *Subscription) followHole(items []Item, rooms []*member, mark *Mark, l *pageCopy) []Item {
	s.fetched = nil
	if mark.Kind != Reset {
		if m := s.member(mark.Room.Job); m != nil && mark.Kind == Gone {
			mark.N = m.n
			s.remove(m)
		}
		return append(items, Item{Mark: mark})
	}
	for _, m := range rooms {
		if m.name.Job == "" {
			mark.Cursor = l.page.OldestID
			items = append(items, Item{Mark: mark})
			continue
		}
		m.phase, m.done, m.doneID = placed, max(s.pos, m.start), s.posID
		m.joined = &Joined{Room: m.name, Cursor: s.posID, N: m.n}
		s.queue = append(s.queue, m)
	}
	s.pos, s.posID = l.page.Pruned, l.page.OldestID
	return items
}

// wanted reports whether one of the rooms has this event.
func wanted(rooms []*member, e *Event) bool {
	for _, m := range rooms {
		if e.Seq > m.start && (m.name.Job == "" || m.name.Job == e.JobID) {
			return true
		}
	}
	return false
}

// endings puts an End mark behind each terminal event, from index i on, of a
// job whose room was joined, and leaves that room.
func (s *Subscription) endings(items []Item, i int) []Item {
	for ; i < len(items); i++ {
		e := items[i].Event
		if e == nil || !e.Type.Terminal() {
			continue
		}
		if m := s.member(e.JobID); m != nil && m.phase == live {
			s.remove(m)
			mark := &Mark{Kind: End, Room: m.name, N: m.n, Cursor: e.ID, Status: e.Type.Status(), Seq: e.Seq}
			items = slices.Insert(items, i+1, Item{Mark: mark})
		}
	}
	return items
}
