package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport/wire"
)

// Settings of the HTTP server that no operator needs to turn.
const (
	maxHeaderBytes = wire.MaxHead     // request line and headers; 431 beyond. A JWT and cookies fit
	readTimeout    = wire.HeadTime    // the first byte; then a head; then a body that is read at once: without it slow senders hold sockets for ever
	idleTimeout    = 75 * time.Second // between requests of a connection; longer than common proxies keep theirs
)

// How large a request body may be, in bytes, unless set otherwise.
const (
	DefaultMaxBody      = 256 << 10
	DefaultMaxBatchBody = 8 << 20 // of a batch of jobs
)

// Authenticator checks a secret, and gives up by itself if its store does not answer.
// *auth.Verifier is one. addr is where the request came from, for the limit on failed
// logins.
type Authenticator interface {
	Login(ctx context.Context, secret string, addr netip.Addr) (auth.Principal, error)
}

// Options set up a door. Only Auth is required.
type Options struct {
	Auth Authenticator
	// TrustedProxies may say in X-Forwarded-For where a request came from.
	// None: that header is ignored.
	TrustedProxies []netip.Prefix
	// Origins lists the web origins (`https://app.example.com`) that browsers
	// may call from; empty or "*": all. The server's own origin always may.
	Origins []string
	// BasePath is what paths begin with, as in `/jobs`; empty: nothing. Routes are
	// mounted without it, and answers name paths with it.
	BasePath     string
	MaxBody      int          // bytes of a request body; 0: DefaultMaxBody
	MaxBatchBody int          // bytes of the body of a batch; 0: DefaultMaxBatchBody
	Log          *slog.Logger // nil: slog.Default()

	OnRefused func(Code) // is told of each refused request and must not block; nil: nobody is
}

// Door is the shared entrance of all transports. It is safe for concurrent use.
type Door struct {
	auth     Authenticator
	proxies  []netip.Prefix
	origins  []string // empty: all
	base     string
	maxBody  int
	maxBatch int
	log      *slog.Logger
	refused  func(Code)

	turns turns

	handlers *wire.Handlers // of App
	bodies   bodies

	draining context.Context // ends when Drain is called
	drain    context.CancelFunc
}

// New makes a door. It refuses an origin that is not `scheme://host[:port]`,
// `null` or `*`.
func New(o Options) (*Door, error) {
	if o.Auth == nil {
		return nil, fmt.Errorf("door: no authenticator")
	}
	origins, err := parseOrigins(o.Origins)
	if err != nil {
		return nil, err
	}
	d := &Door{
		auth: o.Auth, proxies: slices.Clone(o.TrustedProxies), origins: origins, base: o.BasePath,
		maxBody: o.MaxBody, maxBatch: o.MaxBatchBody, log: o.Log, refused: o.OnRefused,
	}
	if d.refused == nil {
		d.refused = func(Code) {}
	}
	if d.maxBody <= 0 {
		d.maxBody = DefaultMaxBody
	}
	if d.maxBatch <= 0 {
		d.maxBatch = DefaultMaxBatchBody
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	d.bodies = newBodies(max(d.maxBody, d.maxBatch))
	d.draining, d.drain = context.WithCancel(context.Background())
	return d, nil
}

// App makes the fiber application that all transports mount on: the door's gate
// is its first middleware and its error handler. Each path is one resource:
// routing is case sensitive and a trailing slash counts.
//
// KeepHijackedConns is on: whoever hijacks a connection owns it and must close
// it. With it off, fasthttp would lend a closed stream's wrapper to the next
// caller, and a late write would reach another tenant.
//
// Handlers run when a request's head was read, and ask for its body themselves (Body);
// so connections have to come from a wire.Guard.
func (d *Door) App() *fiber.App {
	app := fiber.New(fiber.Config{
		BodyLimit:                    max(d.maxBody, d.maxBatch),
		CaseSensitive:                true,
		DisablePreParseMultipartForm: true,
		DisableStartupMessage:        true,
		ErrorHandler:                 d.handleError,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               maxHeaderBytes,
		ReadTimeout:                  readTimeout,
		ReduceMemoryUsage:            true,
		StrictRouting:                true,
		// WriteTimeout stays 0: it would cut healthy streams. Streams set a
		// deadline for each write instead.
	})
	server := app.Server()
	server.KeepHijackedConns = true
	server.Handler = d.knownMethods(app, server.Handler)
	d.handlers = wire.Prepare(server)
	app.Use(d.gate)
	return app
}

// knownMethods gives each request the one spelling of its path, without the base path,
// and answers methods that fiber does not know, which it would refuse with a text of its
// own before any middleware.
func (d *Door) knownMethods(app *fiber.App, next fasthttp.RequestHandler) fasthttp.RequestHandler {
	methods := app.Config().RequestMethods
	return func(rc *fasthttp.RequestCtx) {
		plainTarget(rc)
		if d.base != "" {
			rc.Request.SetRequestURIBytes(Based(d.base, rc.Request.Header.RequestURI()))
		}
		if slices.Contains(methods, string(rc.Method())) {
			next(rc)
			return
		}
		c := app.AcquireCtx(rc)
		defer app.ReleaseCtx(c)
		refusal := Refuse(MethodNotAllowed, "The server does not know this method.").With(fiber.HeaderAllow, allowMethods)
		if err := d.handleError(c, refusal); err != nil {
			c.Status(fiber.StatusInternalServerError)
		}
	}
}

// BasePath returns what the paths in answers begin with.
func (d *Door) BasePath() string { return d.base }

// MaxBody returns the largest request body in bytes.
func (d *Door) MaxBody() int { return d.maxBody }

// MaxBatchBody returns the largest body of a batch in bytes.
func (d *Door) MaxBatchBody() int { return d.maxBatch }

// Principal says who is asking, and that it may do everything in scopes. It
// returns a malformed, ambiguous_credentials, unauthenticated, login_limit or
// forbidden refusal, checked in this order.
func (d *Door) Principal(c *fiber.Ctx, scopes ...auth.Scope) (auth.Principal, error) {
	secret, err := Credential(c)
	if err != nil {
		return auth.Principal{}, err
	}
	p, err := d.Login(secret, d.ClientAddr(c), scopes...)
	if err == nil {
		infoOf(c).who = p
		wire.LetIn(c.Context().Conn())
	}
	return p, err
}

// Part is the problem that answers a part of a request, of which other parts may be
// answered otherwise. Trouble of our own is logged.
func (d *Door) Part(err error, request, command string) *Problem {
	p := Answer(err, d.log, request, command)
	p.Instance = request
	return p
}

// Login checks a secret that came by another way than the request's headers and
// query, for example in a Socket.IO CONNECT. An empty secret is unauthenticated.
func (d *Door) Login(secret string, addr netip.Addr, scopes ...auth.Scope) (auth.Principal, error) {
	if secret == "" {
		return auth.Principal{}, auth.ErrUnauthenticated
	}
	p, err := d.auth.Login(context.Background(), secret, addr)
	if err != nil {
		return auth.Principal{}, fmt.Errorf("log in: %w", err)
	}
	for _, s := range scopes {
		if !p.May(s) {
			return auth.Principal{}, Refuse(Forbidden, fmt.Sprintf("This request needs the scope %q.", s))
		}
	}
	return p, nil
}
