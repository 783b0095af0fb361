// Package claim answers POST /v1/workers/claim. While no job is there the
// request is parked: it holds no goroutine of the HTTP server and none of its
// buffers, and a worker that leaves is noticed at once. Jobs that were claimed
// for a worker which did not get the answer are handed back, uncounted.
package claim

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// handBackTime bounds how long a claim that nobody got insists on being handed
// back; after it the lease runs out by itself.
const handBackTime = 5 * time.Second

// Jobs is what this package asks of the job service.
type Jobs interface {
	Claim(ctx context.Context, client string, r jobs.ClaimRequest) ([]jobs.Claimed, error)
	Release(ctx context.Context, l jobs.Leased) error
}

// Options are what a Handler works with; all but Log are required.
type Options struct {
	Door    *transport.Door
	Streams *auth.Streams
	Check   func(ctx context.Context, p auth.Principal) error // whether a key is still good
	Jobs    Jobs
	Pool    *wire.Pool
	Log     *slog.Logger // nil: slog.Default()
}

// Handler serves claims.
type Handler struct {
	opt Options

	mu      sync.Mutex // guards closed, and that running grows only before it is set
	closed  bool
	running sync.WaitGroup // one goroutine for each claim
}

// New returns a handler. Close it after the pool is closed.
func New(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Handler{opt: o}
}

// Close waits until every claim is answered or handed back.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.running.Wait()
}

// Serve answers one claim. The limit on waiting calls counts it until its
// answer is written.
func (h *Handler) Serve(c *fiber.Ctx) error {
	p, err := h.opt.Door.Principal(c, auth.Work)
	if err != nil {
		return err
	}
	body, err := transport.Body(c, h.opt.Door.MaxBody())
	if err != nil {
		return err
	}
	request, err := jobs.ParseClaim(body)
	if err != nil {
		return err
	}
	slot, err := h.opt.Streams.OpenWait(p)
	if err != nil {
		return err
	}
	if err := h.opt.Door.Admit(); err != nil {
		slot.Release()
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	k := &call{
		h: h, id: transport.RequestID(c), principal: p, request: request, slot: slot, over: make(chan struct{}),
	}
	wire.Hijack(c.Context(), k.park)
	return nil
}

// start runs f in a goroutine that Close waits for; false: it is too late.
func (h *Handler) start(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.running.Go(f)
	}
	return !h.closed
}

// handBack releases jobs that nobody got.
func (h *Handler) handBack(claimed []jobs.Claimed) {
	ctx, cancel := context.WithTimeout(context.Background(), handBackTime)
	defer cancel()
	for _, l := range claimed {
		if err := h.opt.Jobs.Release(ctx, l.Leased); err != nil {
			h.opt.Log.Warn("a job was not handed back and waits for the end of its lease", "jobId", l.Job.ID, "error", err)
		}
	}
}
