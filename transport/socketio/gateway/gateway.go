package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/socketio"
	"github.com/jobcast/jobcast/transport/socketio/session"
	"github.com/jobcast/jobcast/transport/wire"
)

// Name is the namespace.
const Name = "/jobs"

// kind names the transport in metrics and logs.
var kind = transport.Register("socketio")

// MaxMessage is how long a message of a client may be, in bytes. None is of more
// than a few hundred, and whoever has not been let in yet must not hold more.
const MaxMessage = 64 << 10

// Limits.
const (
	maxRooms         = 100    // joined at once
	maxStrangers     = 10_000 // sessions that have not been let in yet, over all
	maxPendingFrames = 256    // answers that the peer has not taken yet
)

// How long a session can be resumed, and how often that is looked after.
const (
	resumable  = 24 * time.Hour
	touchEvery = time.Hour
	sweepPause = time.Second
	storeTime  = 10 * time.Second // one command to the store
)

// provenAfter is how long after a message a connection that still stands has
// delivered it: the heartbeat has asked after it, waited once more because the
// peer was busy, and got an answer.
const provenAfter = 2 * (engineio.DefaultPingInterval + engineio.DefaultPingTimeout)

// Options are what a Gateway works with. All but Observe, Offset and NestJS are required.
type Options struct {
	Door         *transport.Door
	Streams      *auth.Streams
	Hub          *hub.Hub
	Sessions     session.Store
	Signer       Signer
	PingInterval time.Duration // of the application's ping
	Log          *slog.Logger
	Observe      transport.Observer
	Offset       Offset // default OffsetEvent
	NestJS       bool   // the manners of a NestJS gateway where they differ
}

// Gateway is the namespace. Close it to stop its goroutine.
type Gateway struct {
	opt       Options
	ages      jobs.Ages
	batches   sync.Pool            // *batch, the scratch space of one Fill
	strangers *wire.Shares[string] // by address
	seed      maphash.Seed
	resuming  [64]sync.Mutex // by session: two CONNECTs with one pid take turns

	mu   sync.Mutex // guards live
	live map[string]*conn

	ended chan ended // rooms that may leave the store

	stop    context.CancelFunc
	running sync.WaitGroup
}

// New returns a gateway.
func New(o Options) *Gateway {
	if o.Offset == "" {
		o.Offset = OffsetEvent
	}
	if o.Offset == OffsetOff {
		o.Sessions = forgetful{o.Sessions}
	}
	g := &Gateway{opt: o, ages: jobs.NewAges(nil), live: make(map[string]*conn), strangers: wire.NewShares[string](maxStrangers), seed: maphash.MakeSeed(), ended: make(chan ended, maxEnded)}
	g.batches.New = func() any { return &batch{items: make([]hub.Item, 0, transport.BatchEvents)} }
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	g.running.Go(func() { g.keep(ctx) })
	for range cleaners {
		g.running.Go(func() { g.clean(ctx) })
	}
	return g
}

// Close stops the gateway's goroutines and waits for them.
func (g *Gateway) Close() {
	g.stop()
	g.running.Wait()
}

// keep notes now and then which sessions are in use, and removes old ones.
func (g *Gateway) keep(ctx context.Context) {
	t := time.NewTicker(touchEvery)
	defer t.Stop()
	for {
		g.sweep(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (g *Gateway) sweep(ctx context.Context) {
	g.mu.Lock()
	ids := slices.Collect(maps.Keys(g.live))
	g.mu.Unlock()
	for batch := range slices.Chunk(ids, 500) {
		if err := g.opt.Sessions.TouchSessions(ctx, batch); err != nil && ctx.Err() == nil {
			g.opt.Log.Warn("sessions could not be renewed", "error", err)
		}
	}
	for ctx.Err() == nil {
		_, more, err := g.opt.Sessions.SweepSessions(ctx, g.ages.Before(resumable))
		if err != nil && ctx.Err() == nil {
			g.opt.Log.Warn("sessions could not be swept", "error", err)
		}
		if !more || err != nil {
			return
		}
		select { // leave room for others
		case <-ctx.Done():
		case <-time.After(sweepPause):
		}
	}
}

// handshake is what is known of a connection before it joins.
type handshake struct {
	secret  string // of the request; empty: none
	err     error  // two different ones, or a malformed one
	addr    netip.Addr
	agent   auth.Agent
	request string
	known   bool // it was let in
	last    bool // the secret counts if CONNECT has none

	stranger *wire.Share[string] // until then
}

// errCrowded ends a session that had to make room before it was let in.
var errCrowded = errors.New("others waited to be let in")

// Admit belongs into socketio.Options. When as many strangers wait as may, the one that
// has waited longest, of the address that has most of them, makes room.
func (g *Gateway) Admit(c *fiber.Ctx, end func(error)) (any, error) {
	if err := g.opt.Door.Admit(); err != nil {
		return nil, err
	}
	h := &handshake{addr: g.opt.Door.ClientAddr(c), agent: transport.Agent(c), request: strings.Clone(transport.RequestID(c))}
	if g.opt.NestJS {
		h.nestSecret(c)
	} else {
		h.secret, h.err = transport.Credential(c)
	}
	h.stranger = g.strangers.Take(g.opt.Door.Sharer(c), 1, func() { end(errCrowded) })
	return h, nil
}

// Released belongs into socketio.Options.
func (g *Gateway) Released(v any) {
	if h, ok := v.(*handshake); ok {
		h.stranger.Release()
	}
}

// credentials is the payload of CONNECT. Other members are ignored: applications
// send their own.
type credentials struct {
	Token  string `json:"token"`
	APIKey string `json:"apiKey"`
	PID    string `json:"pid"`
	Offset string `json:"offset"`
}

// credential returns the one key or token among those of CONNECT and of the request.
func (h *handshake) credential(c credentials) (string, error) {
	if h.err != nil {
		return "", h.err
	}
	found := h.secret
	for _, s := range []string{c.Token, c.APIKey} {
		s = transport.Secret(s)
		switch {
		case s == "" || s == found:
		case found != "":
			return "", transport.Refuse(transport.AmbiguousCredentials, "The connection carries two different credentials.")
		default:
			found = s
		}
	}
	return found, nil
}

// credentials reads the payload of CONNECT, and says which key or token counts.
func (g *Gateway) credentials(h *handshake, payload json.RawMessage) (c credentials, secret string, err error) {
	if g.opt.NestJS {
		c = nestCredentials(payload)
		return c, h.nestCredential(c), nil
	}
	if payload != nil && jobs.DecodeKnown(payload, &c) != nil {
		return c, "", transport.Refuse(transport.Malformed, "auth is {token?, apiKey?}, both strings.")
	}
	secret, err = h.credential(c)
	return c, secret, err
}

// Connect implements socketio.Namespace.
func (g *Gateway) Connect(s *socketio.Socket, payload json.RawMessage) (socketio.Peer, error) {
	h, ok := s.Handshake().(*handshake)
	if !ok {
		return nil, errors.New("the connection has no handshake")
	}
	p, err := g.connect(s, h, payload)
	if err != nil {
		return nil, g.refusal(err, h)
	}
	if !h.known {
		h.known = true
		s.LetIn()
		h.stranger.Release()
	}
	return p, nil
}

func (g *Gateway) connect(s *socketio.Socket, h *handshake, payload json.RawMessage) (*conn, error) {
	c, secret, err := g.credentials(h, payload)
	if err != nil {
		return nil, err
	}
	by, err := g.opt.Door.Login(secret, h.addr, auth.Watch)
	if err != nil {
		return nil, err
	}
	if err := g.opt.Door.Admit(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	by.Agent = h.agent
	n := &conn{g: g, socket: s, who: by.Identity, request: h.request, opened: time.Now()}
	n.sub = g.opt.Hub.Subscribe(by.ClientID, s.Wake)
	p, err := n.begin(ctx, c, by)
	if err != nil {
		n.sub.Close()
		n.release()
		return nil, err
	}
	if g.opt.Offset != OffsetOff {
		s.Session(p.text(g.opt.Signer, by.ClientID))
	}
	n.queueConnected()
	return n, nil
}

// refusal is what a CONNECT_ERROR says. Its text on the connection limit is that
// of the old gateway. Trouble of our own is none: it passes, and the client is to
// come back.
func (g *Gateway) refusal(err error, h *handshake) error {
	p := transport.FromError(err)
	if p.Status >= fiber.StatusInternalServerError {
		if p.Code != transport.Draining {
			g.opt.Log.Warn("connect failed", "requestId", h.request, "transport", kind, "code", p.Code, "error", err)
		}
		return err
	}
	p.Instance = h.request
	message := p.Detail
	if p.Code == transport.ConnectionLimit {
		message = "Maximum connections exceeded"
	}
	if g.opt.NestJS {
		return nestRefusal(message)
	}
	return &socketio.Refusal{Message: message, Data: p}
}

// Options returns how the protocol layer carries this namespace.
func (g *Gateway) Options() socketio.Options {
	return socketio.Options{Namespaces: map[string]socketio.Namespace{Name: g}, Main: true, Admit: g.Admit, Released: g.Released}
}

// lock makes resumptions of one session take turns.
func (g *Gateway) lock(id string) *sync.Mutex {
	m := &g.resuming[maphash.String(g.seed, id)%uint64(len(g.resuming))]
	m.Lock()
	return m
}
