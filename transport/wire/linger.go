package wire

import (
	"net"
	"sync"
	"time"
)

// Bounds of a lingering close.
const (
	// hearTime is how long a peer is listened to, and hearPause how long it may say nothing.
	hearTime  = 5 * time.Second
	hearPause = time.Second
	// hearBytes is more than the largest body that anybody may send.
	hearBytes = 128 << 20
	// maxHeard bounds the connections that linger at once; they share that.
	maxHeard = 256
)

// earshot is the scratch space of those who listen.
var earshot = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// hearOut is the lingering close of RFC 9112 9.6, before the connection is closed: it
// ends the sending side and reads on for a moment. A peer that is answered and closed
// on in the middle of what it sends would get a reset instead of the answer.
func hearOut(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	buf := earshot.Get().(*[16 << 10]byte)
	defer earshot.Put(buf)
	end := time.Now().Add(hearTime)
	for left := hearBytes; left > 0; {
		now := time.Now()
		if !now.Before(end) || nc.SetReadDeadline(earlier(now.Add(hearPause), end)) != nil {
			return
		}
		n, err := nc.Read(buf[:])
		if left -= n; err != nil {
			return
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
