package engineio

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/wire"
)

// holdTime is how long a poll waits that arrives during an upgrade: the packet
// that completes the upgrade may overtake it.
const holdTime = 100 * time.Millisecond

const contentType = "text/plain; charset=UTF-8"

func noStore(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentType, contentType)
	c.Set(fiber.HeaderCacheControl, "no-store")
}

// poll is one GET that waits for packets, and those that follow it on the same
// connection and are the same. Once parked, the pool calls its wire.Stream methods,
// one at a time.
type poll struct {
	s         *Session
	request   *wire.Hijacked
	like      pattern       // what is the same request; of the pool's calls
	logRepeat func() string // see Options.LogRepeats
	conn      wire.Ref
	sent      bool // the answer was handed over, and no further GET has come; of the pool's calls

	// Guarded by s.mu.
	release bool      // answer now, with a noop if there is nothing else
	until   time.Time // answer then at the latest; zero: no limit
	done    bool      // the session does not know it any more
	moot    bool      // done: the session is on a WebSocket, and can do without the answer
	body    []byte    // done: the answer
	status  int       // done: if it is not 200
}

// answer decides what the poll is answered. s.mu is held.
func (p *poll) answer(body []byte) {
	p.done, p.body = true, body
	p.wake()
}

func (p *poll) wake() { p.conn.Wake() }

// servePoll parks a GET until there is something to send.
func (s *Session) servePoll(c *fiber.Ctx) error {
	p := &poll{s: s, status: fiber.StatusOK}
	s.mu.Lock()
	switch {
	case s.over != nil:
		last := s.over.last
		s.over.last = nil
		s.mu.Unlock()
		if last == nil {
			return refuse(c, faultSession)
		}
		s.srv.forget(s)
		noStore(c)
		return c.Send(last)
	case s.ws != nil:
		s.mu.Unlock()
		return refuse(c, faultRequest)
	case s.get != nil: // two at once: the peer is confused, and order is lost
		s.mu.Unlock()
		s.end(ErrTransport)
		return c.Status(fiber.StatusBadRequest).Send(nil)
	}
	if s.probe != nil {
		p.until = time.Now().Add(holdTime)
	}
	s.get = p
	s.mu.Unlock()
	noStore(c)
	if s.srv.opt.LogRepeats != nil {
		p.logRepeat = s.srv.opt.LogRepeats(c)
	}
	wire.Hijack(c.Context(), func(hj *wire.Hijacked) {
		if hj == nil {
			p.Closed(wire.ErrGone)
			return
		}
		p.request, p.like = hj, patternOf(hj.Request)
		hj.Request = nil
		p.park(s.srv.opt.Pool.Park(hj.Conn, hj.Early, p, p.limit()))
	})
	return nil
}

// limit says how long the poll may wait; 0: the session's pings answer it.
func (p *poll) limit() time.Duration {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.until.IsZero() {
		return 0
	}
	return max(time.Until(p.until), 1)
}

// park lets wakes reach the connection, and makes up for those before it.
func (p *poll) park(c *wire.Conn) {
	p.conn.Store(c)
	p.s.mu.Lock()
	if p.s.get == p {
		p.s.out.Store(c)
	}
	p.s.mu.Unlock()
	c.Wake()
}

// Fill implements wire.Stream: the whole answer, or nothing yet.
func (p *poll) Fill(buf []byte, _ int) ([]byte, wire.Next) {
	if p.sent {
		return buf, wire.Idle
	}
	body, status, ok := p.s.pollAnswer(p)
	if !ok {
		return buf, wire.Idle
	}
	p.sent = true
	return p.respond(buf, status, body)
}

// Repeat implements wire.Repeater. A client that polls sends the same bytes again
// and again, so what the HTTP server would make of them is known. Everything but
// the plain case is left to it.
func (p *poll) Repeat(request []byte) bool {
	s := p.s
	if !p.like.matches(request) {
		return false
	}
	s.mu.Lock()
	if s.late() || s.over != nil || s.ws != nil || s.probe != nil || s.get != nil || p.status != fiber.StatusOK {
		s.mu.Unlock()
		return false
	}
	p.sent, p.done, p.release, p.body, p.until = false, false, false, nil, time.Time{}
	s.get = p
	s.out.Store(p.conn.Load()) // nil while servePoll is at it, which sets it then
	s.mu.Unlock()
	if p.logRepeat != nil {
		p.request.Renew(p.logRepeat())
	}
	if s.woken.Load() { // mostly nothing has happened since the answer
		p.wake()
	}
	return true
}

// pattern is a request but for the value of the parameter `t`, which clients change
// so that no cache answers.
type pattern struct {
	before, after []byte
	open          bool // there is a value in between
}

// maxRepeat bounds a request that is looked at, in bytes, far below what the HTTP
// server takes.
const maxRepeat = 2 << 10

// patternOf returns the pattern of a whole request. That of nil or of a large one
// matches nothing.
func patternOf(request []byte) pattern {
	if len(request) > maxRepeat {
		return pattern{}
	}
	line, _, _ := bytes.Cut(request, []byte("\n"))
	at := max(bytes.Index(line, []byte("?t=")), bytes.Index(line, []byte("&t=")))
	if at < 0 {
		return pattern{before: request}
	}
	at += len("?t=")
	return pattern{before: request[:at], after: afterValue(request[at:]), open: true}
}

func (p *pattern) matches(request []byte) bool {
	rest, ok := bytes.CutPrefix(request, p.before)
	switch {
	case !ok || len(p.before) == 0 || len(request) > maxRepeat:
		return false
	case p.open:
		rest = afterValue(rest)
	}
	return bytes.Equal(rest, p.after)
}

// afterValue returns what follows a plain value in a query.
func afterValue(query []byte) []byte {
	for i, c := range query {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return query[i:]
		}
	}
	return nil
}

func (p *poll) respond(buf []byte, status int, body []byte) ([]byte, wire.Next) {
	kind := contentType
	if status != fiber.StatusOK {
		kind = fiber.MIMEApplicationJSON
	}
	return p.request.Respond(buf, status, kind, "", body, !p.s.srv.opt.Pool.Draining())
}

// pollAnswer returns what p is answered, if it is time.
func (s *Session) pollAnswer(p *poll) (body []byte, status int, ok bool) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	if p.done {
		defer s.mu.Unlock()
		return p.body, p.status, true
	}
	ping := s.takePing()
	s.mu.Unlock()

	w := &Writer{polling: true, base64: s.base64, limit: s.srv.opt.MaxPayload}
	if ping {
		w.text(typePing)
	}
	s.woken.Store(false)
	for s.app.Fill(w) {
		if w.Full() {
			s.woken.Store(true)
			break
		}
	}

	s.mu.Lock() // nobody has decided meanwhile, because sending is held for that
	defer s.mu.Unlock()
	if w.empty() {
		if !p.release && (p.until.IsZero() || time.Now().Before(p.until)) {
			return nil, 0, false
		}
		w.text(typeNoop)
	}
	p.done = true
	s.get = nil // before the answer leaves: the next poll follows at once
	return w.buf, fiber.StatusOK, true
}

// KeepAlive implements wire.Stream; a parked request sends nothing before its
// answer.
func (p *poll) KeepAlive(buf []byte) []byte { return buf }

// Goodbye implements wire.Stream.
func (p *poll) Goodbye(buf []byte, retry time.Duration) []byte {
	if p.sent {
		return buf
	}
	body, status, over := p.lastAnswer(retry)
	buf, _ = p.respond(buf, status, body)
	if over {
		p.s.end(ErrShutdown)
	}
	return buf
}

// lastAnswer lets the application say its last, unless the answer was decided
// before; over says that the session ends with it.
func (p *poll) lastAnswer(retry time.Duration) (body []byte, status int, over bool) {
	s := p.s
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	done := p.done
	if !done {
		p.done, s.get = true, nil
	}
	s.mu.Unlock()
	if done {
		return p.body, p.status, false
	}
	w := &Writer{polling: true, base64: s.base64, limit: maxLast}
	s.app.Goodbye(w, retry)
	return lastPayload(w.buf, ErrShutdown), fiber.StatusOK, true
}

// Closed implements wire.Stream. What a lost answer held is lost, so the session
// is too.
func (p *poll) Closed(cause error) {
	p.s.mu.Lock()
	moot := p.moot
	p.s.mu.Unlock()
	if cause != nil && !moot {
		p.s.end(errors.Join(ErrTransport, cause))
	}
}

// servePost takes packets of the peer. Nothing of them is read, and the session does not
// know of them, before they may come.
func (s *Session) servePost(c *fiber.Ctx) error {
	if f := s.deaf(); f != nil {
		return refuse(c, *f)
	}
	if strings.HasPrefix(c.Get(fiber.HeaderContentType), fiber.MIMEOctetStream) {
		s.end(ErrTransport)
		return c.Status(fiber.StatusBadRequest).Send(nil)
	}
	body, err := s.srv.opt.Payload(c, s.srv.opt.MaxPayload)
	var ne net.Error
	switch {
	case errors.Is(err, wire.ErrBodyTooLarge):
		return c.Status(fiber.StatusRequestEntityTooLarge).Send(nil)
	case errors.Is(err, wire.ErrDisplaced):
		return c.Status(fiber.StatusServiceUnavailable).Send(nil)
	case errors.As(err, &ne) && ne.Timeout():
		return c.Status(fiber.StatusRequestTimeout).Send(nil)
	case err != nil:
		return c.Status(fiber.StatusBadRequest).Send(nil)
	}
	return s.post(c, body)
}

// deaf says why the session takes no POST; nil: it does.
func (s *Session) deaf() *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over != nil:
		return &faultSession
	case s.ws != nil:
		return &faultRequest
	}
	return nil
}

// post handles the packets of a POST, one POST at a time.
func (s *Session) post(c *fiber.Ctx, body []byte) error {
	s.mu.Lock()
	twice := s.posting
	s.posting = true
	s.mu.Unlock()
	if twice {
		s.end(ErrTransport)
		return c.Status(fiber.StatusBadRequest).Send(nil)
	}
	if f := s.deaf(); f != nil { // meanwhile
		s.mu.Lock()
		s.posting = false
		s.mu.Unlock()
		return refuse(c, *f)
	}
	err := s.take(body)
	s.mu.Lock()
	s.posting = false
	s.mu.Unlock()
	switch {
	case errors.Is(err, ErrPeerClosed):
		s.end(ErrPeerClosed)
	case err != nil:
		s.end(err)
		return c.Status(fiber.StatusBadRequest).Send(nil)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTML)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.SendString("ok")
}

// take handles packets, in order. They outlive the request.
func (s *Session) take(body []byte) error {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	err := splitPayload(body, s.receive)
	if errors.Is(err, errPacket) {
		return ErrPacket
	}
	return err
}
