package wire

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A dead peer is found within deadPeer: by unacknowledged data, or on a silent
// connection by probes that begin after half of it.
const (
	deadPeer      = 20 * time.Second
	probeIdle     = 10 * time.Second
	probeInterval = 5 * time.Second
	probeCount    = 2
)

// Listen opens a TCP listener whose connections notice a dead peer within 20 s.
// Multipath TCP is off, because there the option that does it fails.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount},
		Control: func(_, _ string, c syscall.RawConn) error { // accepted sockets inherit the option
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
			})
			if err != nil {
				return err
			}
			return opt
		},
	}
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", addr)
}
