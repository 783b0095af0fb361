package transporttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// namespace is the one of job events.
const namespace = "/jobs"

// IO is a connection of Socket.IO to the namespace of job events, as the official
// client has it.
type IO struct {
	inbox
	*engine
	trails   bool // offsets are arguments
	recovery Recovery
	place    place

	mu   sync.Mutex // guards left
	left []string   // jobs whose rooms the client has asked to leave; empty: its own room
}

// Recovery is what the official client brings back to a session: the secret it
// was given, and the string that the newest event with one ended in.
type Recovery struct{ PID, Offset string }

// ErrWire is what the server must never send.
var ErrWire = errors.New("against the protocol")

func openIO(how Via) func(context.Context, Caller, Opening) (Reader, error) {
	return func(ctx context.Context, c Caller, o Opening) (Reader, error) {
		s, err := DialIO(ctx, c, how, Recovery{})
		if err != nil {
			return nil, err
		}
		if o.From == "" && o.Job != "" && o.Cursor+o.Query+o.Tail == "" {
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
	s := &IO{engine: e, recovery: r, trails: c.Trails}
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
		s.place.position, s.place.last, _, _ = cutOffset(s.recovery.Offset)
		s.place.at = seqOf(s.place.position)
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

// Place is the offset of the newest item that has one: what the client would come
// back with if it had also received the packet in which the offset is said.
func (s *IO) Place() string { return s.place.offset }

// Recovered reports whether the server goes on with the session it was asked for.
func (s *IO) Recovered() bool { return s.place.anything }

// Upgrade begins to move from long-polling to a WebSocket.
func (s *IO) Upgrade() { s.upgrade() }

// read implements Connection. Where offsets are packets of their own, those that
// have arrived with an item are read with it.
func (s *IO) read() (Item, error) {
	for {
		it, err := s.item()
		for err == nil && len(s.engine.queue) > 0 && isOffset(s.engine.queue[0]) {
			_, err = s.item()
		}
		if err != nil || it.Name != offsetItem {
			return it, err
		}
	}
}

// offsetItem is the name of what is an offset and nothing else.
const offsetItem = "offset"

func isOffset(packet string) bool {
	return strings.HasPrefix(packet, "42"+namespace+`,["`) && !strings.Contains(packet, `",`)
}

// item reads one packet.
func (s *IO) item() (Item, error) {
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

// event reads an event with its offset.
func (s *IO) event(data string) (Item, error) {
	it, err := s.parse(data)
	if err != nil && !errors.Is(err, errCutShort) {
		err = fmt.Errorf("%w: event %q: %w", ErrWire, data, err)
	}
	return it, err
}

func (s *IO) parse(data string) (Item, error) {
	args, err := arguments([]byte(data))
	if err != nil {
		return Item{}, err
	}
	var name, offset string
	if len(args) == 0 || args[0].Type != gjson.String {
		return Item{}, errors.New("no event")
	}
	name = args[0].Str
	switch {
	case len(args) == 1 && !s.trails:
		s.recovery.Offset = name
		return Item{Name: offsetItem}, s.place.said(name)
	case len(args) == 3 && s.trails:
		if args[2].Type != gjson.String {
			return Item{}, fmt.Errorf("it ends with no string: %s", args[2].Raw)
		}
		offset = args[2].Str
		s.recovery.Offset = offset
	case len(args) != 2:
		return Item{}, fmt.Errorf("%d arguments", len(args)-1)
	}
	it, err := s.take(name, json.RawMessage(args[1].Raw))
	s.bye = s.bye || it.Name == "reconnect"
	if err == nil && !s.trails {
		offset, err = s.implied(it)
	}
	switch {
	case err != nil:
	case it.Event != nil && offset == "" && !s.trails: // the next packet will tell
		s.place.offset = ""
	default:
		err = s.place.check(it, offset, s.leaving())
	}
	if err == nil && offset != "" {
		s.place.moved(offset)
	}
	return it, err
}

// errCutShort is the end of a connection between a frame and its offset.
var errCutShort = errors.New("the offset is missing")

// implied returns the offset that stands behind an item: that of a frame follows at
// once, that of an event after the last of the same write.
func (s *IO) implied(it Item) (string, error) {
	switch it.Name {
	case "":
		return s.place.implied(it.ID), nil
	case "connected", "subscribed", "live":
		p, err := s.packetIO()
		if err != nil {
			return "", fmt.Errorf("%w: %w", errCutShort, err)
		}
		var args []string
		if err := json.Unmarshal([]byte(p.data), &args); err != nil || p.kind != '2' || len(args) != 1 {
			return "", fmt.Errorf("it is followed by %c%s, which is no offset", p.kind, p.data)
		}
		s.recovery.Offset = args[0]
		return args[0], nil
	}
	return "", nil
}

// Next implements Reader.
func (s *IO) Next() (Item, error) { return s.next(s) }

// Goodbye ends the session in so many words.
func (s *IO) Goodbye() error { return s.send("1") }

// Close implements Reader.
func (s *IO) Close() { s.close() }
