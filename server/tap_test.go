package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
)

// tap keeps every byte that arrives over the connections it dials, whatever the
// reader behind it makes of them. It also decides how they are left.
type tap struct {
	dial  func(ctx context.Context) (net.Conn, error)
	most  int  // read no more bytes than this, then fail; 0: no limit
	reset bool // close with RST instead of FIN

	mu    sync.Mutex // guards bytes
	bytes []byte
}

// errEnough is the end of a connection that its reader leaves in the middle.
var errEnough = errors.New("enough was read")

// tapped is a connection of a tap.
type tapped struct {
	net.Conn
	tap *tap
}

// Dial is a Dial of transporttest.Caller.
func (t *tap) Dial(ctx context.Context) (net.Conn, error) {
	nc, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: nc, tap: t}, nil
}

// Read implements net.Conn.
func (c *tapped) Read(p []byte) (int, error) {
	c.tap.mu.Lock()
	left := c.tap.most - len(c.tap.bytes)
	c.tap.mu.Unlock()
	if c.tap.most > 0 && left <= 0 {
		return 0, errEnough
	}
	if c.tap.most > 0 && left < len(p) {
		p = p[:left]
	}
	n, err := c.Conn.Read(p)
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.tap.bytes = append(c.tap.bytes, p[:n]...)
	return n, err
}

// Close implements net.Conn.
func (c *tapped) Close() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && c.tap.reset {
		_ = tcp.SetLinger(0) // the connection may be gone already
	}
	return c.Conn.Close()
}

// found returns the first of the words that has arrived, or "".
func (t *tap) found(words []string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range words {
		if bytes.Contains(t.bytes, []byte(w)) {
			return w
		}
	}
	return ""
}
