package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// call is one claim. Its goroutine, run, gets the jobs; the pool, which calls
// the wire.Stream methods one at a time, sends them.
type call struct {
	h         *Handler
	id        string // of the request
	principal auth.Principal
	request   jobs.ClaimRequest
	slot      *auth.Slot

	conn     wire.Ref
	hijacked *wire.Hijacked
	cancel   context.CancelFunc      // ends the waiting of run
	outcome  atomic.Pointer[outcome] // set once, by run

	over chan struct{} // closed by Closed; run waits for it

	sent bool // the outcome is in the answer; of the pool's goroutine
	took bool // the worker has the answer; written before over is closed
}

// outcome is what a claim comes to.
type outcome struct {
	jobs []jobs.Claimed
	err  error
}

// park lets the request wait outside the HTTP server.
func (k *call) park(hj *wire.Hijacked) {
	if hj == nil {
		k.slot.Release()
		return
	}
	k.hijacked = hj
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	if !k.h.start(func() { k.run(ctx) }) {
		k.Closed(wire.ErrDrained)
		_ = hj.Conn.Close()
		return
	}
	k.conn.Attach(k.h.opt.Pool.Park(hj.Conn, hj.Early, k, k.request.Wait))
}

// run claims, and hands back what the worker did not get.
func (k *call) run(ctx context.Context) {
	got, err := k.claim(ctx)
	k.outcome.Store(&outcome{got, err})
	k.conn.Wake()
	<-k.over
	if !k.took {
		k.h.handBack(got)
	}
}

// claim waits for jobs. A panic costs this claim, not the process: nothing
// above would catch it.
func (k *call) claim(ctx context.Context) (got []jobs.Claimed, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	got, err = k.h.opt.Jobs.Claim(ctx, k.principal.ClientID, k.request)
	if err != nil {
		return nil, err
	}
	// The key may have been revoked while the call waited.
	if err := k.h.opt.Check(ctx, k.principal); err != nil {
		k.h.handBack(got)
		return nil, err
	}
	return got, nil
}

// Fill implements wire.Stream: the whole answer, or nothing yet.
func (k *call) Fill(buf []byte, _ int) ([]byte, wire.Next) {
	o := k.outcome.Load()
	if o == nil {
		return buf, wire.Idle
	}
	return k.answer(buf, o, "")
}

// KeepAlive implements wire.Stream; a parked request sends nothing before its
// answer.
func (k *call) KeepAlive(buf []byte) []byte { return buf }

// Goodbye implements wire.Stream: an ordinary answer, with a hint when to come
// back.
func (k *call) Goodbye(buf []byte, retry time.Duration) []byte {
	o := k.outcome.Load()
	if o == nil {
		o = &outcome{}
	}
	seconds := int64((retry + time.Second - 1) / time.Second)
	buf, _ = k.answer(buf, o, "Retry-After: "+strconv.FormatInt(seconds, 10)+"\r\n")
	return buf
}

// Closed implements wire.Stream.
func (k *call) Closed(cause error) {
	k.cancel()
	k.slot.Release()
	k.took = k.sent && cause == nil
	close(k.over)
}

// leased is a job on the wire, with the lease on it.
type leased struct {
	jobs.Job
	Lease transport.Lease `json:"lease"`
}

// answer appends the answer. Only what run has stored counts as sent: the empty
// answer of a server that goes down leaves the claim under way to be handed back.
func (k *call) answer(buf []byte, o *outcome, extra string) ([]byte, wire.Next) {
	status, contentType := fiber.StatusOK, fiber.MIMEApplicationJSON
	var body any
	if o.err != nil {
		p := transport.FromError(o.err)
		p.Instance = k.id
		if p.Unwrap() != nil {
			k.h.opt.Log.Error("claim failed", "requestId", k.id, "code", string(p.Code), "error", p.Unwrap())
		}
		status, contentType, body = p.Status, "application/problem+json", p
	} else {
		list := make([]leased, len(o.jobs))
		for i, l := range o.jobs {
			list[i] = leased{l.Job, transport.LeaseUntil(l.Lease, l.ExpiresAt)}
		}
		body = fiber.Map{"jobs": list}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil { // only broken JSON in the store can cause it
		k.h.opt.Log.Error("claim failed", "requestId", k.id, "error", err)
		return buf, wire.Close
	}
	k.sent = k.outcome.Load() == o
	return k.hijacked.Respond(buf, status, contentType, extra, text.Bytes(), !k.h.opt.Pool.Draining())
}
