package server_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/transporttest"
)

// leakyHub is a hub that does what none may do: it keeps connections that belong
// to the HTTP server, which uses them again once their handler has returned.
type leakyHub struct {
	handlers sync.WaitGroup

	mu     sync.Mutex        // guards everything below
	leaked []leakedConn      // newest last
	open   map[net.Conn]bool // a handler runs on it
	sent   int
}

// keptConn is a connection and whose events are written to it.
type leakedConn struct {
	tenant string
	conn   interface {
		NetConn() net.Conn
		WriteMessage(kind int, data []byte) error
	}
}

// maxLeaked bounds the connections of a leaky hub.
const maxLeaked = 200

// start serves and publishes until the test ends, and returns how to connect.
func (h *leakyHub) start(t *testing.T) func(ctx context.Context) (net.Conn, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true}) // KeepHijackedConns is off
	app.Get("/v1/ws", websocket.New(h.serve))
	var busy sync.WaitGroup
	busy.Go(func() {
		if err := app.Listener(ln); err != nil {
			t.Error(err)
		}
	})
	stop := make(chan struct{})
	busy.Go(func() { every(stop, func() bool { h.publish(); return true }) })
	t.Cleanup(func() {
		close(stop)
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		busy.Wait()
		h.handlers.Wait()
	})
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}
}

// serve is the handler: it joins, waits for the peer to leave, and forgets to
// leave the hub.
func (h *leakyHub) serve(c *websocket.Conn) {
	h.handlers.Add(1)
	defer h.handlers.Done()
	if _, _, err := c.ReadMessage(); err != nil {
		return
	}
	inner := leakedConn{tenant: c.Headers("Authorization")[len("Bearer "):], conn: c.Conn}
	h.join(inner)
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			break
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, inner.conn.NetConn())
}

func (h *leakyHub) join(c leakedConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.conn.WriteMessage(websocket.TextMessage, []byte(`{"event":"subscribed","data":{}}`)) != nil {
		return
	}
	h.open[c.conn.NetConn()] = true
	h.leaked = append(h.leaked, c)
	h.leaked = h.leaked[max(0, len(h.leaked)-maxLeaked):]
}

// publish writes an event of every tenant to the connections kept for it. It
// spares those that no handler runs on: nobody would get it, and the race
// detector would, rightly, say that the server writes to them too.
func (h *leakyHub) publish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent++
	for _, c := range h.leaked {
		if h.open[c.conn.NetConn()] {
			text := fmt.Sprintf(`{"event":"job.event","data":{"id":"e-%d","message":"%s/%d"}}`, h.sent, c.tenant, h.sent)
			_ = c.conn.WriteMessage(websocket.TextMessage, []byte(text)) // a peer that has left
		}
	}
}

// TestChurnSeesLeaks: the same crowd at a hub that keeps connections of the
// server sees events of others, so TestChurn would.
func TestChurnSeesLeaks(t *testing.T) {
	h := &leakyHub{open: make(map[net.Conn]bool)}
	c := &crowd{t: t, dial: h.start(t), rooms: func(int) []transporttest.Opening { return []transporttest.Opening{{}} }}
	for _, tr := range transporttest.Transports() {
		if tr.Name == "websocket" {
			c.transports = append(c.transports, tr)
		}
	}
	for n := range crowdSize {
		c.secrets = append(c.secrets, nameOf(n))
	}
	const rounds, visits = 20, 100
	for n := 0; n < rounds && c.foreign.Load() == 0; n++ {
		c.run(visits)
	}
	t.Logf("%d connections, %d saw events of their own tenant, %d of another", c.visits.Load(), c.served.Load(), c.foreign.Load())
	if c.foreign.Load() == 0 {
		t.Error("no connection saw an event of another tenant: the checker is blind, or the server keeps its connections apart now")
	}
}
