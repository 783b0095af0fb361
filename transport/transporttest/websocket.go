package transporttest

import (
	"context"
	"encoding/json"
	"fmt"
)

// Socket is a WebSocket connection with one room, or several: see Connection.
type Socket struct {
	*frames
	inbox
	mute bool // PINGs are not answered
}

// openSocket connects and subscribes to one room.
func openSocket(ctx context.Context, c Caller, o Opening) (Reader, error) {
	s, err := DialSocket(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.open(s, o, map[string]any{"conflate": o.Conflate}); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// connectSocket connects without a room.
func connectSocket(ctx context.Context, c Caller) (Connection, error) {
	s, err := DialSocket(ctx, c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DialSocket connects without joining a room. A refusal is a *Refusal.
func DialSocket(ctx context.Context, c Caller) (*Socket, error) {
	extra := ""
	for name, value := range c.credentials() {
		extra += name + ": " + value + "\r\n"
	}
	f, err := dialFrames(ctx, c, "/v1/ws", extra)
	if err != nil {
		return nil, err
	}
	return &Socket{frames: f}, nil
}

// Say implements Connection.
func (s *Socket) Say(event string, data any) error {
	text, err := json.Marshal(map[string]any{"event": event, "data": data})
	if err != nil {
		return err
	}
	return s.write(0x80|opText, text)
}

// Mute implements Connection.
func (s *Socket) Mute() { s.mute = true }

// Goodbye sends a close frame.
func (s *Socket) Goodbye() error { return s.write(0x80|opClose, []byte{0x03, 0xE8}) }

// read returns the next message; PINGs are answered and returned as heartbeats.
func (s *Socket) read() (Item, error) {
	op, payload, err := s.frame()
	switch {
	case err != nil:
		return Item{}, err
	case op == opPing && s.mute:
		return Item{Name: Heartbeat}, nil
	case op == opPing:
		return Item{Name: Heartbeat}, s.write(0x80|opPong, payload)
	case op == opPong:
		return Item{Name: "pong"}, nil
	}
	name, data, err := nameAndData(payload)
	if err != nil {
		return Item{}, fmt.Errorf("message %q: %w", payload, err)
	}
	return s.take(name, data)
}

// Next implements Reader.
func (s *Socket) Next() (Item, error) { return s.next(s) }
