package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestRecovery lets chance decide what one client of Socket.IO joins and leaves,
// where its connections are cut, and when the server restarts or crashes. It goes
// on as the official client does, with its session's secret and the last string
// that an event ended in. Each room gives what it owes, once and in order; what was
// received behind that string counts for nothing, and comes again.
func TestRecovery(t *testing.T) {
	for _, mode := range offsets {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := servertest.Start(t, transporttest.Options{Grace: time.Millisecond, Offset: mode})
			plans := plan()
			runs := 0
			rapid.Check(t, func(rt *rapid.T) {
				runs++
				r := newRecovering(t, server, fmt.Sprintf("client-%d", runs), itsOwn)
				r.trails = mode == trailing
				if err := r.run(plans.Draw(rt, "plan")); err != nil {
					rt.Fatalf("%v\n%s", err, r.model.tail())
				}
			})
		})
	}
}

// trailing is the way of offsets in which every event comes once; in the other one
// those of the write that a cut falls into come again.
const trailing = "argument"

var offsets = []string{"event", trailing}

// TestRecoveryNeedsOffsets: a client that brings back the cursor of its newest
// event instead, as on other transports, loses or repeats events before long, and
// the model sees it.
func TestRecoveryNeedsOffsets(t *testing.T) {
	server := servertest.Start(t, transporttest.Options{Grace: time.Millisecond, Offset: trailing})
	const most = 40
	plans := plan()
	for n := range most {
		r := newRecovering(t, server, fmt.Sprintf("client-%d", n), plainCursor)
		r.trails = true
		err := r.run(plans.Example(n))
		var v violation
		if errors.As(err, &v) {
			t.Logf("run %d: %v", n+1, err)
			return
		}
		if err != nil { // what is lost is waited for in vain: that may also show elsewhere
			t.Logf("run %d: %v", n+1, err)
		}
	}
	t.Fatalf("in %d runs nothing was lost or repeated", most)
}

// move is one step of a plan. Its numbers pick among what there is at the time.
type move struct {
	Kind    string
	A, B, C int
}

// plan makes lists of steps.
func plan() *rapid.Generator[[]move] {
	kinds := []string{
		"begin", "emit", "emit", "emit", "join", "join", "join", "join", "leave", "read", "read", "read",
		"cut", "cut", "cut", "bytes", "bytes", "upgrade", "end", "restart",
	}
	one := rapid.Custom(func(t *rapid.T) move {
		return move{
			Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
			A:    rapid.IntRange(0, 1000).Draw(t, "a"), B: rapid.IntRange(0, 1000).Draw(t, "b"), C: rapid.IntRange(0, 1000).Draw(t, "c"),
		}
	})
	return rapid.SliceOfN(one, 8, 40)
}

// offsetOf says what a client brings back as its offset.
type offsetOf func(r transporttest.Recovery, lastEvent string) transporttest.Recovery

func itsOwn(r transporttest.Recovery, _ string) transporttest.Recovery { return r }

func plainCursor(r transporttest.Recovery, lastEvent string) transporttest.Recovery {
	if lastEvent != "" {
		r.Offset = lastEvent
	}
	return r
}

// recovering is one client with one session, over all its connections.
type recovering struct {
	t      *testing.T
	server transporttest.Server
	log    *transporttest.Log
	secret string
	offset offsetOf
	trails bool
	works  []*transporttest.Work // running
	jobs   []string              // all that were made
	model  *model

	io       *transporttest.IO // nil: cut
	cancel   context.CancelFunc
	recovery transporttest.Recovery
	last     string // the newest event
	via      transporttest.Via
	moved    bool         // the upgrade was begun
	left     atomic.Int64 // bytes until the connection is cut; negative: none is
	cutting  atomic.Bool  // they have run out
}

func newRecovering(t *testing.T, server transporttest.Server, client string, offset offsetOf) *recovering {
	_, secret := server.Key(client, auth.KeyOptions{})
	log := transporttest.NewLog(server, client)
	r := &recovering{t: t, server: server, log: log, secret: secret, offset: offset, model: newModel(log)}
	r.begin()
	r.begin()
	return r
}

func (r *recovering) begin() {
	w := r.log.Begin(r.t)
	r.works = append(r.works, w)
	r.jobs = append(r.jobs, w.Job)
}

// run does what a plan says, and then reads everything.
func (r *recovering) run(plan []move) error {
	defer r.cut()
	for i, m := range plan {
		if r.io == nil {
			if err := r.connect(m.C); err != nil {
				return fmt.Errorf("step %d, connect: %w", i, err)
			}
		}
		r.model.note("step %d: %v", i, m)
		if err := r.step(m); err != nil {
			return fmt.Errorf("step %d, %s: %w", i, m.Kind, err)
		}
	}
	if err := r.finish(); err != nil {
		return fmt.Errorf("the end: %w", err)
	}
	return nil
}

func (r *recovering) step(m move) error {
	switch m.Kind {
	case "begin":
		r.begin()
	case "emit":
		if len(r.works) > 0 {
			r.works[m.A%len(r.works)].Emit(r.t, 1+m.B%40, 1+m.C%10)
		}
	case "end":
		if len(r.works) > 0 {
			r.works[0].Finish(r.t)
			r.works = r.works[1:]
		}
	case "join":
		return r.join(m)
	case "leave":
		return r.leave(m)
	case "read":
		return r.readBeside(m)
	case "cut":
		err := r.read(m.A % (r.model.owed() + 1))
		r.cut()
		return err
	case "bytes":
		r.left.Store(int64(m.A * (1 + m.B%8)))
		return r.read(r.model.owed())
	case "upgrade":
		if r.via == transporttest.ViaUpgrade && !r.moved {
			r.moved = true
			r.io.Upgrade()
		}
	case "restart":
		return r.restart(m)
	}
	return nil
}

// room picks a job that was made, or the client's room.
func (r *recovering) room(n int) string {
	if n %= len(r.jobs) + 1; n > 0 {
		return r.jobs[n-1]
	}
	return ""
}

// join subscribes to a room, in one of the ways there are.
func (r *recovering) join(m move) error {
	ask := map[string]string{"jobId": r.room(m.A)}
	switch all := r.log.Entries(""); m.B % 4 {
	case 0:
		ask["from"] = "start"
	case 1:
		ask["from"] = "now"
	case 2:
		ask["lastEventId"] = all[m.C%len(all)].ID
	}
	r.model.asks(ask)
	return r.say("subscribe", ask)
}

func (r *recovering) leave(m move) error {
	room := r.room(m.A)
	if !r.model.joined(room) {
		return nil
	}
	r.model.leaves(room)
	return r.say("unsubscribe", map[string]string{"jobId": room})
}

// say sends a command. Where the connection ends under it, nobody knows whether it
// arrived.
func (r *recovering) say(event string, data map[string]string) error {
	if err := r.io.Say(event, data); err != nil {
		return r.gone(err)
	}
	return nil
}

// gone takes the end of a connection, which must be one of our own making.
func (r *recovering) gone(err error) error {
	if !r.cutting.Load() || errors.Is(err, transporttest.ErrWire) {
		return fmt.Errorf("the connection ended: %w", err)
	}
	r.cut()
	return nil
}

// cut ends the connection.
func (r *recovering) cut() {
	if r.io == nil {
		return
	}
	r.recovery = r.io.Recovery()
	r.io.Close()
	r.cancel()
	r.io = nil
}

// readBeside reads while events are written.
func (r *recovering) readBeside(m move) error {
	var writer sync.WaitGroup
	if n := r.model.owed(); len(r.works) > 0 && m.B%2 == 0 {
		w := r.works[m.C%len(r.works)]
		writer.Go(func() {
			if err := w.TryEmit(r.t, 1+m.C%20); err != nil {
				r.t.Errorf("emit: %v", err)
			}
		})
		items, err := r.take(m.A % (n + 1))
		writer.Wait() // the log has now what was read
		return errors.Join(r.model.see(items), err)
	}
	return r.read(m.A % (r.model.owed() + 1))
}

// read reads n items and lets the model see them.
func (r *recovering) read(n int) error {
	items, err := r.take(n)
	return errors.Join(r.model.see(items), err)
}

// take reads n items. So many are owed, so they come, unless the connection is cut.
func (r *recovering) take(n int) ([]seen, error) {
	var items []seen
	for len(items) < n {
		it, err := r.io.Next()
		if err != nil {
			return items, r.gone(err)
		}
		if counts(it) {
			items = append(items, r.brought(it))
		}
	}
	return items, nil
}

// counts tells what the model counts from signs of life.
func counts(it transporttest.Item) bool {
	return it.Name != transporttest.Heartbeat && it.Name != "ping" && it.Name != "connected" && it.Name != "reconnect"
}

// brought notes what the client would come back with.
func (r *recovering) brought(it transporttest.Item) seen {
	r.recovery = r.io.Recovery()
	if it.Event != nil {
		r.last = it.ID
	}
	return seen{it, r.io.Place(), r.recovery.Offset}
}

// connectionTime bounds one connection: all that it waits for has been committed.
const connectionTime = 30 * time.Second

// connect comes back with what the client has.
func (r *recovering) connect(n int) error {
	r.model.cut(r.recovery.Offset)
	r.left.Store(-1)
	r.cutting.Store(false)
	ctx, cancel := context.WithTimeout(r.t.Context(), connectionTime)
	r.via = []transporttest.Via{transporttest.ViaPolling, transporttest.ViaWebSocket, transporttest.ViaUpgrade}[n%3]
	r.moved = false
	back := r.offset(r.recovery, r.last)
	io, err := transporttest.DialIO(ctx, transporttest.Caller{Dial: r.dial, Secret: r.secret, Trails: r.trails}, r.via, back)
	if err != nil {
		cancel()
		return err
	}
	r.io, r.cancel = io, cancel
	r.model.note("connected by %s with %s: recovered %v", r.via, back.Offset, io.Recovered())
	if back.Offset != "" && !io.Recovered() {
		return violation{fmt.Sprintf("the session was not recovered from %q", back.Offset)}
	}
	if !io.Recovered() {
		r.model.fresh()
	}
	it, err := io.Next()
	if err != nil || it.Name != "connected" {
		return violation{fmt.Sprintf("a connection begins with %v %q, %v", it.Name, it.Data, err)}
	}
	r.brought(it)
	if io.Recovered() && r.recovery.Offset != back.Offset {
		return violation{fmt.Sprintf("it was recovered to %q from %q", r.recovery.Offset, back.Offset)}
	}
	return r.repeat()
}

// repeat says again what may not have arrived.
func (r *recovering) repeat() error {
	for _, room := range r.model.unsaid() {
		if err := r.say("unsubscribe", map[string]string{"jobId": room}); err != nil {
			return err
		}
	}
	for _, ask := range r.model.unanswered() {
		if err := r.say("subscribe", ask.data); err != nil {
			return err
		}
	}
	return nil
}

// dial makes connections that can be cut after some bytes.
func (r *recovering) dial(ctx context.Context) (net.Conn, error) {
	nc, err := r.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &cutConn{nc, r}, nil
}

type cutConn struct {
	net.Conn
	r *recovering
}

func (c *cutConn) Read(p []byte) (int, error) {
	left := c.r.left.Load()
	if left == 0 {
		c.r.cutting.Store(true)
		_ = c.Close()
		return 0, net.ErrClosed
	}
	if left > 0 {
		p = p[:min(int64(len(p)), left)]
	}
	n, err := c.Conn.Read(p)
	if left > 0 {
		c.r.left.CompareAndSwap(left, left-int64(n)) // else another connection has read, or there is a new limit
	}
	return n, err
}

// restart ends the server one way or the other and starts it again. Of what it
// said last the client reads all, or nothing.
func (r *recovering) restart(m move) error {
	r.cutting.Store(true)
	if m.A%2 == 0 {
		r.server.Crash()
	} else if err := r.server.Stop(); err != nil {
		return err
	}
	var err error
	if m.B%2 == 0 {
		err = r.read(1 << 30)
	}
	r.cut()
	r.server.Start()
	return err
}

// finish ends all jobs and reads up to an event behind everything.
func (r *recovering) finish() error {
	for _, w := range r.works {
		w.Finish(r.t)
	}
	r.works = nil
	if r.io == nil {
		if err := r.connect(1); err != nil {
			return err
		}
	}
	r.left.Store(-1)
	if r.cutting.Load() {
		r.cut()
		if err := r.connect(0); err != nil {
			return err
		}
	}
	r.begin() // whatever is sent once too often comes before this job's end
	r.works[0].Finish(r.t)
	ask := map[string]string{"jobId": r.jobs[len(r.jobs)-1], "from": "start"}
	r.model.asks(ask)
	if err := r.say("subscribe", ask); err != nil {
		return err
	}
	for n := r.model.owed(); n > 0; n = r.model.owed() {
		if err := r.read(n); err != nil {
			return err
		}
	}
	return nil
}

// seen is one item, the offset that belongs to it or to the newest before it, and
// the one that the client has received by then.
type seen struct {
	transporttest.Item
	offset, held string
}

// violation is something that a room owes and has not given, or the reverse.
type violation struct{ text string }

func (v violation) Error() string { return v.text }
