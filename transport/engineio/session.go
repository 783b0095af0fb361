package engineio

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/transport/wire"
)

// Limits of one session.
const (
	messagesPerSec = 100 // packets of any kind, over time
	messagesBurst  = 500
)

// How long a closed session stays known, so that the peer's next poll learns of
// the end instead of getting an error.
const (
	lingerPeer   = 50 * time.Millisecond // the peer has closed it: its poll and its close may cross
	lingerServer = 30 * time.Second      // the server has, and the peer still has to fetch that
)

// maxLast bounds what is kept for the last poll of a closed session.
const maxLast = 64 << 10

// Session is one peer. Its transport is long-polling, where it has a connection
// only now and then, or one WebSocket.
type Session struct {
	srv    *Server
	id     string
	app    Application
	out    wire.Ref
	failed atomic.Pointer[error]
	ticked atomic.Int64 // when the application wants its Tick, by the server's clock; 0: never
	woken  atomic.Bool  // the application or a ping may have something to send; a hint for polls
	known  atomic.Bool  // LetIn was called
	base64 bool         // the peer takes no binary

	when time.Duration // when tick is called next, as clock.now; guarded by clock.mu
	at   int32         // its place in clock.due, from 1; 0: it has none; guarded by clock.mu

	receiving sync.Mutex // held while a packet is handled; before sending
	sending   sync.Mutex // held while the application is asked for messages, and while the transport changes; before mu

	mu       sync.Mutex    // guards everything below
	ready    bool          // open is done
	posting  bool          // a POST is being read
	ping     bool          // a ping is due
	awaiting bool          // a pong is awaited
	extended bool          // the wait was prolonged, once
	calls    int32         // of Receive and Tick that are under way; Closed waits for them
	pulse    time.Duration // when the next ping is due; while awaiting, when the pong; as clock.now
	giveUp   time.Duration // of the probe; over: of whoever may still fetch the end; as clock.now
	ws       *socket       // the transport; nil: polling
	probe    *socket       // a WebSocket that may become the transport
	get      *poll         // the poll that waits, at most one
	flow     wire.Bucket   // of packets
	over     *ending       // nil: it is not; set with sending held too
}

// ending is what is still known of a session that is over.
type ending struct {
	cause error
	last  []byte // payload for one more poll
}

// ID is the session's secret.
func (s *Session) ID() string { return s.id }

// LetIn says that the peer has shown a good credential: its connections are no
// strangers' any more.
func (s *Session) LetIn() {
	s.known.Store(true)
	if c := s.out.Load(); c != nil {
		c.LetIn()
	}
}

// Wake says that the application may have something to send. It never blocks.
func (s *Session) Wake() {
	s.woken.Store(true)
	s.out.Wake()
}

// TickAt sets when the application's Tick is called next. t has a monotonic
// reading, so that setting the system's clock moves nothing.
func (s *Session) TickAt(t time.Time) {
	s.ticked.Store(max(int64(t.Sub(s.srv.clock.began)), 1))
	s.mu.Lock()
	if s.ready && s.over == nil {
		s.arm()
	}
	s.mu.Unlock()
}

// Fail ends the session soon. It may be called from everywhere and never blocks.
func (s *Session) Fail(cause error) {
	s.failed.Store(&cause)
	s.mu.Lock()
	if s.ready && s.over == nil {
		s.arm()
	}
	s.mu.Unlock()
}

// arm has tick called for what comes next. s.mu is held.
func (s *Session) arm() {
	next := s.pulse
	switch {
	case s.over != nil:
		next = s.giveUp
	case s.failed.Load() != nil:
		next = 0
	case s.probe != nil:
		next = min(next, s.giveUp)
	}
	if at := s.ticked.Load(); at != 0 && s.over == nil {
		next = min(next, time.Duration(at))
	}
	s.srv.clock.set(s, next)
}

// tick does what the time demands.
func (s *Session) tick() {
	defer s.caught()
	if cause := s.failed.Load(); cause != nil {
		s.end(*cause)
	}
	if s.overdue() {
		return
	}
	date := time.Now()
	if at := s.ticked.Load(); at != 0 && date.Sub(s.srv.clock.began) >= time.Duration(at) && s.ticked.CompareAndSwap(at, 0) {
		if err := s.callTick(date); err != nil {
			s.Close(err)
		}
	}
	s.mu.Lock()
	now := s.srv.clock.now()
	if s.over != nil {
		known := now < s.giveUp && s.over.last != nil
		if known {
			s.arm()
		}
		s.mu.Unlock()
		if !known {
			s.srv.forget(s)
		}
		return
	}
	if !s.awaiting && now >= s.pulse {
		s.ping, s.awaiting, s.extended = true, true, false
		s.pulse += s.srv.opt.PingTimeout // not from now: a tick may be late
	}
	var late *socket
	if s.probe != nil && now >= s.giveUp {
		late, s.probe = s.probe, nil
	}
	s.arm()
	s.mu.Unlock()
	if late != nil {
		late.close(0, "")
	}
	s.Wake()
}

// caught turns a panic of the application in tick, where nobody else would see it,
// into the end of the connection.
func (s *Session) caught() {
	v := recover()
	if v == nil {
		return
	}
	s.srv.opt.Log.Error("a session panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	s.mu.Lock()
	over := s.over != nil
	s.mu.Unlock()
	if over { // it was Closed that panicked
		s.srv.forget(s)
	} else {
		s.Fail(wire.ErrPanic)
	}
	if c := s.out.Load(); c != nil {
		c.Cut(wire.ErrPanic)
	}
}

// overdue ends the session if its peer has been silent for too long, and reports
// whether it has. Requests ask too, because a tick may be late.
func (s *Session) overdue() bool {
	s.mu.Lock()
	late := s.late()
	s.mu.Unlock()
	if late {
		s.end(ErrPingTimeout)
	}
	return late
}

// late reports whether the peer has been silent for too long. s.mu is held.
func (s *Session) late() bool {
	by := s.pulse
	if !s.awaiting {
		by += s.srv.opt.PingTimeout
	}
	return s.over == nil && s.srv.clock.now() >= by
}

// takePing reports whether a ping must be sent now. s.mu is held.
func (s *Session) takePing() bool {
	due := s.ping
	s.ping = false
	return due
}

// receive handles one packet of the peer.
func (s *Session) receive(p packet) error {
	s.mu.Lock()
	if s.over != nil {
		s.mu.Unlock()
		return ErrPeerClosed
	}
	now := s.srv.clock.now()
	if !s.flow.Take(now, messagesPerSec, messagesBurst) {
		s.mu.Unlock()
		return ErrFlood
	}
	switch {
	case p.kind == typePong && s.awaiting:
		s.ping, s.awaiting = false, false
		s.pulse = now + s.srv.opt.PingInterval
		s.arm()
	case s.awaiting && !s.extended: // busy, but alive
		s.extended = true
		s.pulse = now + s.srv.opt.PingTimeout
		s.arm()
	}
	if p.kind == typeMessage {
		s.calls++
	}
	s.mu.Unlock()
	switch p.kind {
	case typeMessage:
		defer s.called()
		return s.app.Receive(p.Message)
	case typeClose:
		return ErrPeerClosed
	case typePing: // the server pings, not the client
		return ErrPacket
	}
	return nil // pong; the rest means nothing here
}

// callTick calls the application's Tick, unless the session is over.
func (s *Session) callTick(now time.Time) error {
	s.mu.Lock()
	over := s.over != nil
	if !over {
		s.calls++
	}
	s.mu.Unlock()
	if over {
		return nil
	}
	defer s.called()
	return s.app.Tick(now)
}

// called follows each Receive and Tick. The last one of a session that ended
// meanwhile says so to the application.
func (s *Session) called() {
	s.mu.Lock()
	s.calls--
	over := s.over
	if s.calls > 0 {
		over = nil
	}
	s.mu.Unlock()
	if over != nil {
		s.sending.Lock()
		defer s.sending.Unlock()
		s.app.Closed(over.cause)
	}
}

// Close ends the session after what the application has to send at the moment.
// It must not be called from Fill, Goodbye or Tick.
func (s *Session) Close(cause error) { s.finish(cause, true) }

// end ends the session at once.
func (s *Session) end(cause error) { s.finish(cause, false) }

// finish ends the session, once. Nobody is in Fill meanwhile, so that nothing
// overtakes the last messages, and the transport stays the one they are made for.
func (s *Session) finish(cause error, politely bool) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	over, isPoll := s.over != nil, s.ws == nil
	s.mu.Unlock()
	if over {
		return
	}
	var last []byte
	if politely {
		w := &Writer{polling: isPoll, base64: s.base64, limit: maxLast}
		for s.app.Fill(w) && !w.Full() {
			continue
		}
		last = w.buf
	}
	if s.shut(cause, last, politely) {
		s.app.Closed(cause)
	}
}

// shut closes whatever the session has open; last is what is still sent. It
// reports whether the application is free to be told. sending is held.
func (s *Session) shut(cause error, last []byte, politely bool) (free bool) {
	s.mu.Lock()
	s.over = &ending{cause: cause}
	ws, probe, get := s.ws, s.probe, s.get
	s.ws, s.probe, s.get = nil, nil, nil
	linger := time.Duration(0)
	if ws == nil { // the peer polls
		s.over.last = lastPayload(last, cause)
		switch {
		case get != nil:
			get.answer(s.over.last)
			s.over.last = nil
		case cause == ErrPeerClosed: //nolint:errorlint // as above
			linger = lingerPeer
		case politely:
			linger = lingerServer
		}
	}
	s.giveUp = s.srv.clock.now() + linger
	if linger > 0 {
		s.arm()
	}
	free = s.calls == 0
	s.mu.Unlock()
	if linger == 0 {
		s.srv.forget(s)
	}
	if ws != nil {
		ws.finish(last)
	}
	if probe != nil {
		probe.close(0, "")
	}
	return free
}

// lastPayload is what a poll of a session that is over is answered: its last
// messages, or else the word that it is over. Not both: the official client hands
// over the messages of a payload after it has acted on a close packet in it, when it
// takes no more, and keeps them until it is back. Its next poll is refused, which
// ends the session for it as well.
func lastPayload(messages []byte, cause error) []byte {
	switch {
	case len(messages) > 0:
		return messages
	case cause == ErrPeerClosed: //nolint:errorlint // it is handed over as it is
		return []byte{typeNoop}
	}
	return []byte{typeClose}
}
