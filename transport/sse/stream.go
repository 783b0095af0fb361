package sse

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// stream is one response. Its wire.Stream methods are called by one goroutine
// at a time.
type stream struct {
	body
	h         *Handler
	id        string // the request's
	who       auth.Identity
	job       string
	conflate  bool
	heartbeat bool // signs of life as events
	opened    time.Time
	admission *transport.Admission // nil until it is admitted
	sub       *hub.Subscription
	sent      int64 // events given out

	conn  wire.Ref
	ended atomic.Pointer[error] // set by End
}

func (h *Handler) newStream(p auth.Principal, job string, f transport.EventFormat, r transport.Reading) *stream {
	s := &stream{
		body: body{format: f}, h: h, who: p.Identity, job: job,
		conflate: r.Conflate, heartbeat: r.Heartbeat, opened: time.Now(),
	}
	s.sub = h.opt.Hub.Subscribe(p.ClientID, s.wake)
	return s
}

func (s *stream) wake() { s.conn.Wake() }

// ID implements transport.Live.
func (s *stream) ID() string { return s.id }

// End implements transport.Live: the stream ends with a problem.
func (s *stream) End(reason error) {
	s.ended.Store(&reason)
	s.wake()
}

// Watching implements transport.Live.
func (s *stream) Watching() transport.Watching {
	return transport.Watching{Standing: s.sub.Standing(), Conflated: s.conflate}
}

// Fill implements wire.Stream.
func (s *stream) Fill(buf []byte, limit int) ([]byte, wire.Next) {
	buf = s.begin(buf)
	if reason := s.ended.Load(); reason != nil {
		return s.finish(s.appendChunk(buf, transport.ProblemFrame(transport.FromError(*reason)))), wire.Close
	}
	scratch := s.h.items.Get().(*[]hub.Item)
	defer s.h.items.Put(scratch)
	for len(buf) < limit {
		items, more := s.sub.Next((*scratch)[:0], transport.BatchEvents, limit-len(buf))
		*scratch = items[:0]
		var over bool
		buf, over = s.appendItems(buf, items)
		clear(items)
		if over {
			return s.finish(buf), wire.Close
		}
		if !more {
			return buf, wire.Idle
		}
	}
	return buf, wire.More
}

// appendItems frames a batch; over says that the stream ends with it.
func (s *stream) appendItems(buf []byte, items []hub.Item) (out []byte, over bool) {
	if s.conflate {
		items = hub.Conflate(items, nil)
	}
	events := 0
	var last *hub.Event
	for _, it := range items {
		if it.Event != nil {
			buf = s.appendEvent(buf, it.Event)
			events++
			last = it.Event
			continue
		}
		buf = s.appendChunk(buf, transport.MarkFrame(it.Mark))
		over = over || it.Mark.Kind == hub.End || it.Mark.Kind == hub.Gone || it.Mark.Kind == hub.Fault
	}
	if events > 0 {
		s.sent += int64(events)
		s.h.opt.Observe.Delivered(s.format.Kind(), events, last.At)
	}
	return buf, over
}

// The wire forms of an event: a block of an event stream, and a line of NDJSON.
var (
	blocks = hub.NewFraming(eventFrame)
	lines  = hub.NewFraming(eventLine)
)

func (s *stream) appendEvent(buf []byte, e *hub.Event) []byte {
	var f []byte
	if s.format == transport.EventStream {
		f = blocks.Of(e)
	} else {
		f = lines.Of(e)
	}
	if !s.chunked {
		f = unchunk(f)
	}
	return append(buf, f...)
}

// KeepAlive implements wire.Stream.
func (s *stream) KeepAlive(buf []byte) []byte {
	if s.format == transport.EventStream && !s.heartbeat {
		return s.appendBody(buf, []byte(signOfLife))
	}
	return s.appendChunk(buf, transport.PingFrame(time.Now()))
}

// Goodbye implements wire.Stream.
func (s *stream) Goodbye(buf []byte, retry time.Duration) []byte {
	buf = s.begin(buf)
	cursor, _ := s.sub.Cursor(s.job)
	return s.goodbye(buf, retry, cursor)
}

// Closed implements wire.Stream.
func (s *stream) Closed(cause error) {
	s.sub.Close()
	if s.admission != nil {
		s.admission.Release()
	}
	if s.id == "" {
		return // refused before it began
	}
	attrs := []any{
		"requestId", s.id, "transport", s.format.Kind(), "clientId", s.who.ClientID,
		"keyId", s.who.KeyID, "events", s.sent, "duration", time.Since(s.opened),
	}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	s.h.opt.Log.Info("stream ended", attrs...)
}
