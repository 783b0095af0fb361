package wire

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// failing is a listener whose accept fails as a test writes down, then waits.
type failing struct {
	errs   []error // what Accept returns; nil: a connection
	closed chan struct{}
	once   sync.Once
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		<-f.closed
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	nc, _ := net.Pipe()
	return nc, nil
}

func (f *failing) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }

// Errors that pass are waited for, longer each time, said once and counted.
func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := []error{
			unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EPROTO, unix.EINTR, unix.EPERM, unix.EMFILE, unix.EMFILE, nil,
			unix.EMFILE, nil,
		}
		var log bytes.Buffer
		g := NewGuard(&failing{errs: errs, closed: make(chan struct{})}, GuardOptions{Limit: 9, Log: slog.New(slog.NewTextHandler(&log, nil))})
		start := time.Now()
		for i, want := range []time.Duration{(5+10+20+40+80+160+320+640)*time.Millisecond + 2*time.Second, 5 * time.Millisecond} {
			c, err := g.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("connection %d after %v, want %v", i, took, want)
			}
			start = time.Now()
			_ = c.Close()
		}
		if s := g.Stats(); s.Failures != 11 || s.Open != 0 || s.Strangers != 0 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(log.String(), "cannot be accepted"); n != 1 {
			t.Errorf("said %d times: %s", n, &log)
		}
	})
}

// Close ends the waiting, and an error that does not pass ends the listener.
func TestAcceptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(&failing{errs: []error{unix.EMFILE}, closed: make(chan struct{})}, GuardOptions{Limit: 9})
		time.AfterFunc(time.Millisecond, func() { _ = g.Close() })
		if _, err := g.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		g = NewGuard(&failing{errs: []error{unix.EBADF}, closed: make(chan struct{})}, GuardOptions{Limit: 9})
		if _, err := g.Accept(); !errors.Is(err, unix.EBADF) {
			t.Errorf("a broken listener: %v", err)
		}
	})
}

// from makes connections of made-up peers.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr + ":1"))
}

type queue struct {
	failing
	next chan net.Conn
}

func (q *queue) Accept() (net.Conn, error) { return <-q.next, nil }

// accept lets a peer in and returns both ends.
func (q *queue) accept(t *testing.T, g *Guard, addr string) (mine, theirs net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	q.next <- from{b, addr}
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, c
}

func open(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Unix(1, 0))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// When all connections are taken, those who were let in keep theirs, and of the
// strangers the greatest holder's oldest goes; then what is idle longest; then nothing, and
// the newcomer is told.
func TestGuardMakesRoom(t *testing.T) {
	q := &queue{next: make(chan net.Conn, 1)}
	holder := func(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr() }
	g := NewGuard(q, GuardOptions{Limit: 4, Holder: holder, Full: []byte("HTTP/1.1 503 Full\r\n\r\n")})
	defer g.Cut()
	known, knownServer := q.accept(t, g, "192.0.2.1")
	LetIn(knownServer)
	lone, loneServer := q.accept(t, g, "192.0.2.2")
	var flood []net.Conn
	for range 5 {
		c, _ := q.accept(t, g, "192.0.2.66")
		flood = append(flood, c)
	}
	for i, c := range flood {
		if got, want := open(c), i >= 3; got != want {
			t.Errorf("connection %d of the flood: open is %v", i, got)
		}
	}
	if !open(known) || !open(lone) {
		t.Error("somebody else made room")
	}
	LetIn(loneServer)
	for i := range flood {
		_ = flood[i].Close()
	}
	if s := g.Stats(); s.Open != 4 || s.Strangers != 2 || s.Displaced != 3 {
		t.Errorf("%+v", s)
	}
	// Two take the places of the flood, and are let in. All four of them become idle, some
	// twice, one goes by itself: the longest idle one makes room first.
	third, thirdServer := q.accept(t, g, "192.0.2.3")
	fourth, fourthServer := q.accept(t, g, "192.0.2.3")
	for _, c := range []net.Conn{thirdServer, loneServer, knownServer, fourthServer} {
		LetIn(c)
		noteState(c, fasthttp.StateIdle)
	}
	noteState(thirdServer, fasthttp.StateActive)
	noteState(thirdServer, fasthttp.StateIdle)
	noteState(fourthServer, fasthttp.StateActive)
	for _, longest := range []net.Conn{lone, known, third} {
		if !open(longest) || !open(fourth) {
			t.Error("one made room that was not idle longest")
		}
		_, newcomer := q.accept(t, g, "192.0.2.4")
		LetIn(newcomer)
		if open(longest) {
			t.Error("the one that was idle longest is still open")
		}
	}
	noteState(thirdServer, fasthttp.StateIdle) // which is closed, and so makes no room
	told, theirs := net.Pipe()
	_ = told.SetReadDeadline(time.Now().Add(20 * time.Second))
	q.next <- from{theirs, "192.0.2.5"}
	accepted := make(chan net.Conn)
	go func() {
		c, _ := g.Accept() // of who comes after it
		accepted <- c
	}()
	if answer, err := io.ReadAll(told); err != nil || string(answer) != "HTTP/1.1 503 Full\r\n\r\n" {
		t.Errorf("the one too many reads %q, %v", answer, err)
	}
	_ = fourth.Close()
	_ = fourthServer.Close()
	_, b := net.Pipe()
	q.next <- from{b, "192.0.2.6"}
	if c := <-accepted; c.RemoteAddr().(*net.TCPAddr).IP.String() != "192.0.2.6" {
		t.Errorf("let in: %v", c.RemoteAddr())
	}
	if s := g.Stats(); s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

// A guarded socket is still one to those who need its descriptor.
func TestGuardedSocket(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := NewGuard(ln, GuardOptions{})
	defer g.Cut()
	defer g.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c = unwrap(c)
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil || raw.Control(func(uintptr) {}) != nil {
		t.Errorf("no descriptor: %v", err)
	}
	if err := c.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(1 << 16); err != nil {
		t.Error(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(peer); err != nil {
		t.Error(err)
	}
	if g.limit < leastConnections || g.Stats().Open != 1 {
		t.Errorf("%+v", g.Stats())
	}
}
