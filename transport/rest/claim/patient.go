package claim

import (
	"net"
	"sync/atomic"
	"time"
)

// settleTime is longer than writing an answer to a socket that takes it.
const settleTime = time.Second

// patient is a socket that does not tell that its peer has left while an answer
// is being written to it. A worker may close right after it has read the last
// byte, before the writer knows that all was written; it would seem to have gone
// without its jobs, and they would be taken from it.
type patient struct {
	*net.TCPConn
	call atomic.Pointer[call] // nil: none is under way
}

// watch returns the socket that k's answer is written to.
func watch(nc net.Conn, k *call) net.Conn {
	p, ok := nc.(*patient) // of an earlier claim on this connection
	if !ok {
		tcp, ok := nc.(*net.TCPConn)
		if !ok { // a connection in memory: there, written is read
			return nc
		}
		p = &patient{TCPConn: tcp}
	}
	p.call.Store(k)
	k.socket = p
	return p
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.TCPConn.Read(b)
	if k := p.call.Load(); err != nil && k != nil && k.answering.Load() {
		timer := time.NewTimer(settleTime)
		defer timer.Stop()
		select {
		case <-k.over:
		case <-timer.C:
		}
	}
	return n, err
}
