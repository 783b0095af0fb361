package rfc6455

import (
	"encoding/base64"
	"net"
	"slices"
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

// Acceptable reports whether the request is a handshake that Upgrade can answer.
func Acceptable(c *fiber.Ctx) bool {
	key, err := base64.StdEncoding.DecodeString(c.Get("Sec-WebSocket-Key"))
	return websocket.IsWebSocketUpgrade(c) && c.Request().Header.IsHTTP11() && c.Get("Sec-WebSocket-Version") == "13" && err == nil && len(key) == 16
}

// Upgrade prepares the answer to a handshake; take runs once the handler and all
// middlewares have returned, and owns the connection from then on. It gets nil if
// the connection could not be taken, which is then closed. Nothing is sent before:
// were the answer written here, a failure would leave it to nobody. After an
// error take does not run.
func (u *Upgrader) Upgrade(c *fiber.Ctx, take func(*Taken)) error {
	c.Locals(local, &taker{request: c.Context(), take: take})
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
