package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/transport/transporttest"
)

// link is one WebSocket connection, and what a client makes of what comes: to
// which rooms an event belongs, and where each room stands. Between `subscribed`
// and `live` of a room an id is that room's place, any other id is the place of
// all rooms. That is one state machine, whose rules stand together in this file.
type link struct {
	socket  *transporttest.Socket
	changed chan struct{} // something came; sent by the reader, closed at the end
	reader  sync.WaitGroup

	mu       sync.Mutex // guards everything below
	rooms    map[string]*stretch
	replay   *stretch         // the room whose history is being read
	position string           // of the rooms whose history was read
	asks     map[string][]ask // by room: messages without an answer, oldest first
	past     []*stretch       // over, and not checked yet
	fault    string           // the first thing that must not come
	lines    []string         // what was said, for whoever reads a failure
}

// stretch is a room from a subscribe to where it was left.
type stretch struct {
	room         string
	start, place string // cursors
	live         bool
	got          []transporttest.Item
}

// ask is a message of the client.
type ask struct {
	join   bool // subscribe; otherwise unsubscribe
	again  bool // to a room that is joined
	cursor string
	from   string

	low, high uint64 // where the room may start; unless a cursor was given
}

func newLink(s *transporttest.Socket) *link {
	l := &link{socket: s, changed: make(chan struct{}, 1), rooms: make(map[string]*stretch), asks: make(map[string][]ask)}
	l.reader.Go(func() {
		defer close(l.changed)
		for {
			it, err := s.Next()
			if err != nil {
				return
			}
			l.take(it)
			select {
			case l.changed <- struct{}{}:
			default:
			}
		}
	})
	return l
}

func (l *link) say(room string, a ask) error {
	l.mu.Lock()
	l.asks[room] = append(l.asks[room], a)
	l.lines = append(l.lines, fmt.Sprintf("> %q %+v", room, a))
	l.mu.Unlock()
	event := "unsubscribe"
	if a.join {
		event = "subscribe"
	}
	return l.socket.Say(event, map[string]any{"jobId": room, "lastEventId": a.cursor, "from": a.from})
}

// close ends the connection; every room stands where it stood.
func (l *link) close() {
	l.socket.Close()
	l.reader.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.rooms {
		l.quit(s, l.placeOf(s))
	}
}

func (l *link) placeOf(s *stretch) string {
	switch {
	case s.live:
		return l.position
	case len(s.got) > 0:
		return s.got[len(s.got)-1].ID
	}
	return s.start
}

func (l *link) quit(s *stretch, place string) {
	s.place = place
	delete(l.rooms, s.room)
	l.past = append(l.past, s)
	if l.replay == s {
		l.replay = nil
	}
}

// failf notes the first fault.
func (l *link) failf(format string, args ...any) {
	if l.fault == "" {
		l.fault = fmt.Sprintf(format, args...)
	}
}

// frame is the data of a control frame.
type frame struct {
	Room, JobID, Cursor, LastEventID string
}

// take makes sense of what comes.
func (l *link) take(it transporttest.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it.Event != nil {
		l.lines = append(l.lines, "< event "+it.ID)
		l.event(it)
		return
	}
	var f frame
	if len(it.Data) > 0 && json.Unmarshal(it.Data, &f) != nil {
		l.failf("%s %s", it.Name, it.Data)
	}
	if it.Name != transporttest.Heartbeat && it.Name != "ping" {
		l.lines = append(l.lines, fmt.Sprintf("< %s %q %s%s", it.Name, f.Room+f.JobID, f.Cursor, f.LastEventID))
	}
	if job, ok := strings.CutPrefix(f.Room, "job:"); ok {
		f.JobID = job
	}
	switch it.Name {
	case "subscribed":
		l.subscribed(f)
	case "live":
		l.lives(f)
	case "unsubscribed":
		l.unsubscribed(f)
	case "end":
		s := l.rooms[f.JobID]
		if s == nil || !s.live {
			l.failf("the end of %q, which is not followed", f.JobID)
			return
		}
		l.quit(s, f.LastEventID)
	case "connected", "ping", transporttest.Heartbeat:
	default:
		l.failf("%s came", it.Name)
	}
}

// event gives an event to the rooms that it is for.
func (l *link) event(it transporttest.Item) {
	var e struct{ JobID string }
	if err := json.Unmarshal(it.Event, &e); err != nil {
		l.failf("%s: %v", it.Event, err)
	}
	if s := l.replay; s != nil {
		if s.room != "" && s.room != e.JobID {
			l.failf("event %s of %s came while %q was replayed", it.ID, e.JobID, s.room)
		}
		s.got = append(s.got, it)
		return
	}
	if seqOf(it.ID) <= seqOf(l.position) {
		l.failf("event %s came at %s", it.ID, l.position)
	}
	l.position = it.ID
	wanted := false
	for _, s := range l.rooms {
		if s.live && (s.room == "" || s.room == e.JobID) && seqOf(it.ID) > seqOf(s.start) {
			s.got = append(s.got, it)
			wanted = true
		}
	}
	if !wanted {
		l.failf("event %s of %s is of no room that is joined", it.ID, e.JobID)
	}
}

// answer takes the oldest message about a room off the list, which must be of
// this kind.
func (l *link) answer(room string, join bool) ask {
	asks := l.asks[room]
	if len(asks) == 0 || asks[0].join != join {
		l.failf("an answer about %q to nothing: join %v, open %+v", room, join, asks)
		return ask{}
	}
	l.asks[room] = asks[1:]
	return asks[0]
}

func (l *link) subscribed(f frame) {
	a := l.answer(f.JobID, true)
	if s := l.rooms[f.JobID]; s != nil {
		if !a.again || seqOf(f.Cursor) < seqOf(l.position) {
			l.failf("%q was joined already, at %s: %s", f.JobID, l.position, f.Cursor)
		}
		return
	}
	if l.replay != nil {
		l.failf("%q began while %q was replayed", f.JobID, l.replay.room)
	}
	if seq := seqOf(f.Cursor); a.cursor != "" && f.Cursor != a.cursor || a.cursor == "" && (seq < a.low || seq > a.high) {
		l.failf("%q starts at %s, asked was %+v", f.JobID, f.Cursor, a)
	}
	l.replay = &stretch{room: f.JobID, start: f.Cursor}
	l.rooms[f.JobID] = l.replay
}

func (l *link) lives(f frame) {
	s := l.rooms[f.JobID]
	if s == nil || l.replay != s || seqOf(f.Cursor) < seqOf(l.position) {
		l.failf("%q is live at %s, the position was %s", f.JobID, f.Cursor, l.position)
		return
	}
	l.replay, s.live, l.position = nil, true, f.Cursor
}

// unsubscribed ends a stretch, also one that never began.
func (l *link) unsubscribed(f frame) {
	s := l.rooms[f.JobID]
	if f.Cursor == "" { // only a room that has ended meanwhile is left without one
		if f.JobID == "" || s != nil {
			l.failf("left without a cursor: %+v", f)
		}
		l.answer(f.JobID, false)
		return
	}
	if s == nil {
		a := l.answer(f.JobID, true)
		if a.cursor != "" && a.cursor != f.Cursor {
			l.failf("%q never began, and stands at %s instead of %s", f.JobID, f.Cursor, a.cursor)
		}
		s = &stretch{room: f.JobID, start: f.Cursor}
	}
	l.answer(f.JobID, false)
	l.quit(s, f.Cursor)
}

// knows reports whether a room is joined, or will be, or is being left.
func (l *link) knows(room string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rooms[room] != nil || len(l.asks[room]) > 0
}

// live returns the rooms that are live and about which nothing was asked.
func (l *link) live() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for room, s := range l.rooms {
		if s.live && len(l.asks[room]) == 0 {
			all = append(all, room)
		}
	}
	slices.Sort(all)
	return all
}

// joined returns the rooms that are joined or will be, and are not being left.
func (l *link) joined() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for room := range l.rooms {
		if len(l.asks[room]) == 0 {
			all = append(all, room)
		}
	}
	for room, asks := range l.asks {
		if len(asks) > 0 && asks[len(asks)-1].join {
			all = append(all, room)
		}
	}
	slices.Sort(all)
	return all
}

// answered and reached are conditions for until: everything that was asked was
// answered; every room that is joined has read up to this event.
func (l *link) answered() bool {
	for _, asks := range l.asks {
		if len(asks) > 0 {
			return false
		}
	}
	return l.replay == nil
}

func (l *link) reached(last map[string]string) bool {
	for room, s := range l.rooms {
		place := max(seqOf(s.start), seqOf(l.placeOf(s)))
		if place < seqOf(last[room]) {
			return false
		}
	}
	return true
}

// until waits until what is asked for is so.
func (l *link) until(t *testing.T, rt *rapid.T, what string, so func() bool) {
	ctx, cancel := context.WithTimeout(t.Context(), readTime)
	defer cancel()
	for {
		l.mu.Lock()
		done, fault := so(), l.fault
		l.mu.Unlock()
		if fault != "" {
			rt.Fatalf("%s\n%s", fault, l.story())
		}
		if done {
			return
		}
		select {
		case _, open := <-l.changed:
			if !open {
				rt.Fatalf("the connection ended before %s\n%s", what, l.story())
			}
		case <-ctx.Done():
			rt.Fatalf("not so: %s\n%s", what, l.story())
		}
	}
}

// over returns the stretches that have ended since the last call.
func (l *link) over() (past []*stretch, fault string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	past, l.past = l.past, nil
	return past, l.fault
}

// story is what was said on the connection.
func (l *link) story() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-200):], "\n")
}
