package transporttest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Opcodes of RFC 6455 11.8.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// Socket is a WebSocket connection: a Reader of all the rooms that it is made to
// join with Say.
type Socket struct {
	nc     net.Conn
	in     *bufio.Reader
	cursor string
	opened time.Time
	told   bool // the server said why it would close
	mute   bool // PINGs are not answered
	stop   func() bool

	mu sync.Mutex // serialises writes
}

// oneRoom is a Socket as the reader of one room: it is over when the room is.
type oneRoom struct {
	*Socket
	queue []Item
	over  bool
}

// openSocket connects and subscribes to one room.
func openSocket(ctx context.Context, c Caller, o Opening) (Reader, error) {
	socket, err := DialSocket(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &oneRoom{Socket: socket}
	last := o.Query
	if o.Cursor != "" {
		last = o.Cursor
	}
	s.cursor = last
	err = s.Say("subscribe", map[string]any{"jobId": o.Job, "lastEventId": last, "from": o.From, "conflate": o.Conflate})
	for err == nil {
		var it Item
		if it, err = s.read(); err != nil {
			break
		}
		if it.Name == "problem" {
			var p struct{ Status int }
			err = errors.Join(json.Unmarshal(it.Data, &p), &Refusal{Status: p.Status, Header: http.Header{}, Body: it.Data})
			break
		}
		s.queue = append(s.queue, it)
		if it.Name == "subscribed" {
			return s, nil
		}
	}
	s.Close()
	var r *Refusal
	if errors.As(err, &r) {
		return nil, r
	}
	return nil, err
}

// Next implements Reader.
func (s *oneRoom) Next() (Item, error) {
	var it Item
	var err error
	switch {
	case len(s.queue) > 0:
		it, s.queue = s.queue[0], s.queue[1:]
		s.place(it)
	case s.over:
		err = io.EOF
	default:
		it, err = s.Socket.Next()
	}
	if it.Name == "end" {
		s.over = true
		s.Close()
	}
	return it, err
}

// DialSocket connects without joining a room. A refusal is a *Refusal.
func DialSocket(ctx context.Context, c Caller) (*Socket, error) { return dialSocket(ctx, c, "") }

// dialSocket makes the handshake; extra is added to the request's head.
func dialSocket(ctx context.Context, c Caller, extra string) (*Socket, error) {
	nc, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &Socket{nc: nc, opened: time.Now(), in: bufio.NewReader(nc), stop: context.AfterFunc(ctx, func() { _ = nc.Close() })}
	head := "GET /v1/ws HTTP/1.1\r\nHost: jobcast.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + extra
	for name, value := range c.credentials() {
		head += name + ": " + value + "\r\n"
	}
	if _, err := io.WriteString(nc, head+"\r\n"); err != nil {
		s.Close()
		return nil, err
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		err = &Refusal{Status: resp.StatusCode, Header: resp.Header, Body: body}
	}
	if err == nil && resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 1.3
		err = fmt.Errorf("accepted with %q", resp.Header.Get("Sec-WebSocket-Accept"))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Say sends one message.
func (s *Socket) Say(event string, data any) error {
	text, err := json.Marshal(map[string]any{"event": event, "data": data})
	if err != nil {
		return err
	}
	return s.write(0x80|opText, text)
}

// write sends one masked frame.
func (s *Socket) write(b0 byte, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mask := [4]byte{7, 1, 9, 3}
	frame := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = append(frame, 0x80|126, byte(n>>8), byte(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i&3])
	}
	_, err := s.nc.Write(frame)
	return err
}

// closed is the server's close frame.
type closed struct {
	code   int
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("closed with %d %s", c.code, c.reason) }

// read returns the next message; PINGs are answered and returned as heartbeats.
func (s *Socket) read() (Item, error) {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return Item{}, err
	}
	n := uint64(head[1])
	if head[0]&0x80 == 0 || n&0x80 != 0 {
		return Item{}, fmt.Errorf("frame begins with %x", head)
	}
	if n >= 126 {
		ext := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(s.in, ext); err != nil {
			return Item{}, err
		}
		n = 0
		for _, b := range ext {
			n = n<<8 | uint64(b)
		}
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return Item{}, err
	}
	switch head[0] & 0x0F {
	case opPing:
		if s.mute {
			return Item{Name: Heartbeat}, nil
		}
		return Item{Name: Heartbeat}, s.write(0x80|opPong, payload)
	case opPong:
		return Item{Name: "pong"}, nil
	case opClose:
		c := &closed{code: 1005}
		if len(payload) >= 2 {
			c.code, c.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		return Item{}, c
	}
	return s.message(payload)
}

func (s *Socket) message(text []byte) (Item, error) {
	var frame struct {
		Event string
		Data  json.RawMessage
	}
	if err := json.Unmarshal(text, &frame); err != nil {
		return Item{}, fmt.Errorf("message %q: %w", text, err)
	}
	var place struct{ ID, Cursor, LastEventID string }
	if err := json.Unmarshal(frame.Data, &place); err != nil {
		return Item{}, fmt.Errorf("data of %q: %w", text, err)
	}
	switch frame.Event {
	case "job.event":
		return Item{Event: frame.Data, ID: place.ID}, nil
	case "error": // what other transports call a problem
		s.told = true
		return Item{Name: "problem", Data: frame.Data}, nil
	case "reconnect":
		s.told = true
	}
	return Item{Name: frame.Event, Data: frame.Data, ID: place.Cursor + place.LastEventID}, nil
}

// Next implements Reader.
func (s *Socket) Next() (Item, error) {
	it, err := s.read()
	var c *closed
	switch {
	case errors.As(err, &c) && s.told:
		return Item{}, io.EOF
	case err != nil:
		return Item{}, fmt.Errorf("%w: %w", ErrCut, err)
	}
	s.place(it)
	return it, nil
}

func (s *Socket) place(it Item) {
	if it.ID != "" {
		s.cursor = it.ID
	}
}

// Goodbye sends a close frame.
func (s *Socket) Goodbye() error { return s.write(0x80|opClose, []byte{0x03, 0xE8}) }

// Cursor implements Reader.
func (s *Socket) Cursor() string { return s.cursor }

// Close implements Reader.
func (s *Socket) Close() {
	s.stop()
	_ = s.nc.Close()
}
