package ws

import (
	"errors"
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

// conn is one connection. The connection's reader runs Receive; a sender
// worker runs the other methods of wire.Stream.
type conn struct {
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
	wire  wire.Ref
	ended atomic.Pointer[error] // set by End

	// Guards everything below. It is held while rooms and control frames change
	// together, and while both are taken, so that an answer about a room stands
	// among the events where the room stood.
	mu        sync.Mutex
	control   [][]byte            // frames that go before events
	closing   *rfc6455.CloseError // the connection ends with this
	conflated map[string]bool     // joined rooms that asked for less
}

func (c *conn) wake() { c.wire.Wake() }

// ID implements transport.Live.
func (c *conn) ID() string { return c.id }

// End implements transport.Live.
func (c *conn) End(reason error) {
	c.ended.Store(&reason)
	c.wake()
}

// Watching implements transport.Live.
func (c *conn) Watching() transport.Watching {
	return transport.Watching{Standing: c.sub.Standing(), Conflated: c.conflates()}
}

// push queues a control frame. A peer that asks and does not read is cut.
func (c *conn) push(frame []byte) {
	c.mu.Lock()
	c.queue(frame)
	c.mu.Unlock()
	c.wake()
}

// queue is push with mu held.
func (c *conn) queue(frame []byte) {
	if c.closing != nil {
		return
	}
	c.control = append(c.control, frame)
	if len(c.control) > maxPendingFrames {
		c.closing = &rfc6455.CloseError{Code: closeLimit, Reason: "answers are not read"}
	}
}

// leave leaves a room and says so. One that is not joined, or not any more, is left as
// well, without a cursor: pages leave when they see a job's end, which has ended its room.
func (c *conn) leave(job string) {
	defer c.wake()
	c.mu.Lock()
	defer c.mu.Unlock()
	cursor, _ := c.sub.Leave(job)
	delete(c.conflated, job)
	c.queue(encode(transport.UnsubscribedFrame(eventlog.Room{Client: c.who.ClientID, Job: job}, cursor)))
}

// again says where a room stands that is joined already; false: it was left
// meanwhile.
func (c *conn) again(j hub.Joined) (joined bool) {
	defer c.wake()
	c.mu.Lock()
	defer c.mu.Unlock()
	if j.Cursor, joined = c.sub.Cursor(j.Room.Job); joined {
		c.queue(encode(transport.SubscribedFrame(j)))
	}
	return joined
}

// close ends the connection with a close frame, after what is queued.
func (c *conn) close(code int, reason string) {
	c.mu.Lock()
	if c.closing == nil {
		c.closing = &rfc6455.CloseError{Code: code, Reason: reason}
	}
	c.mu.Unlock()
	c.wake()
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

// since returns t in milliseconds of the connection's life, which setting the
// system's clock does not move.
func (c *conn) since(t time.Time) int64 { return t.Sub(c.opened).Milliseconds() }

// Due implements wire.Timed.
func (c *conn) Due(now time.Time) bool {
	ms := c.since(now)
	return ms >= c.ping.Load() || ms-c.seen.Load() >= c.h.opt.PongTimeout.Milliseconds() || c.asks(ms)
}

// asks reports whether it is time to ask the peer for a sign of life, although
// there may be no silence: a peer to whom events flow gets no KeepAlive.
func (c *conn) asks(ms int64) bool {
	quiet := c.h.opt.PongTimeout.Milliseconds() / 3
	return ms-c.seen.Load() >= quiet && ms-c.asked.Load() >= quiet
}

// Fill implements wire.Stream.
func (c *conn) Fill(buf []byte, limit int) ([]byte, wire.Next) {
	buf = c.begin(buf)
	buf = c.watch(buf, time.Now())
	scratch := c.h.items.Get().(*[]hub.Item)
	defer c.h.items.Put(scratch)
	for {
		taken, items, more, closing := c.collect(buf, (*scratch)[:0], limit)
		if closing != nil {
			return rfc6455.AppendClose(taken, closing.Code, closing.Reason), wire.Close
		}
		*scratch = items[:0]
		buf = c.appendItems(taken, items)
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
func (c *conn) collect(buf []byte, scratch []hub.Item, limit int) (out []byte, items []hub.Item, more bool, closing *rfc6455.CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if out, closing = c.flush(buf); closing != nil {
		return out, scratch, false, closing
	}
	items, more = c.sub.Next(scratch, transport.BatchEvents, limit-len(out))
	return out, items, more, nil
}

func (c *conn) begin(buf []byte) []byte {
	if c.head != nil {
		buf = append(buf, c.head...)
		c.head = nil
	}
	return buf
}

// watch does what the time demands: it asks for a sign of life, gives up on a
// peer that gives none, and ends a connection that is to end.
func (c *conn) watch(buf []byte, now time.Time) []byte {
	if reason := c.ended.Load(); reason != nil {
		c.push(encode(transport.ErrorFrame(transport.FromError(*reason), transport.Ref{})))
		if errors.Is(*reason, auth.ErrSentAway) {
			c.close(closeSentAway, "an administrator has ended the connection")
		} else {
			c.close(closeCredential, "the credential has ended")
		}
		return buf
	}
	if c.since(now)-c.seen.Load() >= c.h.opt.PongTimeout.Milliseconds() {
		c.close(closeSilent, "no sign of life")
		return buf
	}
	if ms := c.since(now); c.asks(ms) {
		c.asked.Store(ms)
		buf = rfc6455.AppendFrame(buf, rfc6455.OpPing, nil)
	}
	if !now.Before(c.nextPing) {
		c.nextPing = now.Add(c.h.opt.PingInterval)
		c.ping.Store(c.since(c.nextPing))
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
func (c *conn) flush(buf []byte) ([]byte, *rfc6455.CloseError) {
	for _, f := range c.control {
		buf = append(buf, f...)
	}
	c.control = nil
	return buf, c.closing
}

func (c *conn) appendItems(buf []byte, items []hub.Item) []byte {
	if c.conflates() {
		items = hub.Conflate(items, c.mayConflate)
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
		buf = append(buf, c.markFrame(it.Mark)...)
	}
	if events > 0 {
		c.sent += int64(events)
		c.h.opt.Observe.Delivered(kind, events, last.At)
	}
	return buf
}

// markFrame frames a mark; a room that cannot be read is an error of its
// subscribe.
func (c *conn) markFrame(m *hub.Mark) []byte {
	r := transport.Ref{Event: "subscribe", JobID: m.Room.Job}
	switch m.Kind {
	case hub.Gone:
		return encode(transport.ErrorFrame(transport.FromError(jobs.ErrNotFound), r))
	case hub.Fault:
		c.close(rfc6455.CloseLater, "the history cannot be read at the moment")
		return encode(transport.ErrorFrame(transport.FromError(jobs.ErrUnavailable), r))
	case hub.End:
		c.setConflate(m.Room.Job, false)
	}
	return encode(transport.MarkFrame(m))
}

func (c *conn) conflates() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conflated) > 0
}

// mayConflate reports whether a job's progress may be thinned: its own room
// decides if it is joined, else the client room.
func (c *conn) mayConflate(job string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if thin, joined := c.conflated[job]; joined {
		return thin
	}
	if _, joined := c.sub.Cursor(job); joined {
		return false
	}
	return c.conflated[""]
}

func (c *conn) setConflate(job string, thin bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !thin {
		delete(c.conflated, job)
		return
	}
	if c.conflated == nil {
		c.conflated = make(map[string]bool)
	}
	c.conflated[job] = true
}

// KeepAlive implements wire.Stream: the answer to a PING is a sign of life.
func (c *conn) KeepAlive(buf []byte) []byte { return rfc6455.AppendFrame(buf, rfc6455.OpPing, nil) }

// Goodbye implements wire.Stream.
func (c *conn) Goodbye(buf []byte, retry time.Duration) []byte {
	buf = c.begin(buf)
	c.mu.Lock()
	buf, _ = c.flush(buf)
	c.mu.Unlock()
	buf = append(buf, encode(transport.ReconnectFrame(retry, c.sub.Position()))...)
	return rfc6455.AppendClose(buf, rfc6455.CloseDrain, "the server is draining")
}

// Closed implements wire.Stream.
func (c *conn) Closed(cause error) {
	c.sub.Close()
	if c.admission != nil {
		c.admission.Release()
	}
	attrs := []any{
		"requestId", c.id, "transport", kind, "clientId", c.who.ClientID,
		"keyId", c.who.KeyID, "events", c.sent, "duration", time.Since(c.opened),
	}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	c.h.opt.Log.Info("stream ended", attrs...)
}
