// Package screen answers a GET for the live picture of a job's browser: one JPEG after the
// other in a body that replaces itself (multipart/x-mixed-replace), which browsers show in an
// img. A looker that is slow misses frames, and keeps nothing of them in memory but the one
// that it is being sent.
package screen

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// kind names the transport in metrics and logs.
var kind = transport.Register("screen")

// storeTime bounds how long a request waits for the store.
const storeTime = 5 * time.Second

// Look is one looker at the browser of a job.
type Look interface {
	// Newest returns the newest frame, a JPEG that nobody changes, and its number, which
	// has grown if it is to be shown, anew perhaps; nil: there is none yet. over says that
	// no other will come.
	Newest() (jpeg []byte, number int, over bool)
	Close()
}

// Jobs is what this package asks about a job: jobs.ErrNotFound if the client has none of
// that id.
type Jobs interface {
	Brief(ctx context.Context, client, id string) (jobs.Job, error)
}

// Options are what a Handler works with. All are required.
type Options struct {
	Door    *transport.Door
	Streams *auth.Streams
	Jobs    Jobs
	Pool    *wire.Pool
	Log     *slog.Logger
	// Look begins to look at the browser of a job, whoever's it is; false: it has none
	// now. wake is called when there is another frame, and at the end.
	Look func(job string, wake func()) (Look, bool)
}

// Handler serves live pictures.
type Handler struct{ opt Options }

// New returns a handler.
func New(o Options) *Handler { return &Handler{opt: o} }

// Serve answers GET and HEAD for the live picture of the job that the path names as :id.
func (h *Handler) Serve(c *fiber.Ctx) error {
	p, job, err := h.asked(c)
	if err != nil {
		return err
	}
	p.Agent = transport.Agent(c)
	slot, err := transport.OpenStream(context.Background(), h.opt.Streams, p, kind)
	if err != nil {
		return err
	}
	s := &stream{h: h, who: p.Identity, job: job.ID, boundary: rand.Text(), opened: time.Now(), release: slot.Release}
	if err := h.begin(s, job); err != nil {
		slot.Release()
		return err
	}
	c.Set(fiber.HeaderContentType, s.contentType())
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no")
	if c.Method() == fiber.MethodHead {
		s.Closed(nil)
		return nil
	}
	s.id = transport.RequestID(c)
	wire.Hijack(c.Context(), func(hj *wire.Hijacked) {
		if hj == nil {
			s.Closed(wire.ErrGone)
			return
		}
		s.chunked = hj.HTTP11
		s.head = hj.Head(fiber.StatusOK, s.contentType())
		slot.OnEnd(s)
		s.conn.Attach(h.opt.Pool.Add(hj.Conn, s))
	})
	return nil
}

// asked returns who asks for which job, and refuses who may not see it.
func (h *Handler) asked(c *fiber.Ctx) (p auth.Principal, job jobs.Job, err error) {
	if p, err = h.opt.Door.Principal(c, auth.Watch); err != nil {
		return p, job, err
	}
	id, ok := jobs.ParseID(c.Params("id"))
	if !ok {
		return p, job, jobs.ErrNotFound
	}
	if err = transport.MayWatch(p.Identity, id); err != nil {
		return p, job, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	job, err = h.opt.Jobs.Brief(ctx, p.ClientID, id)
	return p, job, err
}

// begin begins to look, which makes the browser work; so the slot is taken by then.
func (h *Handler) begin(s *stream, job jobs.Job) error {
	if err := h.opt.Door.Admit(); err != nil {
		return err
	}
	var ok bool
	if s.look, ok = h.opt.Look(job.ID, func() { s.conn.Wake() }); !ok {
		return &jobs.ConflictError{Job: job, Detail: "The job has no browser now; it is " + string(job.Status) + "."}
	}
	return nil
}
