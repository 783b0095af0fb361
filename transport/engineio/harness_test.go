package engineio_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
	"github.com/jobcast/jobcast/transport/wire"
)

func TestMain(m *testing.M) { engineiotest.Main(m) }

// rig is a real server whose applications do what a test says.
type rig struct {
	*engineiotest.Client
	t    *testing.T
	dial engineiotest.Dial
	srv  *engineio.Server
	pool *wire.Pool

	mu      sync.Mutex // guards the fields below
	apps    map[string]*app
	prepare func(*app) // of each new application; nil: nothing
}

// inBubble runs f against a server in fake time.
func inBubble(t *testing.T, o engineio.Options, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, newRig(t, o, engineiotest.Memory))
	})
}

func newRig(t *testing.T, o engineio.Options, serve func(*testing.T, *fiber.App, *wire.Pool) engineiotest.Dial) *rig {
	fb, pool := engineiotest.NewApp()
	r := &rig{t: t, pool: pool, apps: make(map[string]*app)}
	o.Pool, o.Open = pool, r.open
	r.srv = engineio.New(o)
	fb.All("/engine.io/", r.srv.Serve)
	t.Cleanup(r.check) // when everything is over
	r.dial = serve(t, fb, pool)
	t.Cleanup(r.srv.Close)
	r.Client = engineiotest.NewClient(t, r.dial, "/engine.io/", false)
	return r
}

func (r *rig) open(_ *fiber.Ctx, s *engineio.Session) (engineio.Application, error) {
	a := &app{session: s, over: make(chan error, 2)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apps[s.ID()] = a
	if r.prepare != nil {
		r.prepare(a)
	}
	return a, nil
}

// app returns the application of a session.
func (r *rig) app(sid string) *app {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apps[sid]
}

// check looks, at the end, whether the contract with the applications was kept.
func (r *rig) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for sid, a := range r.apps {
		a.mu.Lock()
		if a.closed != 1 {
			r.t.Errorf("%s: Closed was called %d times", sid, a.closed)
		}
		if r.t.Failed() {
			r.t.Logf("%s: ended with %v", sid, a.cause)
		}
		for _, w := range a.wrong {
			r.t.Errorf("%s: %s", sid, w)
		}
		a.mu.Unlock()
	}
}

// app is an application that notes what it gets and sends what it is told.
type app struct {
	session   *engineio.Session
	echo      bool                         // send each message back
	onReceive func(engineio.Message) error // called for each message; nil: nothing
	onTick    func(time.Time) error
	endless   string     // sent for ever, if it is not empty
	over      chan error // gets the cause

	mu     sync.Mutex // guards the fields below
	in     []string
	out    []engineio.Message
	busy   int // of Receive, and of Fill and Goodbye in the upper half
	closed int
	cause  error
	wrong  []string
}

const fills = 1 << 16

// enter notes a call that the contract forbids.
func (a *app) enter(what string, n int) (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed > 0 {
		a.wrong = append(a.wrong, what+" after Closed")
	}
	if n == 1 && a.busy%fills > 0 || n == fills && a.busy >= fills {
		a.wrong = append(a.wrong, what+" overlaps")
	}
	a.busy += n
	return func() {
		a.mu.Lock()
		a.busy -= n
		a.mu.Unlock()
	}
}

func (a *app) Receive(m engineio.Message) error {
	defer a.enter("Receive", 1)()
	text := string(m.Data)
	if m.Binary {
		text = "binary:" + text
	}
	a.mu.Lock()
	a.in = append(a.in, text)
	if a.echo {
		a.out = append(a.out, m)
	}
	a.mu.Unlock()
	if a.echo {
		a.session.Wake()
	}
	if a.onReceive != nil {
		return a.onReceive(m)
	}
	return nil
}

func (a *app) Fill(w *engineio.Writer) bool {
	defer a.enter("Fill", fills)()
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.out) > 0 && !w.Full() {
		m := a.out[0]
		a.out = a.out[1:]
		if m.Binary {
			w.Binary(m.Data)
		} else {
			w.Text(m.Data)
		}
	}
	for a.endless != "" && !w.Full() {
		w.Text([]byte(a.endless))
	}
	return len(a.out) > 0 || a.endless != ""
}

func (a *app) Goodbye(w *engineio.Writer, _ time.Duration) {
	defer a.enter("Goodbye", fills)()
	w.Text([]byte("bye"))
}

func (a *app) Tick(now time.Time) error {
	defer a.enter("Tick", 0)()
	if a.onTick != nil {
		return a.onTick(now)
	}
	return nil
}

func (a *app) Closed(cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy > 0 {
		a.wrong = append(a.wrong, "Closed beside another call")
	}
	if a.closed++; a.closed == 1 {
		a.cause = cause
		a.over <- cause
	}
}

// send hands messages over for sending.
func (a *app) send(texts ...string) {
	a.mu.Lock()
	for _, t := range texts {
		a.out = append(a.out, engineio.Message{Data: []byte(t)})
	}
	a.mu.Unlock()
	a.session.Wake()
}

func (a *app) sendBinary(data string) {
	a.mu.Lock()
	a.out = append(a.out, engineio.Message{Binary: true, Data: []byte(data)})
	a.mu.Unlock()
	a.session.Wake()
}

// got checks all that was received so far.
func (a *app) got(t *testing.T, want ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.in, want) {
		t.Fatalf("the application got %.300q, want %.300q", a.in, want)
	}
}

// lives checks that a session works in both directions over long-polling.
func (r *rig) lives(p *engineiotest.Poller) {
	r.t.Helper()
	a := r.app(p.SID)
	a.mu.Lock()
	before := slices.Clone(a.in)
	a.mu.Unlock()
	p.Sent("4are you there")
	a.got(r.t, append(before, "are you there")...)
	a.send("yes")
	p.Gets("4yes")
}

// neighbour opens a session that must not notice what happens to others.
func (r *rig) neighbour() (check func()) {
	p := r.Open("")
	return func() {
		r.t.Helper()
		r.lives(p)
	}
}

func many(n int, packet string) []string { return slices.Repeat([]string{packet}, n) }

func joined(packets ...string) string { return strings.Join(packets, "\x1e") }
