// Command conformance serves the two profiles that the official test suites of
// Engine.IO (v4) and Socket.IO (v5) expect, on the packages of this project:
//
//	go run ./transport/socketio/conformance --addr 127.0.0.1:3000
//
// On /engine.io/ each message comes back unchanged. On /socket.io/ there are the
// namespaces / and /custom; both emit `auth` with what CONNECT carried, and
// return the arguments of `message` as `message-back`, those of
// `message-with-ack` as the acknowledgement. It is for tests only.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/socketio"
	"github.com/jobcast/jobcast/transport/wire"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	ln, err := wire.Listen(ctx, addr)
	if err != nil {
		return err
	}
	app, pool := newApp(official)
	defer pool.Close()
	served := make(chan error, 1)
	go func() { served <- app.Listener(wire.NewGuard(ln, wire.GuardOptions{})) }()
	fmt.Fprintf(os.Stdout, "listening on http://%s\n", ln.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return ln.Close()
	}
}

// times of the profiles.
type times struct{ interval, timeout, connect time.Duration }

// official are those that the suites expect.
var official = times{300 * time.Millisecond, 200 * time.Millisecond, time.Second}

// newApp puts both profiles on one application.
func newApp(t times) (*fiber.App, *wire.Pool) {
	app := fiber.New(fiber.Config{BodyLimit: 4 << 20, DisableStartupMessage: true, StrictRouting: true})
	app.Server().KeepHijackedConns = true
	wire.Prepare(app.Server())
	pool := wire.NewPool(wire.Options{Serve: app.Server().ServeConn})
	engine := func(o engineio.Options) *engineio.Server {
		o.Pool, o.PingInterval, o.PingTimeout = pool, t.interval, t.timeout
		return engineio.New(o)
	}
	echo := engine(engineio.Options{Open: func(_ *fiber.Ctx, s *engineio.Session) (engineio.Application, error) {
		return &echoes{session: s}, nil
	}})
	back := socketio.New(socketio.Options{
		Namespaces:     map[string]socketio.Namespace{"/": namespace{}, "/custom": namespace{}},
		ConnectTimeout: t.connect,
	})
	app.All("/engine.io/", echo.Serve)
	app.All("/socket.io/", engine(engineio.Options{Open: back.Open}).Serve)
	return app, pool
}

// echoes sends each message back.
type echoes struct {
	session *engineio.Session

	mu  sync.Mutex // guards out
	out []engineio.Message
}

func (e *echoes) Receive(m engineio.Message) error {
	e.mu.Lock()
	e.out = append(e.out, m)
	e.mu.Unlock()
	e.session.Wake()
	return nil
}

func (e *echoes) Fill(w *engineio.Writer) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.out {
		if m.Binary {
			w.Binary(m.Data)
		} else {
			w.Text(m.Data)
		}
	}
	e.out = nil
	return false
}

func (e *echoes) Goodbye(*engineio.Writer, time.Duration) {}
func (e *echoes) Tick(time.Time) error                    { return nil }
func (e *echoes) Closed(error)                            {}

// namespace accepts everybody.
type namespace struct{}

func (namespace) Connect(s *socketio.Socket, auth json.RawMessage) (socketio.Peer, error) {
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	return &peer{socket: s}, s.Emit("auth", auth)
}

// peer returns what it gets.
type peer struct{ socket *socketio.Socket }

func (p *peer) Event(e socketio.Event) error {
	switch {
	case e.Name == "message":
		return p.socket.Return(&e, "message-back")
	case e.Name == "message-with-ack" && e.WantsAck():
		return p.socket.Return(&e, "")
	}
	return nil
}

func (*peer) Fill(*engineio.Writer) bool              { return false }
func (*peer) Goodbye(*engineio.Writer, time.Duration) {}
func (*peer) Tick(time.Time) error                    { return nil }
func (*peer) Closed(error)                            {}
