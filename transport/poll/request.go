package poll

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// answerShell is more than an answer has around its events.
const answerShell = 128

// poll is one request. First the handler's goroutine has it; once parked, the
// pool calls its wire.Stream methods, one at a time.
type poll struct {
	h         *Handler
	id        string
	principal auth.Principal
	job       string
	conflate  bool
	admission *transport.Admission // nil until it is parked
	sub       *hub.Subscription
	signal    func()          // wakes collect
	woken     <-chan struct{} // what collect waits for

	events   []*hub.Event
	bytes    int
	over     bool      // the answer cannot grow: a limit is reached, or the room has ended
	done     bool      // the job has ended
	last     string    // cursor after the answer, once the room was left
	fault    *hub.Mark // history could not be read
	deadline time.Time
	request  *wire.Hijacked

	conn  wire.Ref
	ended atomic.Pointer[error] // set by End
}

func (h *Handler) newPoll(p auth.Principal, job string, r transport.Reading) *poll {
	q := &poll{h: h, principal: p, job: job, conflate: r.Conflate}
	q.signal, q.woken = transport.Waker()
	q.sub = h.opt.Hub.Subscribe(p.ClientID, q.wake)
	return q
}

func (q *poll) wake() {
	if !q.conn.Wake() {
		q.signal()
	}
}

// ID implements transport.Live.
func (q *poll) ID() string { return q.id }

// End implements transport.Live: the answer is a problem.
func (q *poll) End(reason error) {
	q.ended.Store(&reason)
	q.wake()
}

// Watching implements transport.Live.
func (q *poll) Watching() transport.Watching {
	return transport.Watching{Standing: q.sub.Standing(), Conflated: q.conflate}
}

// full reports whether there is something to answer.
func (q *poll) full() bool { return len(q.events) > 0 || q.over }

// take moves what the subscription has into the answer, without blocking.
func (q *poll) take() {
	var scratch [transport.BatchEvents]hub.Item
	for !q.over {
		room := min(transport.BatchEvents, maxEvents-len(q.events))
		items, more := q.sub.Next(scratch[:0], room, maxBytes-q.bytes)
		if q.conflate {
			items = hub.Conflate(items, nil)
		}
		q.add(items)
		q.over = q.over || len(q.events) >= maxEvents || q.bytes >= maxBytes
		if !more {
			return
		}
	}
}

func (q *poll) add(items []hub.Item) {
	for _, it := range items {
		switch {
		case it.Event != nil:
			q.events = append(q.events, it.Event)
			q.bytes += len(it.Event.JSON)
			if q.job != "" && it.Event.Type.Terminal() {
				q.over, q.done = true, true
			}
		case it.Mark.Kind == hub.End:
			q.over, q.done, q.last = true, true, it.Mark.Cursor
		case it.Mark.Kind == hub.Gone || it.Mark.Kind == hub.Fault || it.Mark.Kind == hub.Reset:
			q.over, q.fault = true, it.Mark
		}
	}
}

// collect takes all there is, waiting for history to be read.
func (q *poll) collect() error {
	timeout := time.NewTimer(historyTimeout)
	defer timeout.Stop()
	for {
		q.take()
		if q.over || !q.sub.Reading() {
			break
		}
		select {
		case <-q.woken:
		case <-timeout.C:
			return jobs.ErrUnavailable
		}
	}
	return q.refusal()
}

// refusal returns the problem that stands in the way of an answer. Events that
// were read before it are answered first; the next request meets it.
func (q *poll) refusal() error {
	if q.fault == nil || len(q.events) > 0 {
		return nil
	}
	switch q.fault.Kind {
	case hub.Gone:
		return jobs.ErrNotFound
	case hub.Reset:
		return transport.Gone(q.fault.Reason, q.fault.Oldest, q.fault.Cursor)
	default:
		return jobs.ErrUnavailable
	}
}

// body appends the answer.
func (q *poll) body(dst []byte) []byte {
	if n := len(q.events); n > 0 {
		q.h.opt.Observe.Delivered(kind, n, q.events[n-1].At)
	}
	dst = slices.Grow(dst, q.bytes+len(q.events)+answerShell)
	dst = append(dst, `{"events":[`...)
	for i, e := range q.events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, e.JSON...)
	}
	dst = append(dst, `],"lastEventId":"`...)
	dst = append(dst, q.cursor()...)
	dst = append(dst, `","done":`...)
	dst = strconv.AppendBool(dst, q.done)
	return append(dst, '}')
}

// cursor is where the next request goes on.
func (q *poll) cursor() string {
	if q.last != "" {
		return q.last
	}
	if n := len(q.events); n > 0 {
		return q.events[n-1].ID
	}
	cursor, _ := q.sub.Cursor(q.job)
	return cursor
}

// Fill implements wire.Stream: the whole answer, or nothing yet.
func (q *poll) Fill(buf []byte, _ int) ([]byte, wire.Next) {
	if reason := q.ended.Load(); reason != nil {
		return q.respondError(buf, *reason)
	}
	q.take()
	if !q.full() && time.Now().Before(q.deadline) {
		return buf, wire.Idle
	}
	if err := q.refusal(); err != nil {
		return q.respondError(buf, err)
	}
	return q.respond(buf, fiber.StatusOK, fiber.MIMEApplicationJSON, "", q.body(nil))
}

func (q *poll) respondError(buf []byte, err error) ([]byte, wire.Next) {
	p := transport.FromError(err)
	p.Instance = q.id
	body, _ := json.Marshal(p) // a problem always encodes
	return q.respond(buf, p.Status, "application/problem+json", p.HeaderLines(), body)
}

func (q *poll) respond(buf []byte, status int, contentType, extra string, body []byte) ([]byte, wire.Next) {
	return q.request.Respond(buf, status, contentType, extra, body, !q.h.opt.Pool.Draining())
}

// KeepAlive implements wire.Stream; a parked request sends nothing before its
// answer.
func (q *poll) KeepAlive(buf []byte) []byte { return buf }

// Goodbye implements wire.Stream: an ordinary answer, with a hint when to come
// back.
func (q *poll) Goodbye(buf []byte, retry time.Duration) []byte {
	q.take()
	hint := "Retry-After: " + strconv.FormatInt(int64((retry+time.Second-1)/time.Second), 10) + "\r\n"
	buf, _ = q.respond(buf, fiber.StatusOK, fiber.MIMEApplicationJSON, hint, q.body(nil))
	return buf
}

// Closed implements wire.Stream.
func (q *poll) Closed(error) {
	q.sub.Close()
	if q.admission != nil {
		q.admission.Release()
	}
}
