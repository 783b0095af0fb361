package screen

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// stream is one response. Its wire.Stream methods are called by one goroutine at a time.
type stream struct {
	h        *Handler
	id       string // the request's; empty: it was refused, or was a HEAD
	who      auth.Identity
	job      string
	boundary string // random, so that no picture can hold it
	opened   time.Time
	release  func() // gives the slot back
	look     Look
	chunked  bool
	head     []byte // sent first, then nil

	number int      // of the frame that was begun last
	frame  []byte   // that frame; nil: none yet
	rest   [][]byte // what is still to be sent of it and around it
	sent   int64    // frames

	conn  wire.Ref
	ended atomic.Bool // by End
}

func (s *stream) contentType() string { return "multipart/x-mixed-replace; boundary=" + s.boundary }

// ID implements transport.Live.
func (s *stream) ID() string { return s.id }

// End implements transport.Live. There is no place for a reason between pictures.
func (s *stream) End(error) {
	s.ended.Store(true)
	s.conn.Wake()
}

// Watching implements transport.Live.
func (s *stream) Watching() transport.Watching {
	return transport.WatchingJob(s.job)
}

// Fill implements wire.Stream. It gives a frame out in pieces, so that a slow looker holds
// no copy of it.
func (s *stream) Fill(buf []byte, limit int) ([]byte, wire.Next) {
	buf = s.begin(buf)
	jpeg, number, over := s.look.Newest()
	over = over || s.ended.Load()
	if !over && len(s.rest) == 0 && jpeg != nil && number != s.number {
		s.show(jpeg, number)
	}
	for len(s.rest) > 0 && len(buf) < limit {
		n := min(len(s.rest[0]), limit-len(buf))
		buf = s.appendBody(buf, s.rest[0][:n])
		if s.rest[0] = s.rest[0][n:]; len(s.rest[0]) == 0 {
			s.rest = s.rest[1:]
		}
	}
	switch {
	case len(s.rest) > 0:
		return buf, wire.More
	case over:
		return s.finish(buf), wire.Close
	}
	return buf, wire.Idle
}

// partHead begins a part. It has no Content-Length: browsers show a picture when they have
// seen the head of the next one, so that head is sent before its picture is known.
const partHead = "\r\nContent-Type: image/jpeg\r\n\r\n"

// show begins to send a frame.
func (s *stream) show(jpeg []byte, number int) {
	if s.frame == nil {
		s.rest = append(s.rest, []byte("--"+s.boundary+partHead))
	}
	s.rest = append(s.rest, jpeg, []byte("\r\n--"+s.boundary+partHead))
	s.frame, s.number = jpeg, number
	s.sent++
}

// begin sends the head once.
func (s *stream) begin(buf []byte) []byte {
	if s.head == nil {
		return buf
	}
	buf = append(buf, s.head...)
	if s.chunked {
		buf = append(buf, "Transfer-Encoding: chunked\r\n"...)
	}
	s.head = nil
	return append(buf, "Connection: close\r\n\r\n"...)
}

// finish ends the body. The part that has begun gets the last frame once more, so that
// every part is a picture.
func (s *stream) finish(buf []byte) []byte {
	if s.frame != nil {
		buf = s.appendBody(buf, s.frame)
	}
	buf = s.appendBody(buf, []byte("\r\n--"+s.boundary+"--\r\n"))
	if s.chunked {
		buf = append(buf, wire.LastChunk...)
	}
	return buf
}

func (s *stream) appendBody(buf, body []byte) []byte {
	if s.chunked {
		return wire.AppendChunk(buf, body)
	}
	return append(buf, body...)
}

// KeepAlive implements wire.Stream. Nothing may stand between pictures.
func (s *stream) KeepAlive(buf []byte) []byte { return buf }

// Goodbye implements wire.Stream.
func (s *stream) Goodbye(buf []byte, _ time.Duration) []byte {
	buf = s.begin(buf)
	for _, piece := range s.rest {
		buf = s.appendBody(buf, piece)
	}
	return s.finish(buf)
}

// Closed implements wire.Stream.
func (s *stream) Closed(cause error) {
	s.look.Close()
	s.release()
	if s.id == "" {
		return // it never began
	}
	attrs := []any{
		"requestId", s.id, "transport", kind, "clientId", s.who.ClientID,
		"keyId", s.who.KeyID, "frames", s.sent, "duration", time.Since(s.opened),
	}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	s.h.opt.Log.Info("stream ended", attrs...)
}
