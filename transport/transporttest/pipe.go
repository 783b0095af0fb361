package transporttest

import (
	"context"
	"net"
	"sync"
)

// Pipe is a listener in memory. Its connections have deadlines but no buffer
// and no file descriptor: what one end writes waits until the other reads it.
// In a testing/synctest bubble they therefore never look idle when they are not.
type Pipe struct {
	pending chan net.Conn // sent to by Dial, received by Accept; never closed
	closed  chan struct{} // closed by Close
	once    sync.Once
}

// NewPipe returns a listener that Dial reaches.
func NewPipe() *Pipe {
	return &Pipe{pending: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects, and waits until the server accepts.
func (p *Pipe) Dial(ctx context.Context) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case p.pending <- theirs:
		return mine, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.pending:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *Pipe) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
