package transporttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jobcast/jobcast/jobs"
)

// namespace is the one of job events.
const namespace = "/jobs"

// IO is a connection of Socket.IO to the namespace of job events, as the official
// client has it.
type IO struct {
	inbox
	*engine
	recovery Recovery
	place    place

	mu   sync.Mutex // guards left
	left []string   // jobs whose rooms the client has asked to leave; empty: its own room
}

// Recovery is what the official client brings back to a session: the secret it
// was given, and the last argument of the newest event that ended in a string.
type Recovery struct{ PID, Offset string }

// ErrWire is what the server must never send.
var ErrWire = errors.New("against the protocol")

// place follows the offsets that events end with.
type place struct {
	room     string // whose history is read
	position string // of the connection meanwhile
	n        int64  // the number of its join; 0: none is read
	last     int64  // the newest such number
	seq      uint64 // up to where
	anything bool   // the session is an old one: any room's history may go on
}

func openIO(how Via) func(context.Context, Caller, Opening) (Reader, error) {
	return func(ctx context.Context, c Caller, o Opening) (Reader, error) {
		s, err := DialIO(ctx, c, how, Recovery{})
		if err != nil {
			return nil, err
		}
		if o.From == "" && o.Job != "" && o.Cursor+o.Query == "" {
			o.From = "start" // elsewhere that is what a job room begins with
		}
		if err := s.open(s, o, map[string]any{}); err != nil {
			_ = s.Goodbye() // between two polls nobody notices that a client has gone
			s.Close()
			return nil, err
		}
		if how == ViaUpgrade {
			s.upgrade()
		}
		return s, nil
	}
}

func connectIO(how Via) func(context.Context, Caller) (Connection, error) {
	return func(ctx context.Context, c Caller) (Connection, error) {
		s, err := DialIO(ctx, c, how, Recovery{})
		if err != nil {
			return nil, err
		}
		if how == ViaUpgrade {
			s.upgrade()
		}
		return s, nil
	}
}

// DialIO connects to the namespace, with a session to go on with or without. A
// CONNECT_ERROR is a *Refusal.
func DialIO(ctx context.Context, c Caller, how Via, r Recovery) (*IO, error) {
	e, err := dialEngine(ctx, c, how)
	if err != nil {
		return nil, err
	}
	s := &IO{engine: e, recovery: r}
	if err := s.connect(c); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *IO) connect(c Caller) error {
	auth := map[string]string{}
	for name, value := range map[string]string{"apiKey": c.Secret, "token": c.Second, "pid": s.recovery.PID, "offset": s.recovery.Offset} {
		if value != "" {
			auth[name] = value
		}
	}
	text, err := json.Marshal(auth)
	if err == nil {
		err = s.send("40" + namespace + "," + string(text))
	}
	for err == nil {
		var it packetIO
		if it, err = s.packetIO(); err != nil || it.kind == 0 {
			continue
		}
		switch it.kind {
		case '0':
			return s.connected(it.data)
		case '4':
			return connectError(it.data)
		}
		return fmt.Errorf("CONNECT is answered %c%s", it.kind, it.data)
	}
	return err
}

// packetIO is a packet of the namespace; kind 0: a sign of life instead of it.
type packetIO struct {
	kind byte
	data string
}

func (s *IO) packetIO() (packetIO, error) {
	text, beat, err := s.message()
	switch {
	case err != nil || beat:
		return packetIO{}, err
	case text == "":
		return packetIO{}, errors.New("an empty message")
	}
	data, ok := strings.CutPrefix(text[1:], namespace+",")
	if !ok {
		return packetIO{}, fmt.Errorf("packet %q of another namespace", text)
	}
	return packetIO{text[0], data}, nil
}

// connected takes the answer to CONNECT. A session goes on if its secret stays.
func (s *IO) connected(data string) error {
	var m struct{ SID, PID string }
	if err := json.Unmarshal([]byte(data), &m); err != nil || m.SID == "" || m.PID == "" {
		return fmt.Errorf("CONNECT is answered %q", data)
	}
	if s.place.anything = m.PID == s.recovery.PID; s.place.anything {
		_, s.place.last, _, _ = cutOffset(s.recovery.Offset)
	}
	s.recovery.PID = m.PID
	return nil
}

func connectError(data string) error {
	var m struct {
		Message string
		Data    json.RawMessage
	}
	if err := json.Unmarshal([]byte(data), &m); err != nil || m.Message == "" {
		return fmt.Errorf("CONNECT_ERROR %q: no message, %v", data, err)
	}
	return refusalOf(m.Data)
}

// Say implements Connection.
func (s *IO) Say(event string, data any) error {
	text, err := json.Marshal([]any{event, data})
	if err != nil {
		return err
	}
	if event == "unsubscribe" {
		s.leaves(text)
	}
	return s.send("42" + namespace + "," + string(text))
}

// leaves notes which room an unsubscribe is about. From then on its history may end
// anywhere.
func (s *IO) leaves(unsubscribe []byte) {
	var room struct{ JobID string }
	if json.Unmarshal(unsubscribe, &[]any{new(string), &room}) != nil {
		return // the server will refuse it
	}
	s.mu.Lock()
	s.left = append(s.left, room.JobID)
	s.mu.Unlock()
}

// leaving reports whether the client has asked to leave the room whose history is
// read, which it may not know if an older connection began it.
func (s *IO) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, job, _ := strings.Cut(s.place.room, ":")
	if kind == "client" {
		job = ""
	}
	return kind == "" && len(s.left) > 0 || slices.Contains(s.left, job)
}

// Mute implements Connection.
func (s *IO) Mute() { s.mute = true }

// Recovery is what the client would come back with.
func (s *IO) Recovery() Recovery { return s.recovery }

// Recovered reports whether the server goes on with the session it was asked for.
func (s *IO) Recovered() bool { return s.place.anything }

// Upgrade begins to move from long-polling to a WebSocket.
func (s *IO) Upgrade() { s.upgrade() }

// read implements Connection.
func (s *IO) read() (Item, error) {
	p, err := s.packetIO()
	switch {
	case err != nil:
		return Item{}, err
	case p.kind == 0:
		return Item{Name: Heartbeat}, nil
	case p.kind == '1': // the client has no other namespace, so it goes
		s.Close()
		return Item{}, &closed{code: 1005, reason: "left by the server"}
	case p.kind == '2':
		return s.event(p.data)
	}
	return Item{}, fmt.Errorf("%w: packet %c%s", ErrWire, p.kind, p.data)
}

// event reads an event and its trailing offset.
func (s *IO) event(data string) (Item, error) {
	var args []json.RawMessage
	if err := json.Unmarshal([]byte(data), &args); err != nil || len(args) < 2 || len(args) > 3 {
		return Item{}, fmt.Errorf("%w: event %q: %d arguments, %v", ErrWire, data, len(args)-1, err)
	}
	var name, offset string
	if err := json.Unmarshal(args[0], &name); err != nil {
		return Item{}, fmt.Errorf("event %q: %w", data, err)
	}
	if len(args) == 3 {
		if err := json.Unmarshal(args[2], &offset); err != nil {
			return Item{}, fmt.Errorf("%w: event %q ends with no string: %w", ErrWire, data, err)
		}
		s.recovery.Offset = offset
	}
	it, err := s.take(name, args[1])
	if err == nil {
		err = s.place.check(it, offset, s.leaving())
	}
	if err != nil {
		return Item{}, fmt.Errorf("%w: event %q: %w", ErrWire, data, err)
	}
	return it, nil
}

// check holds an offset against what it must be: the event's own cursor, or,
// while a room's history is read, the place of the connection and that history's,
// unless the client is leaving that room.
func (p *place) check(it Item, offset string, leaving bool) error {
	position, n, seq, err := cutOffset(offset)
	if err != nil {
		return err
	}
	switch {
	case it.Event != nil:
		if n == 0 && leaving {
			p.n = 0
		}
		return p.event(it.ID, offset, position, n, seq)
	case it.Name == "subscribed":
		if n > p.last { // otherwise it answers for a room that was joined before
			*p = place{room: roomOf(it), position: position, n: n, last: n, seq: seq, anything: p.anything}
		}
		return wants(offset != "", "a place")
	case it.Name == "live":
		reading := p.n
		p.n = 0
		if p.anything && reading == 0 {
			p.last = max(p.last, n)
			return wants(n > 0, "the place of a room")
		}
		return wants(n == reading && position == p.position, "the place of the room that was read")
	case it.Name == "connected":
		return wants(offset != "", "a place")
	case it.Name == "unsubscribed" && roomOf(it) == p.room:
		p.n = 0
	}
	return wants(offset == "", "no place")
}

func (p *place) event(id, offset, position string, n int64, seq uint64) error {
	if n > 0 && p.n != n && p.anything { // a history that an older connection began
		p.room, p.position, p.n, p.seq, p.last = "", position, n, 0, max(p.last, n)
	}
	if p.n == 0 {
		return wants(offset == id, "the event's own cursor")
	}
	c, ok := jobs.ParseCursor(id)
	if err := wants(ok && position == p.position && n == p.n && seq == c.Seq && seq > p.seq, "the place in the room's history"); err != nil {
		return err
	}
	p.seq = seq
	return nil
}

// roomOf is the room that a control frame speaks of.
func roomOf(it Item) string {
	var m struct{ Room string }
	_ = json.Unmarshal(it.Data, &m) // take has read it
	return m.Room
}

func wants(ok bool, what string) error {
	if !ok {
		return errors.New("it must end with " + what)
	}
	return nil
}

// cutOffset reads `<cursor>` or `<position>.<n>.<seq>`; nothing is nothing.
func cutOffset(text string) (position string, n int64, seq uint64, err error) {
	if text == "" {
		return "", 0, 0, nil
	}
	parts := strings.Split(text, ".")
	_, ok := jobs.ParseCursor(parts[0])
	var errN, errSeq error
	if len(parts) == 3 {
		n, errN = strconv.ParseInt(parts[1], 10, 64)
		seq, errSeq = strconv.ParseUint(parts[2], 10, 64)
		ok = ok && n > 0
	}
	if !ok || errN != nil || errSeq != nil || len(parts) != 1 && len(parts) != 3 {
		return "", 0, 0, fmt.Errorf("offset %q", text)
	}
	return parts[0], n, seq, nil
}

// Next implements Reader.
func (s *IO) Next() (Item, error) { return s.next(s) }

// Goodbye ends the session in so many words.
func (s *IO) Goodbye() error { return s.send("1") }

// Close implements Reader.
func (s *IO) Close() { s.close() }
