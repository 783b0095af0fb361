package engineiotest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/transport/transporttest"
	"github.com/jobcast/jobcast/transport/wire"
)

// Dial connects to the server under test.
type Dial func(ctx context.Context) (net.Conn, error)

// NewApp returns an application and the pool of its connections, as a program
// sets them up.
func NewApp() (*fiber.App, *wire.Pool) {
	app := fiber.New(fiber.Config{BodyLimit: 4 << 20, DisableStartupMessage: true, StrictRouting: true})
	app.Server().KeepHijackedConns = true
	wire.Prepare(app.Server())
	return app, wire.NewPool(wire.Options{Serve: app.Server().ServeConn})
}

// TCP serves until the test ends.
func TCP(t *testing.T, app *fiber.App, pool *wire.Pool) Dial {
	t.Helper()
	ln, err := wire.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, app, pool, ln)
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}
}

// Memory serves inside a bubble of testing/synctest until the test ends.
func Memory(t *testing.T, app *fiber.App, pool *wire.Pool) Dial {
	pipe := transporttest.NewPipe()
	t.Cleanup(func() { <-time.After(transporttest.NapTime) })
	serve(t, app, pool, pipe)
	return pipe.Dial
}

func serve(t *testing.T, app *fiber.App, pool *wire.Pool, ln net.Listener) {
	served := make(chan error, 1)
	guard := wire.NewGuard(ln, wire.GuardOptions{})
	go func() { served <- app.Listener(guard) }()
	t.Cleanup(func() {
		_ = guard.Close()
		pool.Close()
		_ = app.ShutdownWithTimeout(patience) // its listener is closed already
		<-served
	})
}

// Main runs a package's tests and looks for goroutines that are left.
func Main(m *testing.M) {
	transporttest.KeepDateOutside()
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // sees its end only after a nap: see transporttest.NapTime
}
