// Package events answers a GET for events: it asks once who is calling and what may be
// seen, picks the format, and hands the request to Server-Sent Events, NDJSON or
// long-polling.
package events

import (
	"context"
	"net"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/poll"
	"github.com/jobcast/jobcast/transport/sse"
)

// Jobs is what is asked about a job for which no format is acceptable. jobs.ErrNotFound
// if the client has no such job.
type Jobs interface {
	Brief(ctx context.Context, client, id string) (jobs.Job, error)
}

// Options are what a Handler works with. All are required.
type Options struct {
	Door *transport.Door
	SSE  *sse.Handler // and NDJSON
	Poll *poll.Handler
	Jobs Jobs
}

// Handler serves GET /v1/events and GET /v1/jobs/{id}/events.
type Handler struct{ opt Options }

// New returns a handler.
func New(o Options) *Handler { return &Handler{opt: o} }

// Client serves the whole log of the caller's client.
func (h *Handler) Client(c *fiber.Ctx) error { return h.serve(c, "") }

// Job serves the events of the job that the path names as :id.
func (h *Handler) Job(c *fiber.Ctx) error {
	id := strings.Clone(c.Params("id"))
	if canonical, ok := jobs.ParseID(id); ok {
		id = canonical
	}
	return h.serve(c, id)
}

func (h *Handler) serve(c *fiber.Ctx, job string) error {
	if h.opt.Door.Abandon(c) {
		c.Context().HijackSetNoResponse(true)
		c.Context().Hijack(func(nc net.Conn) { _ = nc.Close() })
		return nil
	}
	if err := h.answer(c, job); err != nil {
		return sse.Refuse(c, err)
	}
	return nil
}

// answer refuses in the order of the error table: who is calling, what may be seen, the
// format, and then what the format's handler refuses.
func (h *Handler) answer(c *fiber.Ctx, job string) error {
	p, err := h.opt.Door.Principal(c, auth.Watch)
	if err == nil {
		err = transport.MayWatch(p.Identity, job)
	}
	if err != nil {
		return err
	}
	p.Agent = transport.Agent(c)
	format, err := transport.Negotiate(c)
	switch {
	case err != nil && job != "":
		if _, missing := h.opt.Jobs.Brief(context.Background(), p.ClientID, job); missing != nil {
			return missing
		}
		return err
	case err != nil:
		return err
	case format == transport.JSONFormat:
		return h.opt.Poll.Serve(c, p, job)
	default:
		return h.opt.SSE.Serve(c, p, job, format)
	}
}
