package rfc6455

import (
	"bytes"
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/transport/wire"
)

// Taken is a connection after its handshake.
type Taken struct {
	Conn  net.Conn
	Early []byte // what the peer sent after its request
	Head  []byte // the handshake's answer, still to be sent, in front of all frames
}

// Upgrader takes connections over. The server must have KeepHijackedConns set.
type Upgrader struct{ handle fiber.Handler }

// local is where a request keeps who takes its connection.
const local = "rfc6455.taker"

type taker struct {
	request *fasthttp.RequestCtx
	take    func(*Taken)
}

// NewUpgrader returns an upgrader.
func NewUpgrader() *Upgrader {
	nothing := websocket.Config{ReadBufferSize: 1, WriteBufferPool: new(sync.Pool)} // the handshake is all that it does
	return &Upgrader{websocket.New(func(c *websocket.Conn) {
		if t, ok := c.Locals(local).(*taker); ok {
			t.run(c)
		}
	}, nothing)}
}

const headerProtocol = "Sec-WebSocket-Protocol"

// Protocol returns the first of the subprotocols that a handshake offers, which may
// stand in several lines; empty: it offers none. ok is false if they are not different
// tokens (RFC 6455 4.1 and 4.3).
func Protocol(c *fiber.Ctx) (first string, ok bool) {
	lines := c.Request().Header.PeekAll(headerProtocol)
	if len(lines) == 0 {
		return "", true
	}
	seen := make(map[string]bool)
	for p := range strings.SplitSeq(string(bytes.Join(lines, []byte(","))), ",") {
		p = strings.Trim(p, " \t")
		if seen[p] || !isToken(p) {
			return "", false
		}
		if len(seen) == 0 {
			first = p
		}
		seen[p] = true
	}
	return first, true
}

// isToken reports whether s is a token (RFC 9110 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// Acceptable reports whether the request is a handshake that Upgrade can answer. One with
// a body before it is not: what is left of that would be read as frames.
func Acceptable(c *fiber.Ctx) bool {
	key, err := base64.StdEncoding.DecodeString(c.Get("Sec-WebSocket-Key"))
	_, protocols := Protocol(c)
	return protocols && wire.BodyLength(c.Context()) == 0 && websocket.IsWebSocketUpgrade(c) && c.Request().Header.IsHTTP11() && c.Get("Sec-WebSocket-Version") == "13" && err == nil && len(key) == 16
}

// Upgrade prepares the answer to a handshake. Of the subprotocols that are offered the
// first is selected: clients that offer some end a connection without one, and messages
// mean the same whichever it is. take runs once the handler and all
// middlewares have returned, and owns the connection from then on. It gets nil if
// the connection could not be taken, which is then closed. Nothing is sent before:
// were the answer written here, a failure would leave it to nobody. After an
// error take does not run.
func (u *Upgrader) Upgrade(c *fiber.Ctx, take func(*Taken)) error {
	c.Locals(local, &taker{request: c.Context(), take: take})
	if p, _ := Protocol(c); p != "" {
		c.Set(headerProtocol, p)
	}
	c.Context().HijackSetNoResponse(true)
	return u.handle(c)
}

func (t *taker) run(c *websocket.Conn) {
	head := slices.Concat([]byte("HTTP/1.1 101 Switching Protocols\r\n"), wire.Headers(&t.request.Response.Header), []byte("Connection: Upgrade\r\n\r\n"))
	nc, early, err := wire.Take(c.NetConn())
	if err != nil {
		_ = c.NetConn().Close()
		t.take(nil)
		return
	}
	t.take(&Taken{Conn: nc, Early: early, Head: head})
}
