package server_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
)

// recordingDialer keeps every byte that arrives over the connections it dials, whatever the
// reader behind it makes of them. It also decides how they are left.
type recordingDialer struct {
	dial  func(ctx context.Context) (net.Conn, error)
	most  int  // read no more bytes than this, then fail; 0: no limit
	reset bool // close with RST instead of FIN

	mu    sync.Mutex // guards bytes
	bytes []byte
}

// errEnough is the end of a connection that its reader leaves in the middle.
var errEnough = errors.New("enough was read")

// recordedConn is a connection of a recordingDialer.
type recordedConn struct {
	net.Conn
	dialer *recordingDialer
}

// Dial is a Dial of transporttest.Caller.
func (d *recordingDialer) Dial(ctx context.Context) (net.Conn, error) {
	nc, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &recordedConn{Conn: nc, dialer: d}, nil
}

// Read implements net.Conn.
func (c *recordedConn) Read(p []byte) (int, error) {
	c.dialer.mu.Lock()
	left := c.dialer.most - len(c.dialer.bytes)
	c.dialer.mu.Unlock()
	if c.dialer.most > 0 && left <= 0 {
		return 0, errEnough
	}
	if c.dialer.most > 0 && left < len(p) {
		p = p[:left]
	}
	n, err := c.Conn.Read(p)
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	c.dialer.bytes = append(c.dialer.bytes, p[:n]...)
	return n, err
}

// Close implements net.Conn.
func (c *recordedConn) Close() error {
	if tcp, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok && c.dialer.reset {
		_ = tcp.SetLinger(0) // the connection may be gone already
	}
	return c.Conn.Close()
}

// found returns the first of the words that has arrived, or "".
func (d *recordingDialer) found(words []string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range words {
		if bytes.Contains(d.bytes, []byte(w)) {
			return w
		}
	}
	return ""
}
