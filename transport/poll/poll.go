// Package poll answers event requests with one JSON object: at once if there is
// something, otherwise when there is, or when the asked-for wait is over. While
// it waits a request is parked: it holds no goroutine of the HTTP server, none
// of its buffers, and a client that leaves is noticed at once.
package poll

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// Bounds of one answer.
const (
	maxEvents = 1000
	maxBytes  = 1 << 20 // of events
)

// historyTimeout bounds how long a request waits for the store. It protects the
// HTTP server's goroutines when the disk hangs.
const historyTimeout = 10 * time.Second

// kind names the transport in metrics and logs.
var kind = transport.JSONFormat.Kind()

// Options are what a Handler works with; all but Observe are required.
type Options struct {
	Door    *transport.Door
	Streams *auth.Streams
	Hub     *hub.Hub
	Pool    *wire.Pool
	Observe transport.Observer
}

// Handler serves long-polls.
type Handler struct{ opt Options }

// New returns a handler.
func New(o Options) *Handler { return &Handler{opt: o} }

// Serve answers a GET for a room's events: one job's, or (job empty) the whole
// log of p's client, which the caller has authorised.
func (h *Handler) Serve(c *fiber.Ctx, p auth.Principal, job string) error {
	r, err := transport.ReadingFrom(c)
	if err != nil {
		return err
	}
	q := h.newPoll(p, job, r)
	joined, err := q.sub.Join(context.Background(), job, r.Start)
	if err != nil {
		q.sub.Close()
		return err
	}
	h.opt.Observe.Resumed(kind, r.Start, joined)
	if joined.Reset != nil {
		q.sub.Close()
		return transport.Gone(joined.Reset.Reason, joined.Reset.Oldest, joined.Reset.Cursor)
	}
	if err := h.collect(c, q); err != nil {
		q.sub.Close()
		return err
	}
	if q.full() || r.Wait == 0 || c.Method() == fiber.MethodHead {
		defer q.sub.Close()
		return h.answer(c, q)
	}
	return h.park(c, q, r.Wait)
}

// collect takes what there is. History, and much of anything, waits for its turn.
func (h *Handler) collect(c *fiber.Ctx, q *poll) error {
	q.take()
	if q.sub.Reading() || q.bytes > transport.LargeAnswer {
		if err := h.opt.Door.Turn(c, q.principal); err != nil {
			return err
		}
	}
	return q.collect()
}

func (h *Handler) answer(c *fiber.Ctx, q *poll) error {
	setHeaders(c)
	return c.Send(q.body(nil))
}

func setHeaders(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderCacheControl, "no-store")
}

// park lets the request wait outside the HTTP server.
func (h *Handler) park(c *fiber.Ctx, q *poll, wait time.Duration) error {
	if err := h.admit(q); err != nil {
		q.Closed(nil)
		return err
	}
	setHeaders(c)
	q.id = transport.RequestID(c)
	q.deadline = time.Now().Add(wait)
	wire.Hijack(c.Context(), func(hj *wire.Hijacked) {
		if hj == nil {
			q.Closed(wire.ErrGone)
			return
		}
		q.request = hj
		q.admission.OnEnd(q)
		q.conn.Attach(h.opt.Pool.Park(hj.Conn, hj.Early, q, wait))
	})
	return nil
}

// admit takes the slot of a waiting request.
func (h *Handler) admit(q *poll) (err error) {
	if q.admission, err = transport.OpenStream(context.Background(), h.opt.Streams, q.principal, kind); err != nil {
		return err
	}
	return h.opt.Door.Admit()
}
