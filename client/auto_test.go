package client_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/jobcast/jobcast/client"
)

// refuseUpgrades answers a WebSocket handshake as a proxy does that knows none.
func refuseUpgrades(_ int, down, up net.Conn) bool {
	req, err := http.ReadRequest(bufio.NewReader(down))
	if err != nil {
		return true
	}
	if req.Header.Get("Upgrade") != "" {
		_, _ = io.WriteString(down, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")
		return true
	}
	req.Close = true
	if req.Write(up) == nil {
		_, _ = io.Copy(down, up)
	}
	return true
}

// holdBack passes requests on, and answers only when they are complete.
func holdBack(_ int, down, up net.Conn) bool {
	req, err := http.ReadRequest(bufio.NewReader(down))
	if err != nil {
		return true
	}
	req.Close = true
	if req.Write(up) != nil {
		return true
	}
	gone := make(chan struct{})
	go func() { // the client gives up: so does the proxy
		_, _ = io.Copy(io.Discard, down)
		_ = up.Close()
		close(gone)
	}()
	if whole, err := io.ReadAll(up); err == nil {
		_, _ = down.Write(whole)
	}
	_ = down.Close()
	<-gone
	return true
}

func TestAutoFallsBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, tc := range map[string]struct {
		meddle func(int, net.Conn, net.Conn) bool
		want   client.Transport
		first  time.Duration // FirstByte
	}{
		"nothing in between":       {nil, client.WebSocket, 0},
		"a proxy without upgrades": {refuseUpgrades, client.SSE, 0},
		"a proxy that holds back":  {holdBack, client.Poll, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, s.address)
			p.meddle = tc.meddle
			c := s.client(p.serve(), client.Options{FirstByte: tc.first})
			for range 2 { // the second begins with what works
				// A job that goes on, so that a held stream does not end.
				j := submit(t, c, client.Submission{Actions: []any{client.Wait(time.Minute)}})
				used := client.Transport("")
				for e, err := range c.Watch(t.Context(), j.ID, client.WatchOptions{Notify: func(n client.Notice) {
					if n.State == client.Connected {
						used = n.Transport
					}
				}}) {
					if err != nil {
						t.Fatal(err)
					}
					if e.Type == client.EventStarted {
						break
					}
				}
				if used != tc.want {
					t.Errorf("used %s, want %s", used, tc.want)
				}
				if _, err := c.Cancel(t.Context(), j.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
