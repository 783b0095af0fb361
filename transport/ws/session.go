package ws

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

// session is one connection. The connection's reader runs Receive; a sender
// worker runs the other methods of wire.Stream.
type session struct {
	h         *Handler
	id        string
	who       auth.Identity
	opened    time.Time
	admission *transport.Admission
	sub       *hub.Subscription
	head      []byte          // sent first, then nil; of the sender
	in        rfc6455.Decoder // of the reader
	sent      int64           // events given out; of the sender
	nextPing  time.Time
	frames    wire.Bucket // of the reader

	seen  atomic.Int64 // when the peer last gave a sign of life, see since
	asked atomic.Int64 // when a silent peer was last asked for one, see since
	ping  atomic.Int64 // when the next application ping is due, see since
	conn  atomic.Pointer[wire.Conn]
	ended atomic.Pointer[error] // set by revoke: why the credential ended

	// Guards everything below. It is held while rooms and control frames change
	// together, and while both are taken, so that an answer about a room stands
	// among the events where the room stood.
	mu        sync.Mutex
	control   [][]byte            // frames that go before events
	closing   *rfc6455.CloseError // the connection ends with this
	conflated map[string]bool     // joined rooms that asked for less
}

// attach lets wakes reach the connection, and makes up for those before it.
func (s *session) attach(c *wire.Conn) {
	s.conn.Store(c)
	c.Wake()
}

func (s *session) wake() {
	if c := s.conn.Load(); c != nil {
		c.Wake()
	}
}

// revoke makes the connection end, because its credential has.
func (s *session) revoke(reason error) {
	s.ended.Store(&reason)
	s.wake()
}

// push queues a control frame. A peer that asks and does not read is cut.
func (s *session) push(frame []byte) {
	s.mu.Lock()
	s.queue(frame)
	s.mu.Unlock()
	s.wake()
}

// queue is push with mu held.
func (s *session) queue(frame []byte) {
	if s.closing != nil {
		return
	}
	s.control = append(s.control, frame)
	if len(s.control) > maxPendingFrames {
		s.closing = &rfc6455.CloseError{Code: closeLimit, Reason: "answers are not read"}
	}
}

// leave leaves a room and says so. One that is not joined, or not any more, is left as
// well, without a cursor: pages leave when they see a job's end, which has ended its room.
func (s *session) leave(job string) {
	defer s.wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	cursor, _ := s.sub.Leave(job)
	delete(s.conflated, job)
	s.queue(encode(transport.UnsubscribedFrame(eventlog.Room{Client: s.who.ClientID, Job: job}, cursor)))
}

// again says where a room stands that is joined already; false: it was left
// meanwhile.
func (s *session) again(j hub.Joined) (joined bool) {
	defer s.wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.Cursor, joined = s.sub.Cursor(j.Room.Job); joined {
		s.queue(encode(transport.SubscribedFrame(j)))
	}
	return joined
}

// close ends the connection with a close frame, after what is queued.
func (s *session) close(code int, reason string) {
	s.mu.Lock()
	if s.closing == nil {
		s.closing = &rfc6455.CloseError{Code: code, Reason: reason}
	}
	s.mu.Unlock()
	s.wake()
}

// encode makes the wire form of a control frame.
func encode(f transport.Frame) []byte {
	return rfc6455.AppendFrame(nil, rfc6455.OpText, appendMessage(nil, f.Event, f.MarshalData()))
}

func appendMessage(dst []byte, event string, data []byte) []byte {
	dst = append(dst, `{"event":"`...)
	dst = append(dst, event...)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}

// messages is the shared wire form of an event.
var messages = hub.NewFraming(eventFrame)

func eventFrame(e *hub.Event) []byte {
	return rfc6455.AppendFrame(nil, rfc6455.OpText, appendMessage(make([]byte, 0, len(e.JSON)+32), "job.event", e.JSON))
}

// since returns t in milliseconds of the session's life, which setting the
// system's clock does not move.
func (s *session) since(t time.Time) int64 { return t.Sub(s.opened).Milliseconds() }

// Due implements wire.Timed.
func (s *session) Due(now time.Time) bool {
	ms := s.since(now)
	return ms >= s.ping.Load() || ms-s.seen.Load() >= s.h.opt.PongTimeout.Milliseconds() || s.asks(ms)
}

// asks reports whether it is time to ask the peer for a sign of life, although
// there may be no silence: a peer to whom events flow gets no KeepAlive.
func (s *session) asks(ms int64) bool {
	quiet := s.h.opt.PongTimeout.Milliseconds() / 3
	return ms-s.seen.Load() >= quiet && ms-s.asked.Load() >= quiet
}

// Fill implements wire.Stream.
func (s *session) Fill(buf []byte, limit int) ([]byte, wire.Next) {
	buf = s.begin(buf)
	buf = s.watch(buf, time.Now())
	scratch := s.h.items.Get().(*[]hub.Item)
	defer s.h.items.Put(scratch)
	for {
		taken, items, more, closing := s.collect(buf, (*scratch)[:0], limit)
		if closing != nil {
			return rfc6455.AppendClose(taken, closing.Code, closing.Reason), wire.Close
		}
		*scratch = items[:0]
		buf = s.appendItems(taken, items)
		clear(items)
		switch {
		case !more:
			return buf, wire.Idle
		case len(buf) >= limit:
			return buf, wire.More
		}
	}
}

// collect appends the queued control frames to buf, and returns what follows them.
func (s *session) collect(buf []byte, scratch []hub.Item, limit int) (out []byte, items []hub.Item, more bool, closing *rfc6455.CloseError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if out, closing = s.flush(buf); closing != nil {
		return out, scratch, false, closing
	}
	items, more = s.sub.Next(scratch, transport.BatchEvents, limit-len(out))
	return out, items, more, nil
}

func (s *session) begin(buf []byte) []byte {
	if s.head != nil {
		buf = append(buf, s.head...)
		s.head = nil
	}
	return buf
}

// watch does what the time demands: it asks for a sign of life, gives up on a
// peer that gives none, and ends a connection whose credential has.
func (s *session) watch(buf []byte, now time.Time) []byte {
	if reason := s.ended.Load(); reason != nil {
		s.push(encode(transport.ErrorFrame(transport.FromError(*reason), transport.Ref{})))
		s.close(closeCredential, "the credential has ended")
		return buf
	}
	if s.since(now)-s.seen.Load() >= s.h.opt.PongTimeout.Milliseconds() {
		s.close(closeSilent, "no sign of life")
		return buf
	}
	if ms := s.since(now); s.asks(ms) {
		s.asked.Store(ms)
		buf = rfc6455.AppendFrame(buf, rfc6455.OpPing, nil)
	}
	if !now.Before(s.nextPing) {
		s.nextPing = now.Add(s.h.opt.PingInterval)
		s.ping.Store(s.since(s.nextPing))
		buf = appendPing(buf, now)
	}
	return buf
}

// appendPing appends the frame of a transport.PingFrame.
func appendPing(buf []byte, now time.Time) []byte {
	var data, text [96]byte
	return rfc6455.AppendFrame(buf, rfc6455.OpText, appendMessage(text[:0], "ping", transport.AppendPing(data[:0], now)))
}

// flush appends the queued control frames, with mu held.
func (s *session) flush(buf []byte) ([]byte, *rfc6455.CloseError) {
	for _, f := range s.control {
		buf = append(buf, f...)
	}
	s.control = nil
	return buf, s.closing
}

func (s *session) appendItems(buf []byte, items []hub.Item) []byte {
	if s.conflates() {
		items = hub.Conflate(items, s.mayConflate)
	}
	events := 0
	var last *hub.Event
	for _, it := range items {
		if it.Event != nil {
			buf = append(buf, messages.Of(it.Event)...)
			events++
			last = it.Event
			continue
		}
		buf = append(buf, s.markFrame(it.Mark)...)
	}
	if events > 0 {
		s.sent += int64(events)
		s.h.opt.Observe.Delivered(kind, events, last.At)
	}
	return buf
}

// markFrame frames a mark; a room that cannot be read is an error of its
// subscribe.
func (s *session) markFrame(m *hub.Mark) []byte {
	r := transport.Ref{Event: "subscribe", JobID: m.Room.Job}
	switch m.Kind {
	case hub.Gone:
		return encode(transport.ErrorFrame(transport.FromError(jobs.ErrNotFound), r))
	case hub.Fault:
		s.close(rfc6455.CloseLater, "the history cannot be read at the moment")
		return encode(transport.ErrorFrame(transport.FromError(jobs.ErrUnavailable), r))
	case hub.End:
		s.setConflate(m.Room.Job, false)
	}
	return encode(transport.MarkFrame(m))
}

func (s *session) conflates() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conflated) > 0
}

// mayConflate reports whether a job's progress may be thinned: its own room
// decides if it is joined, else the client room.
func (s *session) mayConflate(job string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if thin, joined := s.conflated[job]; joined {
		return thin
	}
	if _, joined := s.sub.Cursor(job); joined {
		return false
	}
	return s.conflated[""]
}

func (s *session) setConflate(job string, thin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !thin {
		delete(s.conflated, job)
		return
	}
	if s.conflated == nil {
		s.conflated = make(map[string]bool)
	}
	s.conflated[job] = true
}

// KeepAlive implements wire.Stream: the answer to a PING is a sign of life.
func (s *session) KeepAlive(buf []byte) []byte { return rfc6455.AppendFrame(buf, rfc6455.OpPing, nil) }

// Goodbye implements wire.Stream.
func (s *session) Goodbye(buf []byte, retry time.Duration) []byte {
	buf = s.begin(buf)
	s.mu.Lock()
	buf, _ = s.flush(buf)
	s.mu.Unlock()
	buf = append(buf, encode(transport.ReconnectFrame(retry, s.sub.Position()))...)
	return rfc6455.AppendClose(buf, rfc6455.CloseDrain, "the server is draining")
}

// Closed implements wire.Stream.
func (s *session) Closed(cause error) {
	s.sub.Close()
	if s.admission != nil {
		s.admission.Release()
	}
	attrs := []any{
		"requestId", s.id, "transport", kind, "clientId", s.who.ClientID,
		"keyId", s.who.KeyID, "events", s.sent, "duration", time.Since(s.opened),
	}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	s.h.opt.Log.Info("stream ended", attrs...)
}
