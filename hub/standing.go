package hub

import "slices"

// Standing is where a subscription stands, for people who look at it.
type Standing struct {
	Rooms    int      // joined
	First    []string // the jobs of the first few rooms; empty: the client's room
	Position string   // the cursor to come back with; empty: there is no room

	// Lag is how many events of its rooms Next has yet to give out. Of a room that the
	// tail does not cover, whose history is read from the store, all of the log's count.
	Lag uint64
}

// maxFirst bounds Standing.First.
const maxFirst = 5

// Standing tells where s stands now. It holds the tail's lock for as long as it takes to
// look each room's events up.
func (s *Subscription) Standing() Standing {
	position := s.Position()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.members) == 0 {
		return Standing{}
	}
	at := Standing{Rooms: len(s.members), Position: position}
	for _, m := range s.members[:min(len(s.members), maxFirst)] {
		at.First = append(at.First, m.name.Job)
	}
	at.Lag = s.lag()
	return at
}

// lag counts each event once, as Next gives it out once, but for what a replay repeats.
func (s *Subscription) lag() (n uint64) {
	t := s.tail()
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := s.member("")
	var unread uint64 // of live rooms that the tail does not cover: they are read together
	for _, m := range s.members {
		switch {
		case m.phase < placed, m != all && m.phase == live && all != nil && all.phase == live:
		case m.phase < live:
			n += m.lag(m.done)
		case m.room.covers(max(s.pos, m.start)):
			n += m.lag(max(s.pos, m.start))
		default:
			unread = max(unread, m.lag(max(s.pos, m.start)))
		}
	}
	return n + unread
}

// lag counts the events of the room after seq. The tail's mu is held.
func (m *member) lag(seq uint64) uint64 {
	r := m.room
	if m.name.Job != "" && r.covers(seq) {
		i, _ := slices.BinarySearch(r.seqs, seq+1)
		return uint64(len(r.seqs) - i)
	}
	if head := r.tail.head(); head > seq {
		return head - seq
	}
	return 0
}
