package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/hub"
	"github.com/jobcast/jobcast/transport/sse"
	"github.com/jobcast/jobcast/transport/wire"
)

// childServer is the part of `jobcast serve` through which an event passes: store,
// hub, pool, door, SSE. It is put together as serve.go does, which a program
// cannot import, and has one running job.
type childServer struct {
	hello   hello
	lease   jobs.Lease
	service *jobs.Service

	store   *sqlite.Store
	hub     *hub.Hub
	pool    *wire.Pool
	drain   func()
	close   func(context.Context) error // of the HTTP server
	running sync.WaitGroup              // the verifier's poll and the listener
	cancel  context.CancelFunc          // ends the poll
	failed  error                       // of the listener; read after running
}

func newChildServer(ctx context.Context, data string) (_ *childServer, err error) {
	s := &childServer{}
	quiet := slog.New(slog.DiscardHandler)
	f := &feed{}
	if s.store, err = sqlite.Open(ctx, data, sqlite.Options{Publisher: f, Logger: quiet, Serving: true}); err != nil {
		return nil, err
	}
	s.hub = hub.New(history{s.store})
	f.hub.Store(s.hub)
	defer func() {
		if err != nil {
			s.hub.Close()
			err = errors.Join(err, s.store.Close())
		}
	}()
	s.service = jobs.NewService(s.store, jobs.ServiceOptions{Logger: quiet})
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	ln, err := wire.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if s.hello.Addr, err = netip.ParseAddrPort(ln.Addr().String()); err == nil {
		err = s.serve(ln, quiet)
	}
	if err != nil {
		_ = ln.Close()
	}
	return s, err
}

// prepare makes the key and the running job.
func (s *childServer) prepare(ctx context.Context) error {
	most := auth.MaxConnections
	key, secret, err := auth.NewKey(benchClient, "", auth.DefaultScopes(), auth.KeyOptions{MaxConnections: &most})
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if err := s.store.CreateKey(ctx, key); err != nil {
		return fmt.Errorf("store key: %w", err)
	}
	leases, err := claimJobs(ctx, s.service, 1)
	if err != nil {
		return err
	}
	s.lease = leases[0]
	s.hello.Key, s.hello.Job = secret, s.lease.JobID
	return nil
}

// serve starts the HTTP side.
func (s *childServer) serve(ln net.Listener, quiet *slog.Logger) error {
	verifier := auth.NewVerifier(s.store, auth.VerifierOptions{Logger: quiet})
	door, err := transport.New(transport.Options{Auth: verifier, Log: quiet})
	if err != nil {
		return fmt.Errorf("make door: %w", err)
	}
	app := door.App()
	s.pool = wire.NewPool(wire.Options{Logger: quiet, Serve: app.Server().ServeConn})
	streams := sse.New(sse.Options{
		Door: door, Streams: verifier.Streams(), Hub: s.hub, Pool: s.pool,
		PingInterval: 30 * time.Second, Log: quiet, Observe: observer(),
	})
	app.Get("/v1/jobs/:id/events", events(streams.Serve))
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.close = cancel, app.ShutdownWithContext
	s.drain = func() {
		door.Drain()
		_ = ln.Close() // what failed before is in s.failed
	}
	s.running.Go(func() { verifier.Run(ctx) })
	s.running.Go(func() {
		if err := app.Listener(ln); err != nil && !door.Draining() {
			s.failed = fmt.Errorf("serve: %w", err)
		}
	})
	return nil
}

// events answers the SSE request of a job. It is generic over the HTTP server's
// context, because only transports and package main may know that server.
func events[C interface {
	Params(name string, fallback ...string) string
}](serve func(C, string, transport.EventFormat) error) func(C) error {
	return func(c C) error { return serve(c, strings.Clone(c.Params("id")), transport.EventStream) }
}

// stop drains as the server does, only faster.
func (s *childServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.drain()
	drained := s.pool.Drain(ctx, func() time.Duration { return time.Second })
	closed := s.close(ctx)
	if errors.Is(closed, net.ErrClosed) {
		closed = nil
	}
	s.cancel()
	s.pool.Close()
	s.running.Wait()
	s.hub.Close()
	return errors.Join(s.failed, drained, closed, s.store.Close())
}

// observer counts as the server's metrics do, so that it costs the same.
func observer() transport.Observer {
	delivered := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "delivered"}, []string{"transport"})
	lag := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lag", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
	})
	return transport.Observer{OnDelivered: func(kind string, n int, at time.Time) {
		delivered.WithLabelValues(kind).Add(float64(n))
		if !at.IsZero() {
			lag.Observe(time.Since(at).Seconds())
		}
	}}
}

// feed carries committed events from the store to the hub.
type feed struct {
	hub atomic.Pointer[hub.Hub] // nil while the server is put together
}

// Publish implements jobs.Publisher.
func (f *feed) Publish(events []jobs.Event) {
	h := f.hub.Load()
	if h == nil {
		return
	}
	now := time.Now()
	out := make([]*hub.Event, len(events))
	for i := range events {
		out[i] = hubEvent(&events[i])
		out[i].At = now
	}
	h.Publish(out)
}

func hubEvent(e *jobs.Event) *hub.Event {
	h := &hub.Event{Client: e.Client, Job: e.JobID, Seq: e.Seq, ID: e.ID, JSON: e.JSON}
	switch e.Type {
	case jobs.TypeProgress:
		h.Kind = hub.Progress
	case jobs.TypeStarted:
		h.Kind = hub.Boundary
	}
	return h
}

// history is the store as the hub reads it. The readers give no cursor and the
// job never ends, so much of a real server's history cannot occur.
type history struct{ store jobs.Store }

// Open implements hub.History.
func (h history) Open(ctx context.Context, r hub.Room, _ *hub.Cursor) (hub.Opened, error) {
	st, err := h.store.Open(ctx, jobs.Room(r), nil)
	if err != nil {
		return hub.Opened{}, err
	}
	o := hub.Opened{
		Reason: string(st.Verdict), Head: st.Head, HeadID: st.HeadID,
		Oldest: st.Oldest, OldestID: st.OldID, End: st.EndSeq, Status: string(st.Job.Status),
	}
	if o.Job, err = json.Marshal(st.Job); err != nil {
		return hub.Opened{}, fmt.Errorf("encode job: %w", err)
	}
	return o, nil
}

// Page implements hub.History.
func (h history) Page(ctx context.Context, r hub.Room, after uint64, maxEvents, maxBytes int) (hub.Page, error) {
	p, err := h.store.Page(ctx, jobs.Room(r), after, math.MaxInt64, maxEvents, maxBytes)
	if err != nil {
		return hub.Page{}, err
	}
	page := hub.Page{More: p.More, Pruned: p.Pruned, Gone: p.Gone, Events: make([]*hub.Event, len(p.Events))}
	for i := range p.Events {
		page.Events[i] = hubEvent(&p.Events[i])
	}
	return page, nil
}
