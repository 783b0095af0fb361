package server_test

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

// websocketModel is one WebSocket connection, and what a client makes of what comes: to
// which rooms an event belongs, and where each room stands. Between `subscribed`
// and `live` of a room an id is that room's place, any other id is the place of
// all rooms. That is one state machine, whose rules stand together in this file.
type websocketModel struct {
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

func newWebsocketModel(s *transporttest.Socket) *websocketModel {
	m := &websocketModel{socket: s, changed: make(chan struct{}, 1), rooms: make(map[string]*stretch), asks: make(map[string][]ask)}
	m.reader.Go(func() {
		defer close(m.changed)
		for {
			it, err := s.Next()
			if err != nil {
				return
			}
			m.take(it)
			select {
			case m.changed <- struct{}{}:
			default:
			}
		}
	})
	return m
}

func (m *websocketModel) say(room string, a ask) error {
	m.mu.Lock()
	m.asks[room] = append(m.asks[room], a)
	m.lines = append(m.lines, fmt.Sprintf("> %q %+v", room, a))
	m.mu.Unlock()
	event := "unsubscribe"
	if a.join {
		event = "subscribe"
	}
	return m.socket.Say(event, map[string]any{"jobId": room, "lastEventId": a.cursor, "from": a.from})
}

// close ends the connection; every room stands where it stood.
func (m *websocketModel) close() {
	m.socket.Close()
	m.reader.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.rooms {
		m.quit(s, m.placeOf(s))
	}
}

func (m *websocketModel) placeOf(s *stretch) string {
	switch {
	case s.live:
		return m.position
	case len(s.got) > 0:
		return s.got[len(s.got)-1].ID
	}
	return s.start
}

func (m *websocketModel) quit(s *stretch, place string) {
	s.place = place
	delete(m.rooms, s.room)
	m.past = append(m.past, s)
	if m.replay == s {
		m.replay = nil
	}
}

// failf notes the first fault.
func (m *websocketModel) failf(format string, args ...any) {
	if m.fault == "" {
		m.fault = fmt.Sprintf(format, args...)
	}
}

// frame is the data of a control frame.
type frame struct {
	Room, JobID, Cursor, LastEventID string
}

// take makes sense of what comes.
func (m *websocketModel) take(it transporttest.Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it.Event != nil {
		m.lines = append(m.lines, "< event "+it.ID)
		m.event(it)
		return
	}
	var f frame
	if len(it.Data) > 0 && json.Unmarshal(it.Data, &f) != nil {
		m.failf("%s %s", it.Name, it.Data)
	}
	if it.Name != transporttest.Heartbeat && it.Name != "ping" {
		m.lines = append(m.lines, fmt.Sprintf("< %s %q %s%s", it.Name, f.Room+f.JobID, f.Cursor, f.LastEventID))
	}
	if job, ok := strings.CutPrefix(f.Room, "job:"); ok {
		f.JobID = job
	}
	switch it.Name {
	case "subscribed":
		m.subscribed(f)
	case "live":
		m.lives(f)
	case "unsubscribed":
		m.unsubscribed(f)
	case "end":
		s := m.rooms[f.JobID]
		if s == nil || !s.live {
			m.failf("the end of %q, which is not followed", f.JobID)
			return
		}
		m.quit(s, f.LastEventID)
	case "connected", "ping", transporttest.Heartbeat:
	default:
		m.failf("%s came", it.Name)
	}
}

// event gives an event to the rooms that it is for.
func (m *websocketModel) event(it transporttest.Item) {
	var e struct{ JobID string }
	if err := json.Unmarshal(it.Event, &e); err != nil {
		m.failf("%s: %v", it.Event, err)
	}
	if s := m.replay; s != nil {
		if s.room != "" && s.room != e.JobID {
			m.failf("event %s of %s came while %q was replayed", it.ID, e.JobID, s.room)
		}
		s.got = append(s.got, it)
		return
	}
	if seqOf(it.ID) <= seqOf(m.position) {
		m.failf("event %s came at %s", it.ID, m.position)
	}
	m.position = it.ID
	wanted := false
	for _, s := range m.rooms {
		if s.live && (s.room == "" || s.room == e.JobID) && seqOf(it.ID) > seqOf(s.start) {
			s.got = append(s.got, it)
			wanted = true
		}
	}
	if !wanted {
		m.failf("event %s of %s is of no room that is joined", it.ID, e.JobID)
	}
}

// answer takes the oldest message about a room off the list, which must be of
// this kind.
func (m *websocketModel) answer(room string, join bool) ask {
	asks := m.asks[room]
	if len(asks) == 0 || asks[0].join != join {
		m.failf("an answer about %q to nothing: join %v, open %+v", room, join, asks)
		return ask{}
	}
	m.asks[room] = asks[1:]
	return asks[0]
}

func (m *websocketModel) subscribed(f frame) {
	a := m.answer(f.JobID, true)
	if s := m.rooms[f.JobID]; s != nil {
		if !a.again || seqOf(f.Cursor) < seqOf(m.position) {
			m.failf("%q was joined already, at %s: %s", f.JobID, m.position, f.Cursor)
		}
		return
	}
	if m.replay != nil {
		m.failf("%q began while %q was replayed", f.JobID, m.replay.room)
	}
	if seq := seqOf(f.Cursor); a.cursor != "" && f.Cursor != a.cursor || a.cursor == "" && (seq < a.low || seq > a.high) {
		m.failf("%q starts at %s, asked was %+v", f.JobID, f.Cursor, a)
	}
	m.replay = &stretch{room: f.JobID, start: f.Cursor}
	m.rooms[f.JobID] = m.replay
}

func (m *websocketModel) lives(f frame) {
	s := m.rooms[f.JobID]
	if s == nil || m.replay != s || seqOf(f.Cursor) < seqOf(m.position) {
		m.failf("%q is live at %s, the position was %s", f.JobID, f.Cursor, m.position)
		return
	}
	m.replay, s.live, m.position = nil, true, f.Cursor
}

// unsubscribed ends a stretch, also one that never began.
func (m *websocketModel) unsubscribed(f frame) {
	s := m.rooms[f.JobID]
	if f.Cursor == "" { // only a room that has ended meanwhile is left without one
		if f.JobID == "" || s != nil {
			m.failf("left without a cursor: %+v", f)
		}
		m.answer(f.JobID, false)
		return
	}
	if s == nil {
		a := m.answer(f.JobID, true)
		if a.cursor != "" && a.cursor != f.Cursor {
			m.failf("%q never began, and stands at %s instead of %s", f.JobID, f.Cursor, a.cursor)
		}
		s = &stretch{room: f.JobID, start: f.Cursor}
	}
	m.answer(f.JobID, false)
	m.quit(s, f.Cursor)
}

// knows reports whether a room is joined, or will be, or is being left.
func (m *websocketModel) knows(room string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rooms[room] != nil || len(m.asks[room]) > 0
}

// live returns the rooms that are live and about which nothing was asked.
func (m *websocketModel) live() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for room, s := range m.rooms {
		if s.live && len(m.asks[room]) == 0 {
			all = append(all, room)
		}
	}
	slices.Sort(all)
	return all
}

// joined returns the rooms that are joined or will be, and are not being left.
func (m *websocketModel) joined() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for room := range m.rooms {
		if len(m.asks[room]) == 0 {
			all = append(all, room)
		}
	}
	for room, asks := range m.asks {
		if len(asks) > 0 && asks[len(asks)-1].join {
			all = append(all, room)
		}
	}
	slices.Sort(all)
	return all
}

// answered and reached are conditions for until: everything that was asked was
// answered; every room that is joined has read up to this event.
func (m *websocketModel) answered() bool {
	for _, asks := range m.asks {
		if len(asks) > 0 {
			return false
		}
	}
	return m.replay == nil
}

func (m *websocketModel) reached(last map[string]string) bool {
	for room, s := range m.rooms {
		place := max(seqOf(s.start), seqOf(m.placeOf(s)))
		if place < seqOf(last[room]) {
			return false
		}
	}
	return true
}

// until waits until what is asked for is so.
func (m *websocketModel) until(t *testing.T, rt *rapid.T, what string, so func() bool) {
	ctx, cancel := context.WithTimeout(t.Context(), readTime)
	defer cancel()
	for {
		m.mu.Lock()
		done, fault := so(), m.fault
		m.mu.Unlock()
		if fault != "" {
			rt.Fatalf("%s\n%s", fault, m.story())
		}
		if done {
			return
		}
		select {
		case _, open := <-m.changed:
			if !open {
				rt.Fatalf("the connection ended before %s\n%s", what, m.story())
			}
		case <-ctx.Done():
			rt.Fatalf("not so: %s\n%s", what, m.story())
		}
	}
}

// over returns the stretches that have ended since the last call.
func (m *websocketModel) over() (past []*stretch, fault string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	past, m.past = m.past, nil
	return past, m.fault
}

// story is what was said on the connection.
func (m *websocketModel) story() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines[max(0, len(m.lines)-200):], "\n")
}
