package socketio_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
	"github.com/jobcast/jobcast/transport/socketio"
	"github.com/jobcast/jobcast/transport/wire"
)

func TestMain(m *testing.M) { engineiotest.Main(m) }

// rig is a real server with the namespaces / and /custom, which take everybody,
// /closed, which refuses everybody, and /broken, which fails.
type rig struct {
	*engineiotest.Client
	t      *testing.T
	engine *engineio.Server
	pool   *wire.Pool

	mu       sync.Mutex // guards the fields below
	peers    []*peer
	admitted int
	released int
	prepare  func(*peer) // of each new peer, during Connect; nil: nothing
}

type options struct {
	engineio.Options
	ConnectTimeout time.Duration
	Main           bool // instead of the namespace /
}

// inBubble runs f against a server in fake time.
func inBubble(t *testing.T, o options, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fb, pool := engineiotest.NewApp()
		r := &rig{t: t, pool: pool}
		spaces := map[string]socketio.Namespace{
			"/": open{r}, "/custom": open{r},
			"/closed": refuses{&socketio.Refusal{Message: "not today", Data: map[string]int{"code": 7}}},
			"/out":    refuses{&socketio.Refusal{Message: "not today", Data: 7, Joined: "error"}},
			"/broken": refuses{errors.New("the reason")},
		}
		if o.Main {
			delete(spaces, "/")
		}
		srv := socketio.New(socketio.Options{
			Namespaces:     spaces,
			Main:           o.Main,
			Admit:          r.admit,
			Released:       r.release,
			ConnectTimeout: o.ConnectTimeout,
		})
		o.Pool, o.Open = pool, srv.Open
		r.engine = engineio.New(o.Options)
		fb.All("/socket.io/", r.engine.Serve)
		t.Cleanup(r.check)
		dial := engineiotest.Memory(t, fb, pool)
		t.Cleanup(r.engine.Close)
		r.Client = engineiotest.NewClient(t, dial, "/socket.io/", false)
		f(t, r)
	})
}

func (r *rig) admit(*fiber.Ctx, func(error)) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.admitted++
	return r, nil
}

func (r *rig) release(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v != r {
		r.t.Errorf("released %v", v)
	}
	r.released++
}

// check looks, at the end, whether the contract with the peers was kept.
func (r *rig) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.admitted != r.released {
		r.t.Errorf("%d were admitted and %d released", r.admitted, r.released)
	}
	for _, p := range r.peers {
		p.mu.Lock()
		if p.closed != 1 || len(p.wrong) > 0 {
			r.t.Errorf("%s: Closed was called %d times, %q", p.socket.ID(), p.closed, p.wrong)
		}
		p.mu.Unlock()
	}
}

// last returns the newest peer.
func (r *rig) last() *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers[len(r.peers)-1]
}

// open is a namespace that takes everybody.
type open struct{ r *rig }

func (o open) Connect(s *socketio.Socket, auth json.RawMessage) (socketio.Peer, error) {
	p := &peer{socket: s, auth: string(auth), over: make(chan error, 1)}
	o.r.mu.Lock()
	defer o.r.mu.Unlock()
	o.r.peers = append(o.r.peers, p)
	if o.r.prepare != nil {
		o.r.prepare(p)
	}
	return p, nil
}

// refuses is a namespace that takes nobody.
type refuses struct{ err error }

func (n refuses) Connect(*socketio.Socket, json.RawMessage) (socketio.Peer, error) { return nil, n.err }

// peer echoes: `say` comes back as the event `said`, `ask` as an acknowledgement.
// Other events are noted.
type peer struct {
	socket  *socketio.Socket
	auth    string
	onEvent func()
	onTick  func(time.Time) error
	over    chan error

	mu     sync.Mutex // guards the fields below
	events []string
	busy   int
	closed int
	wrong  []string
}

// enter notes a call that the contract forbids.
func (p *peer) enter(what string) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed > 0 {
		p.wrong = append(p.wrong, what+" after Closed")
	}
	p.busy++
	return func() {
		p.mu.Lock()
		p.busy--
		p.mu.Unlock()
	}
}

func (p *peer) Event(e socketio.Event) error {
	defer p.enter("Event")()
	p.mu.Lock()
	p.events = append(p.events, e.Name)
	p.mu.Unlock()
	if p.onEvent != nil {
		p.onEvent()
	}
	switch {
	case e.Name == "say":
		return p.socket.Return(&e, "said")
	case e.Name == "ask" && e.WantsAck():
		return p.socket.Return(&e, "")
	case e.Name == "fail":
		return errWanted
	}
	return nil
}

var errWanted = errors.New("wanted by the test")

func (p *peer) Fill(*engineio.Writer) bool {
	defer p.enter("Fill")()
	return false
}

func (p *peer) Goodbye(w *engineio.Writer, _ time.Duration) {
	defer p.enter("Goodbye")()
	w.Text([]byte(`2["bye"]`))
}

func (p *peer) Tick(now time.Time) error {
	defer p.enter("Tick")()
	if p.onTick != nil {
		return p.onTick(now)
	}
	return nil
}

func (p *peer) Closed(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy > 0 {
		p.wrong = append(p.wrong, "Closed beside another call")
	}
	if p.closed++; p.closed == 1 {
		p.over <- cause
	}
}

// wantCause waits for the end of a peer.
func (p *peer) wantCause(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-p.over:
		if !errors.Is(err, want) {
			t.Errorf("closed with %v, want %v", err, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("not closed")
	}
}

// client is one connection on a WebSocket.
type client struct {
	*engineiotest.WebSocket
	t *testing.T
}

func (r *rig) connection() *client {
	r.t.Helper()
	ws, _ := r.OpenWebSocket("")
	return &client{ws, r.t}
}

var sidOnly = regexp.MustCompile(`^\{"sid":"([A-Za-z0-9_-]{20})"\}$`)

// joins connects to a namespace; prefix is how that stands in packets: empty, or
// `/name,`.
func (c *client) joins(prefix string) (sid string) {
	c.t.Helper()
	c.Send("40" + prefix)
	return c.joined(prefix)
}

// joined expects the answer to a CONNECT, of which sid is the only member.
func (c *client) joined(prefix string) (sid string) {
	c.t.Helper()
	text := c.Text()
	head := "40" + prefix
	if len(text) < len(head) || text[:len(head)] != head || !sidOnly.MatchString(text[len(head):]) {
		c.t.Fatalf("CONNECT was answered %q", text)
	}
	return sidOnly.FindStringSubmatch(text[len(head):])[1]
}

// talks checks that events go through.
func (c *client) talks(prefix string) {
	c.t.Helper()
	c.Send("42" + prefix + `["say","still here"]`)
	c.Gets("42" + prefix + `["said","still here"]`)
}

// connected is a connection that has joined the main namespace.
func (r *rig) connected() *client {
	r.t.Helper()
	c := r.connection()
	c.joins("")
	return c
}

// wakes makes the connection of a socket look for something to send, all the time,
// until stop is called.
func wakes(s *socketio.Socket) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				s.Wake()
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
