package wire

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// Bounds of what strangers can hold of a listener. A stranger is a connection on
// which nobody has shown a good credential yet.
const (
	// maxStrangers bounds the connections of strangers, each of which takes some 10 KB.
	maxStrangers = 16_384
	// leastReserve is how many file descriptors connections leave to everything else:
	// the store, artifacts on their way, connections to targets. Of many it is an eighth.
	leastReserve = 16
	// leastConnections may be open however few descriptors there are.
	leastConnections = 8
	// maxTurnedAway bounds the connections beyond the limit that are told so.
	maxTurnedAway = 4
)

// How long Accept waits after an error that passes: as long as net/http.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
	sayAgain   = time.Minute // between two lines in the log about such errors
)

// GuardOptions set up a Guard; the zero value works.
type GuardOptions struct {
	// Limit is how many connections may be open; 0: as many as the file descriptors of
	// the process allow.
	Limit int
	// Holder says who has a connection, of those who share what there is. The zero Addr
	// is nobody: a proxy, behind which there are many. nil: all are nobody.
	Holder func(net.Addr) netip.Addr
	// Full is a whole answer of HTTP/1.1 for those that find no room; nil: they are closed.
	Full []byte
	Log  *slog.Logger // nil: nothing is logged
}

// Guard is a listener that goes on whatever its clients do. An error of accept that
// passes, as for want of file descriptors, is waited for. Strangers cannot fill it:
// when all connections are taken, that of the stranger who holds most is closed for
// the next, and if there is no stranger, the one that has been idle longest.
type Guard struct {
	net.Listener
	opt       GuardOptions
	limit     int
	strangers *Shares[netip.Addr]
	heard     *Shares[netip.Addr] // connections in a lingering close

	closing chan struct{} // closed by Close
	close   sync.Once
	said    time.Time      // when an error was logged last; of Accept
	turned  atomic.Int32   // connections that are just told that there is no room
	work    sync.WaitGroup // one for each of them

	mu    sync.Mutex // guards conns
	conns map[*guarded]struct{}

	ended                        atomic.Uint64 // requests so far that have left their connection idle
	failures, displaced, refused atomic.Int64
}

// NewGuard guards ln.
func NewGuard(ln net.Listener, o GuardOptions) *Guard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Holder == nil {
		o.Holder = func(net.Addr) netip.Addr { return netip.Addr{} }
	}
	g := &Guard{Listener: ln, opt: o, limit: o.Limit, closing: make(chan struct{}), conns: make(map[*guarded]struct{})}
	if g.limit == 0 {
		g.limit = affordable()
	}
	g.strangers = NewShares[netip.Addr](int64(min(g.limit, maxStrangers)))
	g.heard = NewShares[netip.Addr](maxHeard)
	return g
}

// affordable is how many connections the file descriptors of this process allow,
// beside those that are open and a reserve.
func affordable() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return maxStrangers
	}
	most := int(min(limit.Cur, 1<<30)) // it may be infinite
	open := 0
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		open = len(entries)
	}
	return max(most-open-max(leastReserve, most/8), leastConnections)
}

// Accept implements net.Listener. Its error is the end of the listener.
func (g *Guard) Accept() (net.Conn, error) {
	pause := firstPause
	for {
		nc, err := g.Listener.Accept()
		if err == nil {
			if c := g.admit(nc); c != nil {
				return newIncoming(c), nil
			}
			pause = firstPause
			continue
		}
		if !passing(err) {
			return nil, err
		}
		g.failed(err)
		select {
		case <-g.closing:
			return nil, net.ErrClosed
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// passing reports whether accept(2) may succeed later: for want of something, or
// because the peer or the network spoilt this one connection.
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
		unix.ECONNABORTED, unix.EPROTO, unix.EINTR, unix.EAGAIN, unix.EPERM,
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failed counts an error that passes, and gives back what may be missing.
func (g *Guard) failed(err error) {
	g.failures.Add(1)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		g.strangers.Displace()
	}
	if now := time.Now(); g.said.IsZero() || now.Sub(g.said) >= sayAgain {
		g.said = now
		g.opt.Log.Warn("connections cannot be accepted at the moment", "error", err, "open", g.Stats().Open)
	}
}

// admit puts a new connection on the books. It returns nil if there is no room.
func (g *Guard) admit(nc net.Conn) *guarded {
	c := &guarded{Conn: nc, guard: g}
	if s, ok := nc.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	g.mu.Lock()
	g.conns[c] = struct{}{}
	full := len(g.conns) > g.limit
	g.mu.Unlock()
	if full && !g.makeRoom() {
		g.turnAway(c)
		return nil
	}
	c.stranger.Store(g.strangers.Take(g.opt.Holder(nc.RemoteAddr()), 1, func() { _ = c.Close() }))
	if c.closed.Load() { // it had to go at once
		c.LetIn()
	}
	return c
}

// makeRoom closes one connection that can be done without.
func (g *Guard) makeRoom() bool {
	if g.strangers.Displace() {
		return true
	}
	longest := g.longestIdle()
	if longest == nil {
		return false
	}
	g.displaced.Add(1)
	_ = longest.Close()
	return true
}

// longestIdle returns the connection that has been between two requests longest; nil:
// there is none. It looks at all of them, so that a request has nothing to keep in order.
func (g *Guard) longestIdle() (longest *guarded) {
	least := uint64(math.MaxUint64)
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		if since := c.idle.Load(); since != 0 && since < least {
			longest, least = c, since
		}
	}
	return longest
}

// turnAway closes a connection for which there is no room, and tells some of them.
func (g *Guard) turnAway(c *guarded) {
	g.refused.Add(1)
	if g.opt.Full == nil || g.turned.Add(1) > maxTurnedAway {
		if g.opt.Full != nil {
			g.turned.Add(-1)
		}
		_ = c.Close()
		return
	}
	g.work.Go(func() {
		defer g.turned.Add(-1)
		_ = c.SetWriteDeadline(time.Now().Add(lingerTime))
		if _, err := c.Write(g.opt.Full); err == nil {
			hearOut(c)
		}
		_ = c.Close()
	})
}

// hear gives a connection a lingering close, up to the close.
func (g *Guard) hear(c *guarded) {
	share := g.heard.Take(g.opt.Holder(c.RemoteAddr()), 1, func() { _ = c.Close() })
	defer share.Release()
	hearOut(c)
}

// Close implements net.Listener. Connections stay open.
func (g *Guard) Close() error {
	g.close.Do(func() { close(g.closing) })
	return g.Listener.Close()
}

// Cut closes every connection that is still open.
func (g *Guard) Cut() {
	g.mu.Lock()
	all := make([]*guarded, 0, len(g.conns))
	for c := range g.conns {
		all = append(all, c)
	}
	g.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
	g.work.Wait()
}

// GuardStats is how a Guard stands.
type GuardStats struct {
	Open, Limit int   // connections, and how many there may be
	Strangers   int   // of Open
	Failures    int64 // errors of accept so far
	Displaced   int64 // connections closed so far to make room
	Refused     int64 // connections closed so far because there was none
}

// Stats returns how the guard stands.
func (g *Guard) Stats() GuardStats {
	strangers, displaced := g.strangers.Used()
	g.mu.Lock()
	open := len(g.conns)
	g.mu.Unlock()
	return GuardStats{
		Open: open, Limit: g.limit, Strangers: int(strangers), Failures: g.failures.Load(),
		Displaced: displaced + g.displaced.Load(), Refused: g.refused.Load(),
	}
}

// guarded is a connection on the books of a Guard.
type guarded struct {
	net.Conn
	raw      syscall.RawConn // nil: there is no descriptor
	guard    *Guard
	stranger atomic.Pointer[Share[netip.Addr]] // nil: it was let in
	idle     atomic.Uint64                     // what Guard.ended was when its last request ended; 0: it is not between two
	closed   atomic.Bool
}

var errNoDescriptor = errors.New("wire: the connection has no file descriptor")

// SyscallConn implements syscall.Conn.
func (c *guarded) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, errNoDescriptor
	}
	return c.raw, nil
}

// CloseWrite closes the sending side, where there is such a thing.
func (c *guarded) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errNoDescriptor
}

// SetWriteBuffer sets the size of the kernel's buffer, where there is one.
func (c *guarded) SetWriteBuffer(bytes int) error {
	if sized, ok := c.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		return sized.SetWriteBuffer(bytes)
	}
	return errNoDescriptor
}

// LetIn says that the connection is no stranger's any more.
func (c *guarded) LetIn() {
	if s := c.stranger.Swap(nil); s != nil {
		s.Release()
	}
}

// Close implements net.Conn.
func (c *guarded) Close() error {
	if !c.closed.Swap(true) {
		c.LetIn()
		c.guard.mu.Lock()
		delete(c.guard.conns, c)
		c.guard.mu.Unlock()
	}
	return c.Conn.Close()
}

// LetIn says that somebody with a good credential uses the connection: it does not
// have to make room for others any more, except while it is idle. Connections that
// no Guard accepted are left as they are.
func LetIn(nc net.Conn) {
	if c := guardedOf(nc); c != nil && c.stranger.Load() != nil {
		c.LetIn()
	}
}

// noteState is a fasthttp.Server's ConnState: it tells between which requests a
// connection can be done without.
func noteState(nc net.Conn, state fasthttp.ConnState) {
	c := guardedOf(nc)
	switch {
	case c == nil:
	case state == fasthttp.StateIdle:
		c.idle.Store(c.guard.ended.Add(1))
	default:
		c.idle.Store(0)
	}
}

func guardedOf(nc net.Conn) *guarded {
	for {
		switch c := nc.(type) {
		case *guarded:
			return c
		case *Incoming:
			nc = c.Conn
		default:
			return nil
		}
	}
}
