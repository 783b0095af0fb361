package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const requestTime = 30 * time.Second // an answer is there within this

// conn is one connection that is kept open, over which whole requests are sent one
// after the other.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(ctx context.Context, addr string) (*conn, error) {
	nc, err := (&net.Dialer{Timeout: requestTime}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{nc, bufio.NewReader(nc)}, nil
}

// do sends a request and returns the answer's body. Another status than want is an
// error.
func (c *conn) do(request []byte, want int) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return nil, err
	}
	if _, err := c.Write(request); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("answered with %s: %.300s", res.Status, body)
	}
	return body, nil
}

// dialAll opens n connections.
func dialAll(ctx context.Context, addr string, n int) (all []*conn, err error) {
	for range n {
		c, err := dial(ctx, addr)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func closeAll(all []*conn) {
	for _, c := range all {
		_ = c.Close()
	}
}
