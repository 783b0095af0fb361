package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// model is what a client of one session has been told, and what follows from that
// and from what was committed. The client has one place in the log and moves
// through the union of its rooms; a room that began before that place is read up
// to it while the place stays.
type model struct {
	log       *transporttest.Log
	committed map[string][]transporttest.Entry // by room, of the call at hand

	place uint64 // everything up to it that live rooms owe was received
	last  int64  // the newest join that was heard of
	rooms []*joinedRoom
	asked []question      // subscribes without an answer
	left  []string        // rooms whose unsubscribe has no answer
	heard map[string]bool // rooms that were said to be joined and have not begun
	saved []savedState    // by offset that a client may come back with, oldest first
	trace []string
}

// savedState is what follows from everything up to an offset. Whoever comes back with
// it has received nothing of what came behind, and gets that, once and in order.
type savedState struct {
	offset string
	place  uint64
	rooms  []joinedRoom
	heard  map[string]bool
}

// question is what a client has asked for. One who leaves the room before it has begun
// hears of the leave alone.
type question struct {
	data map[string]string
	left bool // on the same connection
}

// joinedRoom is one join of a room.
type joinedRoom struct {
	job     string
	n       int64
	start   uint64 // nothing up to it is owed
	upTo    uint64 // the client's place while the room's history is read
	got     uint64 // the newest event of the room
	live    bool
	leaving bool // unsubscribe was said
	ghost   bool // the same, but nobody knows whether it arrived: nothing is owed
}

func newModel(l *transporttest.Log) *model {
	return &model{log: l, heard: make(map[string]bool)}
}

const traceLength = 60

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
	m.trace = m.trace[max(0, len(m.trace)-traceLength):]
}

// tail tells what went before, and what is owed now.
func (m *model) tail() string {
	m.note("owed are %d: asked %v, left %q, heard %v", m.owed(), m.asked, m.left, m.heard)
	for _, r := range m.rooms {
		m.note("room %+v", *r)
	}
	return strings.Join(m.trace, "\n")
}

func broken(format string, args ...any) error { return violation{fmt.Sprintf(format, args...)} }

// refresh reads what was committed.
func (m *model) refresh() {
	m.committed = map[string][]transporttest.Entry{"": m.log.Entries("")}
	for _, e := range m.committed[""] {
		m.committed[e.Job] = append(m.committed[e.Job], e)
	}
}

// rest returns what a room has behind a place.
func (m *model) rest(job string, after uint64) []transporttest.Entry {
	all := m.committed[job]
	i := slices.IndexFunc(all, func(e transporttest.Entry) bool { return seqOf(e.ID) > after })
	if i < 0 {
		return nil
	}
	return all[i:]
}

// next is the number of the next event that a room owes.
func (m *model) next(r *joinedRoom) (seq uint64, ok bool) {
	rest := m.rest(r.job, r.got)
	if len(rest) == 0 {
		return 0, false
	}
	return seqOf(rest[0].ID), true
}

func (m *model) find(match func(*joinedRoom) bool) *joinedRoom {
	if i := slices.IndexFunc(m.rooms, match); i >= 0 {
		return m.rooms[i]
	}
	return nil
}

func (m *model) joined(job string) bool {
	return m.find(func(r *joinedRoom) bool { return r.job == job && !r.leaving && !r.ghost }) != nil
}

// drop forgets the joins of a room.
func (m *model) drop(job string) {
	m.rooms = slices.DeleteFunc(m.rooms, func(r *joinedRoom) bool { return r.job == job })
}

// asks and leaves note what the client says.
func (m *model) asks(data map[string]string) {
	m.note("asks %v", data)
	m.asked = append(m.asked, question{data: data})
}

func (m *model) leaves(job string) {
	m.note("leaves %q", job)
	m.left = append(m.left, job)
	for i := range m.asked {
		m.asked[i].left = m.asked[i].left || m.asked[i].data["jobId"] == job
	}
	for _, r := range m.rooms {
		r.leaving = r.leaving || r.job == job
	}
}

// cut: what has no answer may have arrived or not.
func (m *model) cut(offset string) {
	m.note("cut at %d, offset %s", m.place, offset)
	m.rollBack(offset)
	if offset != "" {
		_, m.last = place3(offset) // of joins that it has forgotten the numbers may come again
	}
	for _, r := range m.rooms {
		r.ghost = r.ghost || r.leaving
	}
	for i := range m.asked {
		m.asked[i].left = false // it is said again, after the leaves
	}
}

// fresh: the session is a new one.
func (m *model) fresh() {
	m.place, m.last, m.rooms, m.heard, m.saved = 0, 0, nil, make(map[string]bool), nil
}

// save notes what follows from all up to the offset that the newest item has.
func (m *model) save(offset string) {
	s := savedState{offset: offset, place: m.place, heard: maps.Clone(m.heard)}
	for _, r := range m.rooms {
		s.rooms = append(s.rooms, *r)
	}
	m.saved = append(slices.DeleteFunc(m.saved, func(old savedState) bool { return old.offset == offset }), s)
}

// holds: the client has received this offset, so it comes back with no older one.
func (m *model) holds(offset string) {
	if i := slices.IndexFunc(m.saved, func(s savedState) bool { return s.offset == offset }); i > 0 {
		m.saved = slices.Delete(m.saved, 0, i)
	}
}

// rollBack goes back to an offset: what was received behind it does not count.
func (m *model) rollBack(offset string) {
	i := slices.IndexFunc(m.saved, func(s savedState) bool { return s.offset == offset })
	if i < 0 {
		return
	}
	s := m.saved[i]
	m.place, m.heard, m.rooms, m.saved = s.place, maps.Clone(s.heard), nil, m.saved[:i+1]
	for _, r := range s.rooms {
		r.leaving = r.leaving || slices.Contains(m.left, r.job)
		m.rooms = append(m.rooms, &r)
	}
}

func (m *model) unsaid() []string       { return slices.Clone(m.left) }
func (m *model) unanswered() []question { return slices.Clone(m.asked) }

// owed is how many items are sure to come without anything new happening.
func (m *model) owed() int {
	m.refresh()
	n := len(m.left)
	for _, a := range m.asked {
		if !a.left {
			n++
		}
	}
	for job := range m.heard {
		if !m.ended(job) && m.find(func(r *joinedRoom) bool { return r.job == job }) == nil {
			n++
		}
	}
	for _, r := range m.rooms {
		if !m.sure(r) {
			continue
		}
		if !r.live {
			n++
			for _, e := range m.rest(r.job, r.got) {
				if seqOf(e.ID) <= r.upTo {
					n++
				}
			}
		}
		if m.ended(r.job) {
			n++
		}
	}
	for _, e := range m.rest("", m.place) {
		if m.wanted(e, m.sure) {
			n++
		}
	}
	return n
}

// sure reports whether what a room has still to give will come, unless the client
// leaves the room.
func (m *model) sure(r *joinedRoom) bool { return !r.leaving && !r.ghost }

func (m *model) ended(job string) bool {
	all := m.committed[job]
	return job != "" && len(all) > 0 && all[len(all)-1].Type == eventlog.TypeCompleted
}

func (m *model) wanted(e transporttest.Entry, among func(*joinedRoom) bool) bool {
	return m.find(func(r *joinedRoom) bool {
		return among(r) && (r.job == "" || r.job == e.Job) && seqOf(e.ID) > r.start
	}) != nil
}

// see takes items in the order in which the client got them.
func (m *model) see(items []seen) error {
	m.refresh()
	for _, it := range items {
		m.noteItem(it)
		if err := m.item(it); err != nil {
			return err
		}
		m.save(it.offset)
		m.holds(it.held)
	}
	return nil
}

// noteItem notes an item; of events that follow one another only the newest.
func (m *model) noteItem(it seen) {
	if last := len(m.trace) - 1; it.Event != nil && last >= 0 && strings.HasPrefix(m.trace[last], "got up to ") {
		m.trace = m.trace[:last]
	}
	if it.Event != nil {
		m.note("got up to %s, offset %s", it.ID, it.offset)
		return
	}
	m.note("got %s %s, offset %s", it.Name, it.Data, it.offset)
}

func (m *model) item(it seen) error {
	switch it.Name {
	case "":
		return m.event(it)
	case "subscribed":
		return m.subscribed(it)
	case "live":
		return m.turnsLive(it)
	case "end":
		return m.end(it)
	case "unsubscribed":
		return m.unsubscribed(it)
	}
	return broken("%s: %s", it.Name, it.Data)
}

// place3 takes an offset apart; n is 0 where it is a plain cursor.
func place3(offset string) (position uint64, n int64) {
	parts := strings.Split(offset, ".")
	if len(parts) == 3 {
		n, _ = strconv.ParseInt(parts[1], 10, 64) // the client has checked it
	}
	return seqOf(parts[0]), n
}

// ioFrame is what the model reads of a control frame.
type ioFrame struct {
	JobID, Cursor string
}

func frameOf(it seen) (ioFrame, error) {
	var f ioFrame
	err := json.Unmarshal(it.Data, &f)
	return f, err
}

func (m *model) subscribed(it seen) error {
	f, err := frameOf(it)
	if err != nil {
		return err
	}
	m.answered(f.JobID)
	at, n := place3(it.offset)
	if n <= m.last { // an answer about a room that is joined
		// A job may end, and say so, while the answer is on its way.
		if !m.ended(f.JobID) && m.find(func(r *joinedRoom) bool { return r.job == f.JobID }) == nil {
			m.heard[f.JobID] = true
		}
		return nil
	}
	if at < m.place {
		return broken("room %q begins at the place %d, behind %d", f.JobID, at, m.place)
	}
	if m.joined(f.JobID) && !m.ended(f.JobID) {
		return broken("room %q begins twice", f.JobID)
	}
	start := seqOf(f.Cursor)
	if r := m.find(func(r *joinedRoom) bool { return r.job == f.JobID && m.sure(r) }); r != nil {
		if next, ok := m.next(r); ok && next <= start {
			return broken("%q begins anew at %d, and lacks %d", r.job, start, next)
		}
	}
	m.drop(f.JobID) // it ended, which was lost, and a later subscribe began it anew
	if err := m.reused(n); err != nil {
		return err
	}
	delete(m.heard, f.JobID)
	m.last, m.place = n, at
	m.rooms = append(m.rooms, &joinedRoom{
		job: f.JobID, n: n, start: start, upTo: at, got: start, ghost: slices.Contains(m.left, f.JobID),
	})
	return nil
}

// reused: a new join has a number. An older one may have had it only if it was left
// before a cut, and the client brought another offset back.
func (m *model) reused(n int64) error {
	same := func(r *joinedRoom) bool { return r.n == n }
	if r := m.find(func(r *joinedRoom) bool { return same(r) && !r.ghost }); r != nil {
		return broken("a room begins with the number %d of %q", n, r.job)
	}
	m.rooms = slices.DeleteFunc(m.rooms, same)
	return nil
}

// answered takes the oldest ask for a room off the list.
func (m *model) answered(job string) {
	if i := slices.IndexFunc(m.asked, func(q question) bool { return q.data["jobId"] == job }); i >= 0 {
		m.asked = slices.Delete(m.asked, i, i+1)
	}
}

func (m *model) event(it seen) error {
	seq := seqOf(it.ID)
	at, n := place3(it.offset)
	if n > 0 {
		return m.replayed(seq, at, n)
	}
	if seq <= m.place {
		return broken("event %d comes at the place %d", seq, m.place)
	}
	at = m.place
	m.place = seq
	e := m.rest("", seq-1)[0]
	if !m.wanted(e, func(r *joinedRoom) bool { return r.live || r.ghost }) {
		return broken("event %d is of no room", seq)
	}
	for _, r := range m.rooms {
		if err := m.follow(r, seq, at); err != nil {
			return err
		}
	}
	return nil
}

// follow moves a room on to a live event, which may be its own.
func (m *model) follow(r *joinedRoom, seq, at uint64) error {
	next, ok := m.next(r)
	switch {
	case r.ghost, r.leaving && !r.live:
	case !r.live:
		return broken("event %d comes while %q is read up to %d", seq, r.job, r.upTo)
	case ok && next == seq:
		r.got = seq
	case ok && next < seq && !r.leaving:
		return broken("%q lacks event %d between %d and %d", r.job, next, at, seq)
	}
	return nil
}

// replayed takes an event of a room's history.
func (m *model) replayed(seq, at uint64, n int64) error {
	r := m.find(func(r *joinedRoom) bool { return r.n == n })
	if r == nil || r.ghost {
		return nil // it was left, for all that is known
	}
	next, ok := m.next(r)
	switch {
	case r.live:
		return broken("event %d of the history of %q, which is over", seq, r.job)
	case at != r.upTo || m.place != at:
		return broken("%q is read at the place %d, and began at %d", r.job, at, r.upTo)
	case !ok || next != seq || seq > r.upTo:
		return broken("event %d of the history of %q, and %d is next, up to %d", seq, r.job, next, r.upTo)
	}
	r.got = seq
	return nil
}

func (m *model) turnsLive(it seen) error {
	at, n := place3(it.offset)
	r := m.find(func(r *joinedRoom) bool { return r.n == n })
	if r == nil || r.ghost {
		return nil
	}
	if next, ok := m.next(r); !r.live && ok && next <= r.upTo {
		return broken("the history of %q lacks %d", r.job, next)
	}
	if at != m.place {
		return broken("%q is live at %d, the place is %d", r.job, at, m.place)
	}
	if !r.live { // it may be said once more after a cut
		r.live, r.got = true, max(r.upTo, r.start)
	}
	return nil
}

func (m *model) end(it seen) error {
	f, err := frameOf(it)
	if err != nil {
		return err
	}
	r := m.find(func(r *joinedRoom) bool { return r.job == f.JobID })
	if r == nil || r.ghost {
		return nil // said once more
	}
	if next, ok := m.next(r); !r.live || ok && !r.leaving {
		return broken("%q ends before %d, live %v", r.job, next, r.live)
	}
	m.drop(f.JobID)
	return nil
}

func (m *model) unsubscribed(it seen) error {
	f, err := frameOf(it)
	if err != nil {
		return err
	}
	for _, r := range m.rooms {
		if f.Cursor == "" && r.job == f.JobID && !r.ghost {
			return broken("%q was left without a cursor", r.job)
		}
		if next, ok := m.next(r); f.Cursor != "" && r.job == f.JobID && !r.ghost && ok && next <= seqOf(f.Cursor) {
			return broken("%q was left at %s without %d", r.job, f.Cursor, next)
		}
	}
	return m.gone(f.JobID)
}

// gone: a room was left, or had ended before it could be.
func (m *model) gone(job string) error {
	i := slices.Index(m.left, job)
	if i < 0 {
		return broken("%q was left without being asked", job)
	}
	m.left = slices.Delete(m.left, i, i+1)
	m.asked = slices.DeleteFunc(m.asked, func(q question) bool { return q.left && q.data["jobId"] == job })
	m.drop(job)
	delete(m.heard, job)
	for i := range m.saved { // whatever comes again, this does not
		m.saved[i].rooms = slices.DeleteFunc(m.saved[i].rooms, func(r joinedRoom) bool { return r.job == job })
		delete(m.saved[i].heard, job)
	}
	return nil
}
