package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/jobs/action/browser"
	"github.com/jobcast/jobcast/jobs/vault"
	"github.com/jobcast/jobcast/store"
	"github.com/jobcast/jobcast/store/files"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/events"
	"github.com/jobcast/jobcast/transport/poll"
	"github.com/jobcast/jobcast/transport/rest/claim"
	"github.com/jobcast/jobcast/transport/screen"
	"github.com/jobcast/jobcast/transport/socketio"
	"github.com/jobcast/jobcast/transport/socketio/gateway"
	"github.com/jobcast/jobcast/transport/sse"
	"github.com/jobcast/jobcast/transport/wire"
	"github.com/jobcast/jobcast/transport/ws"
)

// Run serves until ctx ends, then drains. What a person wants to see of the start goes
// to out, the log to logs; terminal says that out is one, and shows what must not be kept
// anywhere. A *SettingError says which settings cannot be used.
func Run(ctx context.Context, set *Config, out, logs io.Writer, terminal bool) error {
	if err := set.Check(); err != nil {
		return err
	}
	log := set.Logger(logs)
	srv, err := New(ctx, set, log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	ln, err := wire.Listen(ctx, set.Addr)
	if err != nil {
		return unlessStopped(ctx, errors.Join(fmt.Errorf("listen on %s: %w", set.Addr, err), srv.discard()))
	}
	srv.Start(ln)
	if err := srv.announce(ctx, out, terminal); err != nil {
		log.Error("the start-up failed", "error", err)
	}
	select {
	case <-ctx.Done():
	case err = <-srv.failed:
		log.Error("serving stopped", "error", err)
	}
	if stopped := srv.Stop(); err == nil {
		err = stopped
	}
	return err
}

// unlessStopped drops what went wrong with a start that a signal ended: stopping is
// what was asked for.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// Server is everything that serves one data folder.
type Server struct {
	set *Config
	log *slog.Logger

	store     store.Store
	files     *files.Files
	hub       *hub.Hub
	service   *jobs.Service
	actions   *action.Registry
	browsers  *browser.Browsers
	processor *jobs.Processor
	vault     *vault.Vault // nil: there is no key for it
	signer    *auth.Signer
	verifier  *auth.Verifier
	door      *transport.Door
	pool      *wire.Pool
	sse       *sse.Handler
	poll      *poll.Handler
	events    *events.Handler
	screen    *screen.Handler
	ws        *ws.Handler
	engine    *engineio.Server
	gateway   *gateway.Gateway
	claims    *claim.Handler
	metrics   *metrics
	history   jobs.History
	app       *fiber.App

	ln       *wire.Guard
	failed   chan error // gets the listener's error; cap 1
	verifies context.CancelFunc
	running  sync.WaitGroup // the verifier's poll and the listener
}

// New opens the store and puts the parts together; nothing runs yet that a client could
// see. set must have been checked.
func New(ctx context.Context, set *Config, log *slog.Logger) (*Server, error) {
	s := &Server{set: set, log: log, metrics: newMetrics(), failed: make(chan error, 1)}
	publisher := &publisher{appended: func(n int) { s.metrics.appended.Add(float64(n)) }}
	opened, err := store.Open(ctx, sqliteURL(set.Data), store.Options{
		Publisher: publisher, Logger: log, Serving: true, DefaultLeaseTTL: set.LeaseTTL, BasePath: set.BasePath,
		OnBatch:   func(rows int) { s.metrics.batch.Observe(float64(rows)) },
		OnChanges: func(all []jobs.Change) { s.history.Record(all, time.Now()) },
		Limits:    set.limits(),
	})
	if err != nil {
		return nil, err
	}
	s.store = opened
	s.hub = hub.New(s.store)
	publisher.hub.Store(s.hub)
	if err := s.openFiles(ctx); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	if err := s.openVault(ctx); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	entrusted := jobs.ServiceOptions{LeaseTTL: set.LeaseTTL, Files: s.files, BasePath: set.BasePath, Logger: log}
	if s.vault != nil {
		entrusted.Vault = s.vault
	}
	s.service = jobs.NewService(s.store, entrusted)
	reach := action.Options{AllowPrivateAddresses: set.AllowPrivate, Hosts: jobs.Hosts{Allow: set.AllowHosts, Deny: set.DenyHosts}}
	s.browsers = browser.New(browser.Options{
		Path: set.Browser, Contexts: set.Browsers, MaxMemory: int64(set.BrowserMemory), NoJail: set.BrowserBare, NoSandbox: set.BrowserUnsafe, AllowEvaluate: set.AllowEvaluate,
		Guard: action.NewGuard(reach), Logger: log,
	})
	s.actions = action.Builtin(reach, s.browsers.Actions()...)
	s.processor = jobs.NewProcessor(s.service, s.actions, jobs.ProcessorOptions{
		Concurrency: set.Concurrency, PerClient: set.MaxRunning, Retention: set.Retention, LeaseTTL: set.LeaseTTL, Browsers: set.Browsers, Logger: log,
	})
	if s.signer, err = openSigner(ctx, s.store); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	s.verifier = auth.NewVerifier(s.store, auth.VerifierOptions{
		Limits: auth.Limits{PerKey: set.MaxConnections, PerClient: set.MaxPerClient}, Signer: s.signer, Logger: log,
	})
	if err := s.transports(); err != nil {
		return nil, errors.Join(&SettingError{err}, s.discard())
	}
	return s, nil
}

// openSigner signs with the store's secret, which the very first start makes.
func openSigner(ctx context.Context, secrets auth.Secrets) (*auth.Signer, error) {
	secret, err := secrets.SigningSecret(ctx)
	if err != nil {
		return nil, fmt.Errorf("read signing secret: %w", err)
	}
	return auth.NewSigner(secret)
}

// openVault opens the vault, if there is a key for it.
func (s *Server) openVault(ctx context.Context) error {
	path := s.set.SecretKeyFile
	if path == "" {
		return nil
	}
	key, open, err := vault.ReadKey(path)
	if err != nil {
		return &SettingError{fmt.Errorf("--secret-key-file: %w", err)}
	}
	if open {
		s.log.Warn("others may read the key of secrets: chmod 600 keeps it closed", "path", path)
	}
	s.vault, err = vault.Open(ctx, s.store, key)
	var wrong *vault.WrongKeyError
	if errors.As(err, &wrong) {
		return &SettingError{fmt.Errorf("--secret-key-file: %s is not the key of %s, which holds %w", path, s.set.Data, wrong)}
	}
	return err
}

// openFiles opens the folder of artifacts, and removes what a crash left in it.
func (s *Server) openFiles(ctx context.Context) (err error) {
	if s.files, err = files.Open(s.set.Data); err != nil {
		return err
	}
	n, err := s.files.Sweep(ctx, s.store.KnownFiles)
	if err != nil {
		return fmt.Errorf("sweep artifacts: %w", err)
	}
	if n > 0 {
		s.log.Info("files without an artifact were removed", "files", n)
	}
	return nil
}

// transports makes the door and everything behind it.
func (s *Server) transports() (err error) {
	s.door, err = transport.New(transport.Options{
		Auth: s.verifier, TrustedProxies: s.set.TrustedProxies, Origins: s.set.CORSOrigins,
		BasePath: s.set.BasePath, MaxBody: int(s.set.MaxBody), MaxBatchBody: int(s.set.MaxBatchBody), Log: s.log, OnRefused: s.metrics.refused,
	})
	if err != nil {
		return err
	}
	s.app = s.door.App()
	s.pool = wire.NewPool(wire.Options{Log: s.log, Serve: s.app.Server().ServeConn, IdleTimeout: s.app.Config().IdleTimeout})
	streams, observe := s.verifier.Streams(), s.metrics.observer()
	s.sse = sse.New(sse.Options{
		Door: s.door, Streams: streams, Hub: s.hub, Pool: s.pool,
		PingInterval: s.set.PingInterval, Log: s.log, Observe: observe,
	})
	s.poll = poll.New(poll.Options{Door: s.door, Streams: streams, Hub: s.hub, Pool: s.pool, Observe: observe})
	s.events = events.New(events.Options{Door: s.door, SSE: s.sse, Poll: s.poll, Jobs: s.service})
	s.screen = screen.New(screen.Options{
		Door: s.door, Streams: streams, Jobs: s.service, Pool: s.pool, Log: s.log,
		Look: func(job string, wake func()) (screen.Look, bool) {
			look := s.browsers.Look(job, wake)
			return look, look != nil
		},
	})
	s.ws = ws.New(ws.Options{
		Door: s.door, Streams: streams, Hub: s.hub, Pool: s.pool,
		PingInterval: s.set.PingInterval, PongTimeout: s.set.PongTimeout, Log: s.log, Observe: observe,
	})
	s.gateway = gateway.New(gateway.Options{
		Door: s.door, Streams: streams, Hub: s.hub, Sessions: s.store, Signer: s.signer,
		PingInterval: s.set.PingInterval, Log: s.log, Observe: observe, Offset: gateway.Offset(s.set.SocketIOOffset), NestJS: s.set.Compat == "nestjs",
	})
	interval := min(engineio.DefaultPingInterval, s.set.PongTimeout/2)
	s.engine = engineio.New(engineio.Options{
		Pool: s.pool, Open: socketio.New(s.gateway.Options()).Open, LogRepeats: s.door.LogRepeats, Payload: s.door.Payload, MaxPayload: min(gateway.MaxMessage, s.door.MaxBody()), Log: s.log,
		PingInterval: interval, PingTimeout: min(engineio.DefaultPingTimeout, s.set.PongTimeout-interval),
	})
	s.claims = claim.New(claim.Options{
		Door: s.door, Streams: streams, Check: s.verifier.Check, Jobs: s.service, Pool: s.pool, Log: s.log,
	})
	s.metrics.watch(streams, s.store, s.set.limits(), s.processor.Stats, s.pool.Panics, s.log)
	s.metrics.registry.MustRegister(&browserFigures{s.browsers.Stats})
	s.routes()
	return nil
}

// guard makes ln one that strangers cannot fill.
func (s *Server) guard(ln net.Listener) *wire.Guard {
	g := wire.NewGuard(ln, wire.GuardOptions{Holder: s.door.Holder, Full: transport.Full(), Log: s.log})
	s.metrics.listen(g.Stats)
	return g
}

// Start begins to serve on ln.
func (s *Server) Start(ln net.Listener) {
	s.ln = s.guard(ln)
	ctx, cancel := context.WithCancel(context.Background())
	s.verifies = cancel
	s.running.Go(func() { s.verifier.Run(ctx) })
	s.running.Go(func() { trimMemory(ctx) })
	s.processor.Start()
	s.warnOfBrowser()
	s.running.Go(func() { browser.Tidy(s.log) })
	s.running.Go(func() {
		if err := s.app.Listener(s.ln); err != nil && !s.door.Draining() {
			s.failed <- err
		}
	})
	s.log.Info("serving", "addr", ln.Addr().String(), "data", s.set.Data, "version", Version())
}

// warnOfBrowser says what stands between pages and this machine, if that is less than it
// should be.
func (s *Server) warnOfBrowser() {
	if s.set.Browser == browser.Off {
		return
	}
	if s.set.BrowserBare {
		s.log.Warn("--browser-no-jail: a page that breaks out of the browser sees this machine's files, sockets and networks")
	}
	if s.set.BrowserUnsafe {
		s.log.Warn("--browser-no-sandbox: a page that breaks out of its script has the rights of the browser")
	}
}

// Stop drains, and ends what New and Start began. Its order matters: be not ready and
// refuse what is new; close the listener; begin no more jobs; say goodbye to every
// stream; finish the requests; let running jobs end or hand them back; close the store.
// Its error says that jobs were not handed back, or that the store could not be closed.
// Clients whose connection or request is cut are only logged: they come back.
func (s *Server) Stop() error {
	s.log.Info("draining", "grace", s.set.ShutdownGrace, "connections", s.pool.Len())
	deadline := time.Now().Add(s.set.ShutdownGrace)
	grace, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	s.door.Drain()
	_ = s.ln.Close() // the error is that of a listener that has failed already
	s.service.StopClaims()
	s.processor.StopClaiming()
	if err := s.goodbye(deadline); err != nil {
		s.log.Warn("some connections were cut", "error", err)
	}
	s.engine.Close()
	requests, done := context.WithTimeout(context.Background(), requestsTime)
	defer done()
	if err := s.app.ShutdownWithContext(requests); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("some requests were not finished", "error", err)
	}
	s.ln.Cut() // what has not ended by now does not by itself
	s.door.Wait()
	err := errors.Join(s.processor.Stop(grace), s.discard())
	if err != nil {
		s.log.Error("the server stopped with errors", "error", err)
		return err
	}
	s.log.Info("stopped")
	return nil
}

// How long parts of a drain may take, beside the grace of running jobs.
const (
	goodbyeTime  = 5 * time.Second // every stream is told and its bytes are written
	requestsTime = 5 * time.Second // requests under way are answered
)

// goodbye tells every stream when to come back: not before this process can be
// gone, which is at once if no job runs, and spread out so that all do not come
// at the same moment.
func (s *Server) goodbye(deadline time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
	defer cancel()
	least := time.Second
	if s.processor.Stats().Running > 0 {
		least = max(least, time.Until(deadline))
	}
	spread := max(least/2, 2*time.Second)
	return s.pool.Drain(ctx, func() time.Duration {
		return (least + rand.N(spread)).Truncate(time.Millisecond)
	})
}

// discard ends what New and Start began, without the drain. Its error says that the
// store could not be closed.
func (s *Server) discard() error {
	if s.verifies != nil {
		s.verifies()
	}
	if s.pool != nil {
		s.pool.Close()
		s.engine.Close()
		s.gateway.Close()
		s.claims.Close()
	}
	s.running.Wait()
	if s.browsers != nil {
		s.browsers.Close()
	}
	s.hub.Close()
	err := s.store.Close()
	if s.files != nil {
		_ = s.files.Close() // only a folder that was read is closed
	}
	if err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
