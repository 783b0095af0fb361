package claim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// call is one call that claims. Its goroutine, run, gets the jobs; the pool, which calls
// the wire.Stream methods one at a time, sends them.
type call struct {
	h       *Handler
	id      string         // of the request
	wait    time.Duration  // how long its answer may take; 0: it is there
	get     func() outcome // what run does
	release func()         // gives back what the call holds; nil: nothing

	conn     wire.Ref
	hijacked *wire.Hijacked
	outcome  atomic.Pointer[outcome] // set once, by run
	known    chan struct{}           // closed by run, once the outcome is set

	over chan struct{} // closed by Closed; run waits for it

	sent bool // the outcome is in the answer; of the pool's goroutine
	took bool // the worker has the answer; written before over is closed
}

func (h *Handler) call(c *fiber.Ctx, get func() outcome) *call {
	return &call{h: h, id: transport.RequestID(c), get: get, known: make(chan struct{}), over: make(chan struct{})}
}

// outcome is what a call comes to.
type outcome struct {
	job  any // that has ended, as it is shown; nil: the call was a claim alone
	jobs []jobs.Claimed
	err  error
}

// begin starts the call of a request that has left the HTTP server.
func (k *call) begin(hj *wire.Hijacked) {
	if hj != nil && !k.h.start(k.run) {
		_ = hj.Conn.Close()
		hj = nil
	}
	k.park(hj)
}

// park lets the request wait outside the HTTP server.
func (k *call) park(hj *wire.Hijacked) {
	if hj == nil {
		k.Closed(wire.ErrGone)
		return
	}
	k.hijacked = hj
	k.conn.Attach(k.h.opt.Pool.Park(hj.Conn, hj.Early, k, k.wait))
}

// run gets the jobs, and hands back what the worker did not get.
func (k *call) run() {
	o := k.survive()
	k.outcome.Store(&o)
	close(k.known)
	k.conn.Wake()
	<-k.over
	if !k.took && len(o.jobs) > 0 {
		k.h.handBack(o.jobs)
	}
	k.outcome.Store(nil) // the connection may hold the call until its next request
}

// survive calls get. A panic costs this call, not the process: nothing above would catch
// it.
func (k *call) survive() (o outcome) {
	defer func() {
		if v := recover(); v != nil {
			o = outcome{err: fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
		}
	}()
	return k.get()
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
	if k.release != nil {
		k.release()
	}
	k.took = k.sent && cause == nil
	close(k.over)
}

// leased is a job on the wire, with the lease on it.
type leased struct {
	jobs.Job
	Lease transport.Lease `json:"lease"`
}

// body is the answer to a call that has done what it was to do.
func (o *outcome) body() any {
	list := make([]leased, len(o.jobs))
	for i, l := range o.jobs {
		list[i] = leased{l.Job, transport.LeaseUntil(l.Lease, l.ExpiresAt)}
	}
	if o.job == nil {
		return fiber.Map{"jobs": list}
	}
	return ended{o.job, list}
}

// ended is the answer to a call that has ended an attempt.
type ended struct {
	Job  any      `json:"job"`
	Jobs []leased `json:"jobs"`
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
		body = o.body()
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
