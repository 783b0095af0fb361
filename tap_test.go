package main

import (
	"bytes"
	"context"
	"net"
	"sync"
)

// tap keeps every byte that arrives over the connections it dials, whatever the
// reader behind it makes of them.
type tap struct {
	dial func(ctx context.Context) (net.Conn, error)

	mu    sync.Mutex // guards everything below
	bytes []byte
	conns []*tapped
}

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
	c := &tapped{Conn: nc, tap: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = append(t.conns, c)
	return c, nil
}

// Read implements net.Conn.
func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.tap.bytes = append(c.tap.bytes, p[:n]...)
	return n, err
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
