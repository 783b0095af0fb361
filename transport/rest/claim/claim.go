// Package claim gives jobs to workers: it answers POST /v1/workers/claim, and the calls
// that end an attempt and claim the next job with it. While no job is there a claim is
// parked: it holds no goroutine of the HTTP server and none of its buffers, and a worker
// that leaves is noticed at once. Jobs that were claimed for a worker which did not get
// the answer are handed back, uncounted.
package claim

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// commandTime bounds how long a caller that ends an attempt waits for the store.
const commandTime = 5 * time.Second

// Bounds of time; after them a lease runs out by itself.
const (
	handBackTime = 5 * time.Second  // a claim that nobody got insists on being handed back
	lateTime     = 30 * time.Second // an end whose caller waits no more learns what it has claimed
)

// Jobs is what this package asks of the job service.
type Jobs interface {
	Claim(ctx context.Context, client string, r jobs.ClaimRequest) ([]jobs.Claimed, error)
	End(ctx context.Context, e jobs.End, next *jobs.NextClaim) (jobs.Job, []jobs.Claimed, error)
	HandBack(ctx context.Context, l jobs.Leased) error
}

// Options are what a Handler works with; all but Log and CommandTime
// are required.
type Options struct {
	Door    *transport.Door
	Streams *auth.Streams
	Check   func(ctx context.Context, p auth.Principal) error // whether a key is still good
	Jobs    Jobs
	Pool    *wire.Pool
	Log     *slog.Logger // nil: slog.Default()

	CommandTime time.Duration // how long a caller that ends an attempt waits for the store; 0: 5 s
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
	if o.CommandTime <= 0 {
		o.CommandTime = commandTime
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
	ctx, cancel := context.WithCancel(context.Background())
	k := h.call(c, func() outcome { return h.claim(ctx, p, request) })
	k.wait = request.Wait
	k.release = func() {
		cancel()
		slot.Release()
	}
	wire.Hijack(c.Context(), k.begin)
	return nil
}

// claim waits for jobs.
func (h *Handler) claim(ctx context.Context, p auth.Principal, r jobs.ClaimRequest) outcome {
	got, err := h.opt.Jobs.Claim(ctx, p.ClientID, r)
	if err != nil {
		return outcome{err: err}
	}
	// The key may have been revoked while the call waited.
	if err := h.opt.Check(ctx, p); err != nil {
		h.handBack(got)
		return outcome{err: err}
	}
	return outcome{jobs: got}
}

// End ends an attempt, claims the next job for its worker, and answers with both. The
// caller has checked who asks, p, and that the server admits it. The limit on waiting calls
// counts the call until its answer is written. Beyond the limit the end is taken all the
// same, but it claims nothing, and one that has claimed before is refused.
func (h *Handler) End(c *fiber.Ctx, p auth.Principal, e jobs.End, next jobs.NextClaim) error {
	slot, full := h.opt.Streams.OpenWait(p)
	next.Again = full != nil
	ctx, cancel := context.WithTimeout(context.Background(), lateTime)
	k := h.call(c, func() outcome {
		defer cancel()
		job, got, err := h.opt.Jobs.End(ctx, e, &next)
		if err == nil && full != nil && len(got) > 0 {
			return outcome{err: full}
		}
		return outcome{job.Shown(), got, err}
	})
	if full == nil {
		k.release = slot.Release
	}
	if !h.start(k.run) {
		cancel()
		k.Closed(nil)
		return transport.Refuse(transport.Draining, "The server is shutting down.")
	}
	late := time.NewTimer(h.opt.CommandTime)
	defer late.Stop()
	select {
	case <-k.known:
	case <-late.C:
		k.Closed(wire.ErrStalled)
		return fmt.Errorf("%w: the store takes long", jobs.ErrUnavailable)
	}
	o := k.outcome.Load()
	switch {
	case o.err != nil:
		k.Closed(nil)
		return o.err
	case len(o.jobs) == 0:
		k.Closed(nil)
		return transport.JSON(c, fiber.StatusOK, o.body())
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
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
		if err := h.opt.Jobs.HandBack(ctx, l.Leased); err != nil {
			h.opt.Log.Warn("a job was not handed back and waits for the end of its lease", "jobId", l.Job.ID, "error", err)
		}
	}
}
