package contract

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy passes connections on to a server in another process, until the test ends, and
// watches them. url is the server's, the result the one to use instead.
func (w *Watch) Proxy(t testing.TB, url string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{w: w, target: strings.TrimPrefix(url, "http://"), open: map[net.Conn]bool{}}
	p.running.Go(func() { p.serve(ln) })
	t.Cleanup(func() {
		_ = ln.Close()
		p.close()
		p.running.Wait()
	})
	return "http://" + ln.Addr().String()
}

type proxy struct {
	w       *Watch
	target  string
	running sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	open   map[net.Conn]bool
	closed bool
}

func (p *proxy) serve(ln net.Listener) {
	for {
		client, err := ln.Accept()
		if err != nil {
			return // it was closed
		}
		p.running.Go(func() { p.pass(client) })
	}
}

// pass carries bytes both ways. What a side says last still arrives, and then the other
// side hears that it has ended.
func (p *proxy) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return // as one that is refused
	}
	watched := p.w.Conn(server)
	defer func() { _ = watched.Close() }()
	if !p.keep(client, server) {
		return
	}
	defer p.forget(client, server)
	answered := make(chan struct{}) // closed when the server has said all
	go func() {
		defer close(answered)
		_, _ = io.Copy(client, watched)
		_ = client.(*net.TCPConn).CloseWrite()
		_ = client.(*net.TCPConn).CloseRead()
	}()
	_, gone := io.Copy(watched, client)
	if gone != nil { // a client that is cut waits for no answer
		_ = server.Close()
	}
	_ = server.(*net.TCPConn).CloseWrite()
	<-answered
}

// keep lets close end connections; false: it has done so already.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
	}
	return !p.closed
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.open {
		_ = c.Close()
	}
}
