// Package sse streams events over one long HTTP response: Server-Sent Events
// (WHATWG HTML, section 9.2) and NDJSON, which differ only in how a frame is
// written.
package sse

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// Options are what a Handler works with. All but the hooks are required.
type Options struct {
	Door         *transport.Door
	Streams      *auth.Streams
	Hub          *hub.Hub
	Pool         *wire.Pool
	PingInterval time.Duration // told to clients in `connected`
	Log          *slog.Logger
	Observe      transport.Observer
}

// Handler serves streams.
type Handler struct {
	opt   Options
	items sync.Pool // *[]hub.Item, the scratch space of one Fill

	mu    sync.Mutex       // guards feeds, and which streams each has
	feeds map[string]*feed // by name; those that somebody watches
}

// New returns a handler.
func New(o Options) *Handler {
	h := &Handler{opt: o, feeds: make(map[string]*feed)}
	h.items.New = func() any {
		s := make([]hub.Item, 0, transport.BatchEvents)
		return &s
	}
	return h
}

// Serve answers a GET for a room's events: one job's, or (job empty) the whole
// log of p's client, which the caller has authorised. Refusals are returned before the
// first byte; see Refuse.
func (h *Handler) Serve(c *fiber.Ctx, p auth.Principal, job string, format transport.EventFormat) error {
	r, err := transport.ReadingFrom(c)
	if err != nil {
		return err
	}
	s := h.newStream(p, job, format, r)
	joined, err := s.sub.Join(context.Background(), job, r.Start)
	if err != nil {
		s.sub.Close()
		return err
	}
	h.opt.Observe.Resumed(format.Kind(), r.Start, joined)
	if joined.Ended && transport.AcceptsOnlyEventStream(c) {
		s.sub.Close()
		return c.SendStatus(fiber.StatusNoContent) // the one answer that stops an EventSource
	}
	if err := h.admit(s, p); err != nil {
		s.Closed(nil)
		return err
	}
	return h.start(c, s)
}

// Submitted answers a POST that made a job with the job's stream from its first
// event. It takes over the admission, also when it returns an error.
func (h *Handler) Submitted(c *fiber.Ctx, p auth.Principal, a *transport.Admission, job string, format transport.EventFormat) error {
	s := h.newStream(p, job, format, transport.Reading{})
	s.admission = a
	if _, err := s.sub.Join(context.Background(), job, hub.Start{From: hub.FromStart}); err != nil {
		s.Closed(nil)
		return err
	}
	return h.start(c, s)
}

// admit takes the stream's slot.
func (h *Handler) admit(s *stream, p auth.Principal) (err error) {
	if s.admission, err = transport.OpenStream(context.Background(), h.opt.Streams, p, s.format.Kind()); err != nil {
		return err
	}
	return h.opt.Door.Admit()
}

// Refuse dresses a passing refusal of a reconnecting EventSource as a stream
// that ends, because it would never come back after a 429 or 503. All other
// refusals are returned as they are.
func Refuse(c *fiber.Ctx, err error) error {
	p := transport.FromError(err)
	if !p.Passing() || !transport.PassingRefusal(c) {
		return err
	}
	setHeaders(c, transport.EventStream)
	c.Set(fiber.HeaderConnection, "close")
	body := appendRetry(nil, max(p.Retry(), minRetry))
	return c.Send(appendSSE(body, transport.ProblemFrame(p)))
}

func setHeaders(c *fiber.Ctx, f transport.EventFormat) {
	c.Set(fiber.HeaderContentType, f.String())
	c.Set(fiber.HeaderCacheControl, "no-cache, no-transform")
	c.Set("X-Accel-Buffering", "no")
}

// start sends the head and hands the connection to the pool.
func (h *Handler) start(c *fiber.Ctx, s *stream) error {
	setHeaders(c, s.format)
	if c.Method() == fiber.MethodHead {
		s.Closed(nil)
		return nil
	}
	s.id = transport.RequestID(c)
	s.intro = h.intro(s)
	wire.Hijack(c.Context(), func(hj *wire.Hijacked) { h.take(hj, s, &s.body, s.admission, &s.conn) })
	return nil
}

// take hands a connection that has left the HTTP server to the pool, or ends the stream if
// there is none. The others are the stream's.
func (h *Handler) take(hj *wire.Hijacked, s live, b *body, a *transport.Admission, conn *wire.Ref) {
	if hj == nil {
		s.Closed(wire.ErrGone)
		return
	}
	b.chunked = hj.HTTP11
	b.head = hj.Head(fiber.StatusOK, b.format.String())
	a.OnEnd(s)
	conn.Attach(h.opt.Pool.Add(hj.Conn, s))
}

// live is a stream as others see it.
type live interface {
	transport.Live
	wire.Stream
}

// intro is what every stream begins with.
func (h *Handler) intro(s *stream) []byte {
	var b []byte
	if s.format == transport.EventStream {
		b = appendRetry(b, minRetry)
	}
	return s.appendFrame(b, transport.ConnectedFrame(s.id, s.who.ClientID, s.opened, h.opt.PingInterval))
}
