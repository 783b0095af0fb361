package wire

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A dead peer is found within deadPeer: by unacknowledged data, or on a silent
// connection by probes that begin after half of it. The kernel does that for the
// HTTP server's connections, Conn.checkPeer for those of a Pool.
const (
	deadPeer      = 20 * time.Second
	probeIdle     = 10 * time.Second
	probeInterval = 5 * time.Second
	probeCount    = 2
)

// Listen opens a TCP listener whose connections notice a dead peer within 20 s.
// Multipath TCP is off, because there the option that does it fails. An address
// that begins with UnixPrefix is the path of a unix socket.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
		return listenUnix(ctx, path)
	}
	lc := net.ListenConfig{
		KeepAlive: -1, // is set below
		Control: func(_, _ string, c syscall.RawConn) error { // accepted sockets inherit the options, which saves calls for each
			var opts error
			err := c.Control(func(fd uintptr) {
				set := func(level, name int, value int64) {
					opts = errors.Join(opts, unix.SetsockoptInt(int(fd), level, name, int(value)))
				}
				set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
				set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int64(probeIdle/time.Second))
				set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int64(probeInterval/time.Second))
				set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probeCount)
				set(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, deadPeer.Milliseconds())
			})
			return errors.Join(err, opts)
		},
	}
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", addr)
}

// setStreamOptions sets the socket's options for a connection that has more to send than one
// answer that the socket takes at once: a small send buffer, which is only an
// economy (without it the kernel holds more for a dead peer), and no user timeout.
func (c *Conn) setStreamOptions() {
	c.mu.Lock()
	was := c.tuned
	c.tuned = true
	c.mu.Unlock()
	if was {
		return
	}
	if t, ok := c.nc.(interface{ SetWriteBuffer(int) error }); ok {
		_ = t.SetWriteBuffer(c.pool.opt.SendBuffer)
	}
	c.userTimeout(0)
}

// restoreOptions gives the connection back the user timeout.
func (c *Conn) restoreOptions() {
	c.mu.Lock()
	was := c.tuned
	c.mu.Unlock()
	if was {
		c.userTimeout(deadPeer)
	}
}

// userTimeout is TCP_USER_TIMEOUT; 0 means none. A connection with these options has none,
// because the kernel does not measure what is needed. It counts from the oldest
// byte that is unacknowledged, so that a sign of life or an event that follows
// an unanswered probe starts it anew. And on a window that is mostly shut it
// counts however faithfully the peer answers the probes, so that it ends readers
// who are only slow.
func (c *Conn) userTimeout(d time.Duration) {
	if c.raw != nil {
		_ = c.raw.Control(func(fd uintptr) { // fails only on a closed socket, which needs it no more
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) // no TCP: there is none
		})
	}
}

// peerInfo is what the ticker asks the kernel with, allocated once: the call of package unix makes
// a new struct each time.
type peerInfo struct {
	info unix.TCPInfo // what the function below found
	err  unix.Errno
	ask  func(fd uintptr)
}

func newPeerInfo() *peerInfo {
	e := &peerInfo{}
	e.ask = func(fd uintptr) {
		n := uint32(unsafe.Sizeof(e.info))
		_, _, e.err = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
			uintptr(unsafe.Pointer(&e.info)), uintptr(unsafe.Pointer(&n)), 0) //nolint:gosec // getsockopt(2) fills at most n bytes
	}
	return e
}

// checkPeer asks the kernel when something last came from the peer, and gives the
// peer up if that was before limit (as Pool.now) although it was asked since:
// by data that was sent again, or by two probes. A living peer answers probes, so
// a connection is looked at about every ten seconds.
func (c *Conn) checkPeer(e *peerInfo, limit int64) {
	if c.raw == nil || c.raw.Control(e.ask) != nil || e.err != 0 {
		return // closed meanwhile, or no TCP
	}
	c.heard = c.pool.now() - int64(min(e.info.Last_ack_recv, e.info.Last_data_recv))
	if c.heard <= limit && (e.info.Retransmits > 0 || e.info.Probes >= probeCount) {
		c.kill(ErrGone)
	}
}
