package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),    // never ends
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // sees its end only after a nap
}

// script is a stream whose behaviour a test writes down.
type script struct {
	fill   func(buf []byte, limit int) ([]byte, Next)
	beat   string
	closed chan error // gets the cause; cap 2, so that a second call is seen

	mu    sync.Mutex // guards over
	over  bool
	after bool // something was called after Closed
}

func newScript(fill func([]byte, int) ([]byte, Next)) *script {
	return &script{fill: fill, closed: make(chan error, 2)}
}

func (s *script) used() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = s.after || s.over
}

func (s *script) Fill(buf []byte, limit int) ([]byte, Next) {
	s.used()
	return s.fill(buf, limit)
}

func (s *script) KeepAlive(buf []byte) []byte {
	s.used()
	return append(buf, s.beat...)
}

func (s *script) Goodbye(buf []byte, retry time.Duration) []byte {
	s.used()
	return append(buf, "bye "+retry.String()...)
}

func (s *script) Closed(cause error) {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.closed <- cause
}

// ended waits for Closed, and checks that it was the last call.
func (s *script) ended(t *testing.T, want error) {
	t.Helper()
	select {
	case got := <-s.closed:
		if !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("closed with %v, want %v", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("not closed; want %v", want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after || len(s.closed) > 0 {
		t.Error("called after Closed")
	}
}

func idleFill(buf []byte, _ int) ([]byte, Next) { return buf, Idle }

// pair is the two ends of a real TCP connection.
func pair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	return dialed(t, &net.Dialer{})
}

func dialed(t *testing.T, d *net.Dialer) (server, client net.Conn) {
	t.Helper()
	ln, err := Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if client, err = d.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

func pool(t *testing.T, o Options) *Pool {
	p := NewPool(o)
	t.Cleanup(p.Close)
	return p
}

// counter fills total bytes of a pattern, in pieces, then closes.
func counter(total int) func([]byte, int) ([]byte, Next) {
	at := 0
	return func(buf []byte, limit int) ([]byte, Next) {
		for range min(limit, total-at) {
			buf = append(buf, byte(at%251))
			at++
		}
		if at == total {
			return buf, Close
		}
		return buf, More
	}
}

func checkPattern(t *testing.T, got []byte, total int) {
	t.Helper()
	if len(got) != total {
		t.Fatalf("%d bytes of %d", len(got), total)
	}
	for i, b := range got {
		if b != byte(i%251) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func TestEveryByteInOrderThenACleanEnd(t *testing.T) {
	p := pool(t, Options{})
	for name, conns := range map[string]func() (net.Conn, net.Conn){
		"tcp":    func() (net.Conn, net.Conn) { return pair(t) },
		"memory": net.Pipe,
	} {
		t.Run(name, func(t *testing.T) {
			server, client := conns()
			const total = 3 << 20 // far more than the socket holds
			s := newScript(counter(total))
			p.Add(server, s)
			got, err := io.ReadAll(client)
			if err != nil {
				t.Fatal(err)
			}
			checkPattern(t, got, total)
			_ = client.Close()
			s.ended(t, nil)
		})
	}
}

func TestAGoneClientIsNoticedWhileNothingIsSent(t *testing.T) {
	p := pool(t, Options{})
	server, client := pair(t)
	s := newScript(idleFill)
	p.Add(server, s)
	_ = client.Close()
	s.ended(t, ErrGone)
	if n := p.Len(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestAStalledReaderIsCutAndASlowOneIsNot(t *testing.T) {
	p := pool(t, Options{StallTimeout: 300 * time.Millisecond})
	stalled, _ := pair(t)
	s := newScript(counter(64 << 20))
	p.Add(stalled, s)

	slow, client := pair(t)
	const total = 1 << 20
	s2 := newScript(counter(total))
	p.Add(slow, s2)
	var got bytes.Buffer
	buf := make([]byte, 32<<10)
	for { // slower than the socket fills, faster than a stall
		n, err := client.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			break
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
	checkPattern(t, got.Bytes(), total)
	_ = client.Close()
	s2.ended(t, nil)
	s.ended(t, ErrStalled)
}

// What the peer's system took at first does not delay the end of a peer that then
// takes nothing.
func TestAStallIsCountedFromTheLastByteTaken(t *testing.T) {
	t.Parallel()
	const stall = 4 * time.Second
	p := pool(t, Options{StallTimeout: stall})
	server, _ := pair(t)
	s := newScript(counter(64 << 20))
	began := time.Now()
	p.Add(server, s)
	s.ended(t, ErrStalled)
	if took := time.Since(began); took < stall || took > stall*3/2 {
		t.Errorf("cut after %v", took)
	}
}

// The kernel's own timeout ends a peer that holds its window nearly shut, however
// much it reads. The time is real, because the kernel's is.
func TestAPeerThatReadsSlowlyForLongIsNotDead(t *testing.T) {
	t.Parallel()
	p := pool(t, Options{})
	server, client := dialed(t, &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { // before a window is offered
		var opt error
		err := c.Control(func(fd uintptr) { opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
		return errors.Join(err, opt)
	}})
	s := newScript(counter(64 << 20))
	p.Add(server, s)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	buf := make([]byte, 400)
	for began := time.Now(); time.Since(began) < deadPeer+deadPeer/2; <-tick.C {
		if _, err := io.ReadFull(client, buf); err != nil {
			t.Fatalf("cut after %v: %v, %v", time.Since(began), err, <-s.closed)
		}
	}
	_ = client.Close()
	s.ended(t, ErrGone)
}

func TestAStallLastsExactlyItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Options{})
		server, client := net.Pipe()
		s := newScript(counter(1 << 20))
		began := time.Now()
		p.Add(server, s)
		s.ended(t, ErrStalled)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("cut after %v", took)
		}
		_ = client.Close()
		p.Close()
	})
}

func TestSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Options{})
		server, client := net.Pipe()
		s := newScript(idleFill)
		s.beat = "!"
		p.Add(server, s)
		last := time.Now()
		for range 5 {
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if silent := time.Since(last); silent < 13*time.Second || silent > 15*time.Second {
				t.Errorf("silent for %v", silent)
			}
			last = time.Now()
		}
		_ = client.Close()
		s.ended(t, ErrGone)
		p.Close()
	})
}

func TestDrainSaysGoodbyeToAll(t *testing.T) {
	p := pool(t, Options{})
	var clients []net.Conn
	var scripts []*script
	for range 20 {
		server, client := pair(t)
		s := newScript(idleFill)
		p.Add(server, s)
		clients, scripts = append(clients, client), append(scripts, s)
	}
	if err := p.Drain(context.Background(), func() time.Duration { return time.Second }); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		got, err := io.ReadAll(c)
		if string(got) != "bye 1s" || err != nil {
			t.Errorf("client %d: %q %v", i, got, err)
		}
		scripts[i].ended(t, nil)
	}
	server, client := pair(t)
	late := newScript(idleFill)
	c := p.Add(server, late)
	late.ended(t, ErrDrained)
	c.Wake()
	c.mu.Lock()
	asked := c.send != sendClosed
	c.mu.Unlock()
	if asked {
		t.Error("a refused connection is asked for something to send")
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("a connection after the drain was kept")
	}
}

func TestDrainGivesUpOnWhoDoesNotRead(t *testing.T) {
	p := pool(t, Options{})
	server, _ := pair(t)
	s := newScript(counter(64 << 20))
	full(p.Add(server, s))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx, func() time.Duration { return 0 }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain: %v", err)
	}
	s.ended(t, ErrDrained)
}

// full returns once the connection's socket takes nothing more.
func full(c *Conn) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for sent := int64(-1); ; sent = c.sent.Load() {
		<-tick.C
		c.mu.Lock()
		waiting := c.send == sending || c.send == sendAgain
		c.mu.Unlock()
		if waiting && c.sent.Load() == sent {
			return
		}
	}
}

func TestAPanicEndsOneConnection(t *testing.T) {
	p := pool(t, Options{})
	server, client := pair(t)
	bad := newScript(func([]byte, int) ([]byte, Next) { panic("boom") })
	p.Add(server, bad)
	bad.ended(t, ErrPanic)
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives")
	}
	server, client = pair(t)
	good := newScript(counter(10))
	p.Add(server, good)
	if got, _ := io.ReadAll(client); len(got) != 10 {
		t.Errorf("%d bytes after a neighbour's panic", len(got))
	}
	_ = client.Close()
	good.ended(t, nil)
	if p.Panics() != 1 {
		t.Errorf("%d panics counted", p.Panics())
	}
}

func TestATalkativePeerIsCut(t *testing.T) {
	p := pool(t, Options{})
	server, client := pair(t)
	s := newScript(idleFill)
	p.Add(server, s)
	go func() { _, _ = client.Write(make([]byte, 1<<20)) }()
	s.ended(t, ErrFlood)
}

// Many connections that wake, close, stall, panic and are cut at random: each
// is told of its end exactly once and never asked again.
func TestChurn(t *testing.T) {
	p := NewPool(Options{StallTimeout: 50 * time.Millisecond})
	var wg sync.WaitGroup
	for i := range 300 {
		server, client := pair(t)
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		left := rng.IntN(20)
		s := newScript(func(buf []byte, limit int) ([]byte, Next) {
			left--
			buf = append(buf, make([]byte, rng.IntN(limit))...)
			switch {
			case left > 0:
				return buf, []Next{Idle, More}[rng.IntN(2)]
			case rng.IntN(10) == 0:
				panic("boom")
			}
			return buf, Close
		})
		how := rng.IntN(4)
		c := p.Add(server, s)
		wg.Go(func() {
			for range 40 {
				c.Wake()
			}
		})
		wg.Go(func() {
			switch how {
			case 0:
				_ = client.Close()
			case 1:
				c.Cut(ErrGone)
			case 2: // never reads
			default: // an idle stream sends nothing more
				_ = client.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				_, _ = io.Copy(io.Discard, io.LimitReader(client, 200<<10))
				_ = client.Close()
			}
			for range 40 {
				c.Wake()
			}
			c.Cut(ErrGone)
			<-s.closed
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.after || len(s.closed) > 0 {
				t.Error("called after Closed")
			}
		})
	}
	wg.Wait()
	p.Close()
	if n := p.Len(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
