// Package ws speaks WebSocket (RFC 6455): several rooms on one connection, in
// the convention of NestJS's ws adapter, `{"event":…,"data":…}` both ways.
//
// The handshake is contrib/websocket's. After it the connection is detached and
// owned by wire: the library's frame code is not used, because it pools
// connections, does not check UTF-8, loops over empty fragments and holds
// buffers that an idle connection does not need.
package ws

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/hub"
	"github.com/jobcast/jobcast/transport/wire"
)

// kind names the transport in metrics and logs.
const kind = "websocket"

// Limits of one connection.
const (
	maxRooms         = 100 // joined at once
	messagesPerSec   = 100 // frames of any kind, over time
	messagesBurst    = 200
	maxPendingFrames = 256 // answers that the peer has not taken yet
)

// Options are what a Handler works with. All but Observe are required.
type Options struct {
	Door         *transport.Door
	Streams      *auth.Streams
	Hub          *hub.Hub
	Pool         *wire.Pool
	PingInterval time.Duration // of the application's ping
	PongTimeout  time.Duration // a peer without a sign of life for so long is disconnected
	Log          *slog.Logger
	Observe      transport.Observer
}

// Handler serves WebSocket connections.
type Handler struct {
	opt     Options
	upgrade fiber.Handler
	items   sync.Pool // *[]hub.Item, the scratch space of one Fill
}

// local is where a request's session waits for the end of the handshake.
const local = "ws.session"

// New returns a handler.
func New(o Options) *Handler {
	h := &Handler{opt: o}
	h.items.New = func() any {
		s := make([]hub.Item, 0, transport.BatchEvents)
		return &s
	}
	h.upgrade = websocket.New(func(c *websocket.Conn) {
		if s, ok := c.Locals(local).(*session); ok {
			s.take(c)
		}
	})
	return h
}

// Serve answers the handshake. Refusals are ordinary HTTP answers.
func (h *Handler) Serve(c *fiber.Ctx) error {
	p, err := h.opt.Door.Principal(c, auth.Watch)
	if err != nil {
		return err
	}
	if err := checkHandshake(c); err != nil {
		return err
	}
	s := h.newSession(p, transport.RequestID(c), c.Context())
	if s.admission, err = transport.OpenStream(context.Background(), h.opt.Streams, p, kind); err != nil {
		s.sub.Close()
		return err
	}
	if err := h.opt.Door.Admit(); err != nil {
		s.Closed(err)
		return err
	}
	c.Locals(local, s)
	// The answer is written with the first frames, by the connection's owner:
	// were it written here, a failure would leave the session to nobody.
	c.Context().HijackSetNoResponse(true)
	if err := h.upgrade(c); err != nil {
		s.Closed(err)
		return upgradeRequired()
	}
	return nil
}

// checkHandshake refuses what the handshake would refuse by itself, but with a
// text of its own.
func checkHandshake(c *fiber.Ctx) error {
	key, err := base64.StdEncoding.DecodeString(c.Get("Sec-WebSocket-Key"))
	if !websocket.IsWebSocketUpgrade(c) || !c.Request().Header.IsHTTP11() || c.Get("Sec-WebSocket-Version") != "13" || err != nil || len(key) != 16 {
		return upgradeRequired()
	}
	return nil
}

func upgradeRequired() error {
	return transport.Refuse(transport.UpgradeRequired, "This path takes a WebSocket handshake of version 13 and nothing else.").
		With(fiber.HeaderUpgrade, "websocket").With("Sec-WebSocket-Version", "13")
}

func (h *Handler) newSession(p auth.Principal, id string, request *fasthttp.RequestCtx) *session {
	now := time.Now()
	s := &session{
		h: h, id: strings.Clone(id), principal: p, request: request, opened: now,
		nextPing: now.Add(h.opt.PingInterval),
		frames:   rate.NewLimiter(messagesPerSec, messagesBurst),
	}
	s.seen.Store(now.UnixMilli())
	s.ping.Store(s.nextPing.UnixMilli())
	s.sub = h.opt.Hub.Subscribe(p.ClientID, s.wake)
	return s
}

// take owns the connection once the handshake is over.
func (s *session) take(c *websocket.Conn) {
	head := append([]byte("HTTP/1.1 101 Switching Protocols\r\n"), wire.Headers(&s.request.Response.Header)...)
	head = append(head, "Connection: Upgrade\r\n\r\n"...)
	s.request = nil
	nc, early, err := wire.Take(c.NetConn())
	if err != nil {
		_ = c.NetConn().Close()
		s.Closed(wire.ErrGone)
		return
	}
	s.early = early
	head = append(head, encode(transport.ConnectedFrame(s.id, s.principal.ClientID, s.opened, s.h.opt.PingInterval))...)
	s.head = head
	s.admission.OnEnd(s.revoke)
	s.attach(s.h.opt.Pool.Add(nc, s))
}
