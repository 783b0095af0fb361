package wire

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// listener is a receiver whose messages are single bytes.
type listener struct {
	*script
	heard chan byte // cap 1
}

func (l *listener) Receive(r io.Reader) error {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	l.heard <- b[0]
	return nil
}

// ask sends a message and waits until it has been handled.
func (l *listener) ask(t *testing.T, client net.Conn, message byte) {
	t.Helper()
	if _, err := client.Write([]byte{message}); err != nil {
		t.Error(err)
		return
	}
	select {
	case got := <-l.heard:
		if got != message {
			t.Errorf("heard %d, want %d", got, message)
		}
	case <-time.After(time.Minute):
		t.Errorf("message %d was not heard", message)
	}
}

// A connection that waits holds no goroutine, and notices all the same when its
// peer speaks and when it leaves.
func TestWaitingConnectionsHoldNoGoroutine(t *testing.T) {
	const each = 50
	p := pool(t, Options{})
	var clients []net.Conn
	var scripts []*script
	var listeners []*listener
	before := runtime.NumGoroutine()
	for range each {
		for _, add := range []func(nc net.Conn, s *script){
			func(nc net.Conn, s *script) { p.Add(nc, s) },
			func(nc net.Conn, s *script) { p.Park(nc, nil, s, time.Minute) },
			func(nc net.Conn, s *script) {
				l := &listener{s, make(chan byte, 1)}
				listeners = append(listeners, l)
				p.Add(nc, l)
				l.ask(t, clients[len(clients)-1], 1)
			},
		} {
			server, client := pair(t)
			s := newScript(idleFill)
			clients, scripts = append(clients, client), append(scripts, s)
			add(server, s)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > before+each/2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines for %d connections", runtime.NumGoroutine()-before, len(clients))
		}
		runtime.Gosched() // a goroutine that ends says so to nobody
	}
	for i, l := range listeners {
		l.ask(t, clients[3*i+2], 2)
	}
	for i, client := range clients {
		_ = client.Close()
		scripts[i].ended(t, ErrGone)
	}
}

// No message is missed at the moment in which the reader goes idle, and a
// connection that is cut at that moment ends.
func TestIdleRacesWithMessagesAndCuts(t *testing.T) {
	p := pool(t, Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		server, client := pair(t)
		l := &listener{newScript(idleFill), make(chan byte, 1)}
		c := p.Add(server, l)
		wg.Go(func() {
			for n := range 50 + i {
				l.ask(t, client, byte(n))
			}
			if i%2 == 0 {
				c.Cut(ErrStalled)
				l.ended(t, ErrStalled)
			} else {
				_ = client.Close()
				l.ended(t, ErrGone)
			}
		})
	}
	wg.Wait()
}

// What is kept of a connection ends with it, although nobody else gets its number.
func TestWatchForgets(t *testing.T) {
	p := pool(t, Options{})
	server, client := pair(t)
	s := newScript(idleFill)
	c := p.Add(server, s)
	if w := p.watcher(); w.at(c.fd) != c {
		t.Fatal("the connection is not watched")
	}
	c.Cut(ErrStalled)
	s.ended(t, ErrStalled)
	_ = client.Close()
	if p.watch.Load().at(c.fd) != nil {
		t.Error("the connection is still known")
	}
}

// The watch is started by one connection while others, which have not been idle, end.
func TestWatchStartsBesideEnds(t *testing.T) {
	for range 50 {
		p := NewPool(Options{})
		var scripts []*listener
		for range 4 {
			server, client := pair(t)
			l := &listener{newScript(counter(10)), make(chan byte, 1)}
			scripts = append(scripts, l)
			if _, err := client.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			p.Add(server, l)
			_ = client.Close()
		}
		for _, l := range scripts {
			<-l.closed
		}
		p.Close()
	}
}
