package engineio

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/wire"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

// socket is one WebSocket: the transport of its session, or one that wants to
// become that. The connection's reader runs Receive; a sender worker runs the
// other methods of wire.Stream.
type socket struct {
	s    *Session
	in   rfc6455.Decoder // of the reader
	conn wire.Ref

	mu      sync.Mutex          // guards everything below
	out     []byte              // frames that go before messages
	closing *rfc6455.CloseError // the connection ends with this; code 0: with none
}

// begin opens a session on a WebSocket.
func (s *Session) begin(c *fiber.Ctx) error {
	ws := &socket{s: s}
	s.mu.Lock()
	if s.over != nil { // the application has thought better of it
		ws.closing = &rfc6455.CloseError{}
	} else {
		s.ws = ws
	}
	s.mu.Unlock()
	hello := append([]byte{typeOpen}, s.hello()...)
	ws.out = rfc6455.AppendFrame(nil, rfc6455.OpText, hello)
	if err := s.srv.upgrade.Upgrade(c, ws.take); err != nil {
		s.end(ErrTransport)
		return refuse(c, faultRequest)
	}
	return nil
}

// probeWith lets a WebSocket try to become the transport.
func (s *Session) probeWith(c *fiber.Ctx) error {
	ws := &socket{s: s}
	s.mu.Lock()
	if s.over != nil || s.ws != nil || s.probe != nil {
		ws.closing = &rfc6455.CloseError{} // it is told in its own language
	} else {
		s.probe, s.giveUp = ws, s.srv.clock.now()+s.srv.opt.UpgradeTimeout
		s.arm()
	}
	s.mu.Unlock()
	if err := s.srv.upgrade.Upgrade(c, ws.take); err != nil {
		ws.Closed(err)
		return refuse(c, faultRequest)
	}
	return nil
}

// take owns the connection once the handshake is over.
func (ws *socket) take(t *rfc6455.Taken) {
	if t == nil {
		ws.Closed(wire.ErrGone)
		return
	}
	ws.in = rfc6455.Decoder{Early: t.Early, MaxMessage: ws.s.srv.opt.MaxPayload}
	ws.mu.Lock()
	ws.out = append(t.Head, ws.out...)
	ws.mu.Unlock()
	conn := ws.s.srv.opt.Pool.Add(t.Conn, ws)
	ws.conn.Store(conn)
	ws.s.mu.Lock()
	if ws.s.ws == ws {
		ws.s.out.Store(conn)
	}
	ws.s.mu.Unlock()
	conn.Wake()
}

func (ws *socket) wake() { ws.conn.Wake() }

// close ends the connection, not the session.
func (ws *socket) close(code int, reason string) {
	ws.mu.Lock()
	if ws.closing == nil {
		ws.closing = &rfc6455.CloseError{Code: code, Reason: reason}
	}
	ws.mu.Unlock()
	ws.wake()
}

// finish ends the connection of a session that is over; last is sent before.
func (ws *socket) finish(last []byte) {
	ws.mu.Lock()
	ws.out = append(ws.out, last...)
	ws.mu.Unlock()
	ws.close(0, "")
}

// Receive implements wire.Receiver.
func (ws *socket) Receive(r io.Reader) error {
	ws.in.R = r
	for {
		m, err := ws.in.Next()
		var broken *rfc6455.CloseError
		if err != nil && !errors.As(err, &broken) {
			return err
		}
		if err == nil {
			err = ws.handle(m)
		}
		if err != nil {
			ws.leave(err)
			return discard(r)
		}
		if len(ws.in.Early) == 0 {
			return nil
		}
	}
}

// leave ends the connection with a close frame, and the session if this is its
// transport.
func (ws *socket) leave(cause error) {
	var c *rfc6455.CloseError
	if errors.As(cause, &c) {
		ws.close(c.Code, c.Reason)
		cause = ErrTransport
	}
	ws.over(cause)
	ws.close(0, "")
}

// maxDiscard bounds what is read from a peer that has been told to go.
const maxDiscard = 1 << 20

// discard reads on until the peer has closed, so that it gets our close frame
// and no reset. The pool bounds how long that may take.
func discard(r io.Reader) error {
	if _, err := io.Copy(io.Discard, io.LimitReader(r, maxDiscard)); err != nil {
		return err
	}
	return io.EOF
}

// over ends the session if this is its transport, otherwise only the attempt.
func (ws *socket) over(cause error) {
	s := ws.s
	s.mu.Lock()
	live := s.ws == ws
	if s.probe == ws {
		s.probe = nil
	}
	s.mu.Unlock()
	if live {
		s.end(cause)
	}
}

// handle does what one message says; an error ends the connection.
func (ws *socket) handle(m rfc6455.Message) error {
	switch m.Op {
	case rfc6455.OpPing:
		ws.push(rfc6455.AppendFrame(nil, rfc6455.OpPong, m.Data))
		return nil
	case rfc6455.OpPong:
		return nil
	case rfc6455.OpClose:
		return &rfc6455.CloseError{Code: rfc6455.CloseCode(m.Data)}
	}
	p := packet{kind: typeMessage, Message: Message{Binary: true, Data: m.Data}}
	if m.Op == rfc6455.OpText {
		var err error
		if p, err = parsePacket(m.Data); err != nil {
			return ErrPacket
		}
	}
	s := ws.s
	s.mu.Lock()
	live, probing := s.ws == ws, s.probe == ws
	s.mu.Unlock()
	switch {
	case live:
		s.receiving.Lock()
		defer s.receiving.Unlock()
		return s.receive(p)
	case probing:
		return ws.tryUpgrade(p)
	}
	return ErrTransport // a second one, or one that came too late
}

// maxPending bounds the frames, in bytes, that a peer makes us owe it.
const maxPending = 64 << 10

func (ws *socket) push(frame []byte) {
	ws.mu.Lock()
	if len(ws.out) > maxPending && ws.closing == nil {
		ws.closing = &rfc6455.CloseError{Code: rfc6455.ClosePolicy, Reason: "answers are not read"}
	}
	ws.out = append(ws.out, frame...)
	ws.mu.Unlock()
	ws.wake()
}

// tryUpgrade handles a packet before the WebSocket is the transport.
func (ws *socket) tryUpgrade(p packet) error {
	s := ws.s
	switch {
	case p.kind == typePing && string(p.Data) == "probe":
		s.mu.Lock()
		waits := s.get
		s.mu.Unlock()
		ws.push(rfc6455.AppendFrame(nil, rfc6455.OpText, []byte("3probe")))
		s.mu.Lock()
		if waits != nil && waits == s.get { // the peer waits for it before it completes the upgrade; a later one is held
			waits.release = true
			waits.wake()
		}
		s.mu.Unlock()
		return nil
	case p.kind == typeUpgrade:
		s.move(ws)
		return nil
	}
	return ErrTransport
}

// move makes ws the transport.
func (s *Session) move(ws *socket) {
	s.sending.Lock() // no poll is just taking messages
	defer s.sending.Unlock()
	s.mu.Lock()
	if s.over != nil || s.probe != ws {
		s.mu.Unlock()
		return
	}
	s.ws, s.probe = ws, nil
	if p := s.get; p != nil {
		s.get, p.moot = nil, true
		if p.until.IsZero() { // asked before the upgrade began
			p.answer([]byte{typeNoop})
		} else {
			p.status = fiber.StatusBadRequest
			p.answer([]byte(`{"code":3,"message":"Bad request"}`))
		}
	}
	s.out.Store(ws.conn.Load()) // nil while take is at it, which sets it then
	s.arm()
	s.mu.Unlock()
	ws.wake()
}

// Fill implements wire.Stream.
func (ws *socket) Fill(buf []byte, limit int) ([]byte, wire.Next) {
	s := ws.s
	s.sending.Lock()
	defer s.sending.Unlock()
	buf, closing := ws.flush(buf)
	if closing != nil {
		return rfc6455.AppendClose(buf, closing.Code, closing.Reason), wire.Close
	}
	s.mu.Lock()
	live := s.ws == ws && s.over == nil
	ping := live && s.takePing()
	s.mu.Unlock()
	if !live {
		return buf, wire.Idle
	}
	w := writers.Get().(*Writer)
	*w = Writer{buf: buf, from: len(buf), limit: limit, base64: s.base64}
	if ping {
		w.text(typePing)
	}
	next := wire.Idle
	for s.app.Fill(w) {
		if w.Full() {
			next = wire.More
			break
		}
	}
	buf = w.buf
	*w = Writer{}
	writers.Put(w)
	return buf, next
}

// writers are for Fill, which would make one at each turn.
var writers = sync.Pool{New: func() any { return new(Writer) }}

func (ws *socket) flush(buf []byte) ([]byte, *rfc6455.CloseError) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	buf = append(buf, ws.out...)
	ws.out = nil
	return buf, ws.closing
}

// KeepAlive implements wire.Stream: the session's own pings are enough.
func (ws *socket) KeepAlive(buf []byte) []byte { return buf }

// Goodbye implements wire.Stream.
func (ws *socket) Goodbye(buf []byte, retry time.Duration) []byte {
	buf, live := ws.lastFrames(buf, retry)
	if live {
		ws.s.end(ErrShutdown)
	}
	return rfc6455.AppendClose(buf, rfc6455.CloseDrain, "the server is draining")
}

// lastFrames lets the application say its last if this is its transport.
func (ws *socket) lastFrames(buf []byte, retry time.Duration) (_ []byte, live bool) {
	s := ws.s
	s.sending.Lock()
	defer s.sending.Unlock()
	buf, _ = ws.flush(buf)
	s.mu.Lock()
	live = s.ws == ws
	s.mu.Unlock()
	if !live {
		return buf, false
	}
	w := &Writer{buf: buf, from: len(buf), limit: maxLast, base64: s.base64}
	s.app.Goodbye(w, retry)
	return w.buf, true
}

// Closed implements wire.Stream.
func (ws *socket) Closed(cause error) {
	if cause == nil {
		cause = ErrPeerClosed
	}
	ws.over(errors.Join(ErrTransport, cause))
}
