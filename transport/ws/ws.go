// Package ws speaks WebSocket (RFC 6455): several rooms on one connection, in
// the convention of NestJS's ws adapter, `{"event":…,"data":…}` both ways.
//
// The handshake and the frames are package rfc6455's; the connection is owned by
// wire.
package ws

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

// kind names the transport in metrics and logs.
var kind = transport.Register("websocket")

// Limits of one connection.
const (
	maxMessage       = 64 << 10 // bytes of one message, over all its fragments
	maxRooms         = 100      // joined at once
	messagesPerSec   = 100      // frames of any kind, over time
	messagesBurst    = 200
	maxPendingFrames = 256 // answers that the peer has not taken yet
)

// Close codes of our own: after 40xx the peer may come back, after 45xx it need
// not try.
const (
	closeSilent     = 4009 // no sign of life
	closeLimit      = 4029
	closeMalformed  = 4500
	closeCredential = 4501 // the credential has ended
	closeSentAway   = 4503 // an administrator has ended the connection
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
	upgrade *rfc6455.Upgrader
	items   sync.Pool // *[]hub.Item, the scratch space of one Fill
}

// New returns a handler.
func New(o Options) *Handler {
	h := &Handler{opt: o, upgrade: rfc6455.NewUpgrader()}
	h.items.New = func() any {
		s := make([]hub.Item, 0, transport.BatchEvents)
		return &s
	}
	return h
}

// Serve answers the handshake. Refusals are ordinary HTTP answers.
func (h *Handler) Serve(c *fiber.Ctx) error {
	p, err := h.opt.Door.Principal(c, auth.Watch)
	if err != nil {
		return err
	}
	if _, ok := rfc6455.Protocol(c); !ok {
		return transport.Refuse(transport.Malformed, "Sec-WebSocket-Protocol is not a list of different tokens.")
	}
	if wire.BodyLength(c.Context()) != 0 {
		return transport.Refuse(transport.Malformed, "A WebSocket handshake has no body.")
	}
	if !rfc6455.Acceptable(c) {
		return upgradeRequired()
	}
	p.Agent = transport.Agent(c)
	conn := h.newConn(p, transport.RequestID(c))
	if conn.admission, err = transport.OpenStream(context.Background(), h.opt.Streams, p, kind); err != nil {
		conn.sub.Close()
		return err
	}
	if err := h.opt.Door.Admit(); err != nil {
		conn.Closed(err)
		return err
	}
	if err := h.upgrade.Upgrade(c, conn.take); err != nil {
		conn.Closed(err)
		return upgradeRequired()
	}
	return nil
}

func upgradeRequired() error {
	return transport.Refuse(transport.UpgradeRequired, "This path accepts only a WebSocket handshake of version 13.").
		With(fiber.HeaderUpgrade, "websocket").With("Sec-WebSocket-Version", "13")
}

func (h *Handler) newConn(p auth.Principal, id string) *conn {
	now := time.Now()
	c := &conn{
		h: h, id: strings.Clone(id), who: p.Identity, opened: now,
		nextPing: now.Add(h.opt.PingInterval),
	}
	c.ping.Store(c.since(c.nextPing))
	c.sub = h.opt.Hub.Subscribe(p.ClientID, c.wake)
	return c
}

// take owns the connection once the handshake is over.
func (c *conn) take(t *rfc6455.Taken) {
	if t == nil {
		c.Closed(wire.ErrGone)
		return
	}
	c.in = rfc6455.Decoder{Early: t.Early, MaxMessage: maxMessage}
	c.head = slices.Concat(t.Head, encode(transport.ConnectedFrame(c.id, c.who.ClientID, c.opened, c.h.opt.PingInterval)))
	c.admission.OnEnd(c)
	c.wire.Attach(c.h.opt.Pool.Add(t.Conn, c))
}
