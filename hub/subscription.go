package hub

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jobcast/jobcast/eventlog"
)

// From says where a room starts when no cursor is given.
type From uint8

// The choices of From.
const (
	Default      From = iota // a job room at the job's first event, a client room now
	FromStart                // at the oldest event that is kept
	FromNow                  // at the newest event
	FromNowOrEnd             // the same, but a job that has ended starts right before its terminal event
)

// Start is where a reader wants a room to start.
type Start struct {
	Cursor  *eventlog.Cursor // right after it; nil: none was given
	Invalid bool             // a cursor was given but does not parse
	From    From
	Tail    int   // without a cursor: before the newest so many events; 0: From decides
	N       int64 // the caller's number of this join: marks carry it
	Hold    bool  // give out nothing, of any room, until Release
}

// Joined is the outcome of a Join.
type Joined struct {
	Room   eventlog.Room
	Cursor string // where the room starts from
	Reset  *Mark  // the cursor could not be continued from
	Job    []byte // job rooms: the Job object as JSON
	Status string // job rooms: the job's status
	Ended  bool   // the cursor asked for is at or past the job's terminal event

	N          int64  // Start.N
	Position   string // where the connection stands while the room's history is read
	PositionAt uint64 // the same as a seq
	Again      bool   // the room's Started was given out before Resume
}

// MarkKind tells the marks apart.
type MarkKind uint8

// The marks that stand between events.
const (
	Started MarkKind = iota // a room begins; its history follows
	Live                    // a room's history is done; what follows is live
	Reset                   // a room goes on elsewhere than it was asked to
	End                     // a job room had its terminal event and was left
	Gone                    // the job was deleted while its history was read
	Fault                   // history cannot be read at the moment
)

// Mark is a point in the stream that is no event.
type Mark struct {
	Kind   MarkKind
	Room   eventlog.Room
	N      int64           // Start.N of the join
	Cursor string          // Live, End: the position; Reset: where it goes on
	Reason eventlog.Reason // Reset
	Oldest string          // Reset: cursor before the oldest event kept
	Status string          // End: the job's final status
	Seq    uint64          // End: the number of the job's last event
	Joined Joined          // Started: how the room was joined
}

// Item is one event or one mark.
type Item struct {
	Event *Event
	Mark  *Mark
}

// Refusals of Join.
var (
	ErrJoined = errors.New("hub: the room is already joined")
	ErrClosed = errors.New("hub: the subscription is closed")
)

// phase is how far a member has come; doc.go draws it. Each phase includes what the
// ones before it have.
type phase uint8

const (
	reserved  phase = iota // the name is taken
	entered                // registered with room
	placed                 // start, done and end are set; queued for its replay
	replaying              // Started was given out
	live                   // the replay is over
)

// hold is what Start.Hold has made of a member. The position stands still, until it is
// live, for a member that is held or released.
type hold uint8

const (
	notHeld  hold = iota
	held          // until Release
	released      // by Release, or put back by Resume
)

// member is one room of one subscription.
type member struct {
	sub   *Subscription
	room  *room // set by Hub.enter
	index int   // in room.subs; guarded by tail.mu

	before tailMark // set by Hub.enter: what is read later lacks nothing up to it

	// Guarded by sub.mu, which is taken before hub.mu and tail.mu.
	name    eventlog.Room
	n       int64
	phase   phase
	hold    hold
	said    bool    // Live was given out before Resume
	refusal *Mark   // Gone or Fault, given out when its turn comes; the room is left then
	joined  *Joined // given out at the start of the replay, and nil after it
	start   uint64  // events at or below it are not for this room
	done    uint64  // the replay has reached this seq
	doneID  string
	end     uint64 // seq of the job's terminal event if it was known at Join
	status  string
}

// Subscription reads the rooms that it has joined. Next has one caller at a
// time; the other methods may be called by any goroutine.
type Subscription struct {
	hub    *Hub
	client string
	wakeFn func()

	mu       sync.Mutex // guards everything below
	fetching bool       // a read is under way
	reading  bool       // the last Next stopped for want of a page
	resuming bool       // Resume is at work: the position must not move
	judging  bool       // the store is judging where it stands
	closed   bool
	members  []*member
	pos      uint64 // every event of the joined, live rooms up to pos was taken
	posID    string
	replay   *member // the join whose history is being read, at most one
	queue    []*member
	asked    uint64 // pos when the read was asked for
	fetched  *pageCopy

	astray bool // the store did not say whether the position is in the log, and every room was refused

	// generation is that of the tail in which the position and all placed rooms are known
	// to stand in the log; 0: in none.
	generation uint64
}

// Subscribe makes a subscription to rooms of one client. wake is called, never
// with locks held, when Next may have something; it must not block.
func (h *Hub) Subscribe(client string, wake func()) *Subscription {
	return &Subscription{hub: h, client: client, wakeFn: wake}
}

func (s *Subscription) wake() { s.wakeFn() }

// Join adds a room and says where it starts. The caller has authorised it.
// Errors of Reader.Open are returned as they are, and the room is not joined.
func (s *Subscription) Join(ctx context.Context, job string, st Start) (Joined, error) {
	name := eventlog.Room{Client: s.client, Job: job}
	m := &member{sub: s, name: name, n: st.N}
	if st.Hold {
		m.hold = held
	}
	if err := s.add(m); err != nil {
		return Joined{}, err
	}
	s.hub.enter(m, name) // register first, then read: no gap at the seam
	if !s.entered(m) {
		return Joined{}, ErrClosed
	}
	o, err := s.hub.open(ctx, name, &st)
	if err != nil {
		s.Leave(job)
		return Joined{}, err
	}
	return s.place(m, st, o)
}

// open tells how a room stands. A start before the newest events becomes a cursor.
func (h *Hub) open(ctx context.Context, name eventlog.Room, st *Start) (eventlog.Opened, error) {
	if st.Tail > 0 && st.Cursor == nil && !st.Invalid {
		at, err := h.log.Tail(ctx, name, st.Tail)
		if err != nil {
			return eventlog.Opened{}, err
		}
		st.Cursor = &at
	}
	return h.log.Open(ctx, name, st.from(name.Job))
}

// from returns what Reader.Open is asked about for a room: the cursor, if one was given. A
// job's room is otherwise asked about the beginning if it starts there, for its events.
func (st Start) from(job string) *eventlog.Cursor {
	now := st.From == FromNow || st.From == FromNowOrEnd
	if st.Cursor != nil || job == "" || now && !st.Invalid {
		return st.Cursor
	}
	return &eventlog.Cursor{}
}

// add reserves the room's name.
func (s *Subscription) add(m *member) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.member(m.name.Job) != nil {
		return ErrJoined
	}
	s.members = append(s.members, m)
	return nil
}

// entered notes that m is registered, or undoes it if m was removed meanwhile.
func (s *Subscription) entered(m *member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.members, m) {
		s.hub.exit(m)
		return false
	}
	m.phase = entered
	return true
}

func (s *Subscription) member(job string) *member {
	for _, m := range s.members {
		if m.name.Job == job {
			return m
		}
	}
	return nil
}

// place decides where the room starts and queues its replay.
func (s *Subscription) place(m *member, st Start, o eventlog.Opened) (Joined, error) {
	j := Joined{Room: m.name, Job: o.Job, Status: o.Status, N: m.n}
	oldest := m.name.Job != ""
	switch {
	case st.Invalid:
		o.Reason = eventlog.ReasonInvalid
	case st.Cursor != nil && o.Reason == eventlog.Valid:
		m.start, j.Cursor = st.Cursor.Seq, st.Cursor.String()
	case st.From != Default:
		oldest = st.From == FromStart
	}
	given := st.Cursor != nil && o.Reason == eventlog.Valid && !st.Invalid
	switch {
	case given:
	case oldest:
		m.start, j.Cursor = o.Oldest, o.OldestID
	case st.From == FromNowOrEnd && o.End != 0:
		m.start, j.Cursor = o.End-1, o.BeforeEnd
	default:
		m.start, j.Cursor = o.Head, o.HeadID
	}
	if o.Reason != eventlog.Valid {
		j.Reset = m.reset(o, j.Cursor)
	}
	j.Ended = given && o.End != 0 && m.start >= o.End
	m.end, m.status = o.End, o.Status
	sure := s.hub.agrees(m.room.tail, m.before, o.HeadID)

	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.members, m) {
		return Joined{}, ErrClosed // left or closed meanwhile
	}
	if s.tail() == nil && (o.Head >= s.pos || s.astray || s.generation != m.before.generation) {
		// The first room, or the first since all were left: what happened
		// without a room was not followed, and the room's own start decides.
		// The last room may have ended after the store was asked.
		s.moveTo(o)
	}
	s.stand(m, sure)
	j.Position, j.PositionAt = s.posID, s.pos
	m.phase, m.joined = placed, &j
	m.done, m.doneID = m.start, j.Cursor
	s.queue = append(s.queue, m)
	s.prefetch(m, o)
	return j, nil
}

// moveTo puts the position at the end of the log as it is now. A page that was asked for
// at another position may lack what comes before this one.
func (s *Subscription) moveTo(o eventlog.Opened) {
	s.pos, s.posID, s.astray = o.Head, o.HeadID, false
	s.asked, s.fetched = 0, nil
}

// stand notes, before m is placed, in which generation of the tail the subscription
// stands. sure says that m was placed by what is in the log.
func (s *Subscription) stand(m *member, sure bool) {
	if s.tail() == nil {
		s.generation = m.before.generation
	}
	if !sure {
		s.generation = 0
	}
}

// prefetch puts the room's history, as far as it was read when the room was opened,
// where the replay will look for it, unless another replay looks there first.
func (s *Subscription) prefetch(m *member, o eventlog.Opened) {
	if !o.Whole || m.start >= o.Head || len(s.queue) > 1 || s.replay != nil || s.fetching || s.fetched != nil {
		return
	}
	for len(o.Events) > 0 && o.Events[0].Seq <= m.start {
		o.Events = o.Events[1:]
	}
	s.fetched = &pageCopy{
		key: pageKey{m.name, m.start}, events: newEvents(o.Events), before: tailMark{m.before.generation, o.Head, o.HeadID}, pos: o.Head,
	}
}

// Release lets a room that was joined with Hold begin.
func (s *Subscription) Release(job string) {
	s.mu.Lock()
	if m := s.member(job); m != nil && m.hold == held {
		m.hold = released
	}
	s.mu.Unlock()
	s.wake()
}

// Leave removes a room at once and returns the position up to which its events
// were taken; ok is false if it was not joined.
func (s *Subscription) Leave(job string) (cursor string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.member(job)
	if m == nil {
		return "", false
	}
	cursor = s.cursorOf(m)
	s.remove(m)
	return cursor, true
}

// remove takes m out of every list and out of its room.
func (s *Subscription) remove(m *member) {
	same := func(x *member) bool { return x == m }
	s.members = slices.DeleteFunc(s.members, same)
	s.queue = slices.DeleteFunc(s.queue, same)
	if s.replay == m {
		s.replay = nil
	}
	if m.phase >= entered {
		s.hub.exit(m)
	}
}

// Close leaves all rooms. It is idempotent.
func (s *Subscription) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.members) > 0 {
		s.remove(s.members[0])
	}
	s.closed, s.fetched = true, nil
}
