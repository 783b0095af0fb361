package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// sendPhase is what a connection's sending side is doing; doc.go draws it.
type sendPhase uint8

const (
	sendIdle    sendPhase = iota // nothing to do
	sendQueued                   // waits for a worker
	sending                      // a worker has it, or a goroutine waits for the socket
	sendAgain                    // as sending, and woken meanwhile
	sendFlushed                  // the end was wanted, and all was sent before it
	sendFailed                   // nothing is sent any more; there is a cause
	sendClosed                   // Stream.Closed was called, or is about to be
)

// readPhase is who reads a connection; doc.go draws it.
type readPhase uint8

const (
	reading   readPhase = iota // a goroutine, or the watch
	readIdle                   // nobody: resumeReading starts a reader
	readEnded                  // nobody any more; whoever is sending must call detach
)

// pendingPhase is what a reader that the watch tells of all that comes has not seen
// yet.
type pendingPhase uint8

const (
	pendingNone pendingPhase = iota
	pendingData              // something may have come since the last look began, or the look did not take it all
	pendingEnd               // as pendingData, and the peer's end comes after it
)

// Conn is one owned connection.
type Conn struct {
	pool   *Pool
	nc     net.Conn
	raw    syscall.RawConn // nil: no file descriptor to write to without blocking
	stream Stream

	mu      sync.Mutex // guards the fields below
	send    sendPhase
	reader  readPhase
	pending pendingPhase
	watched bool           // parked: the watch tells of all that comes, not once after each arm
	tuned   bool           // setStreamOptions was called
	cause   error          // why it ends, the first one counts; set: the socket is closed, or is about to be
	retry   *time.Duration // set by Drain: say goodbye

	sent   atomic.Int64 // when something was last sent, as Pool.now
	beat   atomic.Bool  // a sign of life is due
	unsent int          // at most so many bytes are in the socket; of whoever sends
	heard  int64        // when something last came from the peer, as far as known, as Pool.now; of the ticker

	fd        int // once it has been idle; guarded by watch.mu
	discarded int // bytes of a peer that has nothing to say; of the reader

	parked *parking // nil on a stream
}

// Add takes a connection into the pool and starts sending s on it. If the pool
// drains already, the connection is closed at once.
func (p *Pool) Add(nc net.Conn, s Stream) *Conn {
	c := p.adopt(nc, s)
	c.setStreamOptions()
	p.launch(c)
	return c
}

func (p *Pool) adopt(nc net.Conn, s Stream) *Conn {
	c := &Conn{pool: p, nc: nc, stream: s}
	c.heard = p.now()
	c.sent.Store(c.heard)
	if r, ok := nc.(syscall.Conn); ok {
		c.raw, _ = r.SyscallConn()
	}
	return c
}

func (p *Pool) launch(c *Conn) {
	p.mu.Lock()
	refused := p.shut || p.draining.Load()
	if !refused {
		p.conns[c] = struct{}{}
		p.owned.Add(1)
	}
	p.mu.Unlock()
	if refused {
		_ = c.nc.Close()
		c.reader, c.send = readEnded, sendFailed
		c.detach(ErrDrained)
		return
	}
	if c.parked != nil && c.parked.timer != nil {
		c.parked.timer.Reset(c.parked.wait)
	}
	if _, ok := c.stream.(Receiver); ok || !c.goIdle() { // a receiver may have got something with its request
		p.startReader(c)
	}
	c.Wake()
}

// Wake says that the stream may have something to send. It never blocks.
func (c *Conn) Wake() {
	c.mu.Lock()
	push := c.send == sendIdle
	switch c.send {
	case sendIdle:
		c.send = sendQueued
	case sending:
		c.send = sendAgain
	}
	c.mu.Unlock()
	if push {
		c.pool.push(c)
	}
}

// Cut closes the connection at once; cause is handed to Stream.Closed.
func (c *Conn) Cut(cause error) { c.kill(cause) }

// LetIn is the function LetIn for the owned connection.
func (c *Conn) LetIn() { LetIn(c.nc) }

// leave makes the connection say goodbye at its next turn.
func (c *Conn) leave(retry time.Duration) {
	c.mu.Lock()
	c.retry = &retry
	c.mu.Unlock()
	c.Wake()
}

// kill ends the connection without flushing. The reader goroutine does the rest.
func (c *Conn) kill(cause error) {
	c.mu.Lock()
	c.doom(cause)
	c.mu.Unlock()
	c.hangUp()
	c.resumeReading()
}

// doom notes why the connection ends. c.mu is held.
func (c *Conn) doom(cause error) {
	if c.cause == nil {
		c.cause = cause
	}
}

// hangUp closes the socket. What is unsent stays in the kernel for a while.
func (c *Conn) hangUp() {
	c.restoreOptions()
	_ = c.nc.Close()
}

// finish ends the connection after everything was flushed.
func (c *Conn) finish(n Next) {
	c.mu.Lock()
	c.send = sendFlushed
	c.mu.Unlock()
	c.detach(nil)
	c.restoreOptions()
	reuse, ahead := n == Reuse && c.reusable(), false
	if c.parked != nil {
		c.mu.Lock()
		ahead = c.parked.answer(c, reuse)
		c.mu.Unlock()
	}
	switch {
	case !reuse:
		c.linger()
	case ahead:
		c.resumeReading()
	}
}

// reusable reports whether the connection may go back to the HTTP server.
func (c *Conn) reusable() bool {
	return c.parked != nil && c.pool.opt.Serve != nil && !c.pool.draining.Load()
}

// linger closes the sending side and leaves it to the peer, for a moment, to
// close the other, so that data in flight is not destroyed by a reset.
func (c *Conn) linger() {
	if t, ok := c.nc.(interface{ CloseWrite() error }); ok && t.CloseWrite() == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	} else {
		_ = c.nc.Close()
	}
	c.resumeReading()
}

const lingerTime = 2 * time.Second

// maxDiscard bounds what a peer may send on a stream where it has nothing to say.
const maxDiscard = 64 << 10

// read is the connection's one goroutine while there is something to read, unless
// the watch reads itself. It notices when the peer goes, and cleans up.
func (c *Conn) read() {
	var idle bool
	switch r, receives := c.stream.(Receiver); {
	case c.parked != nil:
		idle = c.parked.read(c, false)
	case receives:
		idle = c.listen(func() error { return c.receive(r) })
	default:
		idle = c.listen(c.discard)
	}
	if !idle {
		c.pool.owned.Done()
	}
}

// listen takes what comes until there is nothing more, or the connection ends.
func (c *Conn) listen(take func() error) (idle bool) {
	for {
		if err := take(); err != nil {
			c.end(err)
			return false
		}
		if c.goIdle() {
			return true
		}
	}
}

// discard reads what a peer sends that has nothing to say.
func (c *Conn) discard() error {
	var buf [64]byte
	n, err := c.nc.Read(buf[:])
	if c.discarded += n; err == nil && c.discarded > maxDiscard {
		err = ErrFlood
	}
	return err
}

// receive lets the stream read, and survives its panic.
func (c *Conn) receive(r Receiver) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.failed(v)
			err = ErrPanic
		}
	}()
	return r.Receive(c.nc)
}

// end is called once, by the reader, when nothing more can come.
func (c *Conn) end(err error) {
	c.hangUp()
	c.unwatch()
	if c.parked != nil {
		c.parked.stop()
	}
	if errors.Is(err, io.EOF) || errors.As(err, new(*net.OpError)) || err == nil {
		err = ErrGone
	}
	c.mu.Lock()
	c.doom(err)
	cause := c.cause
	if c.send == sendFlushed || c.parked != nil && c.parked.phase != parkWaiting { // all was sent; finish is about to say so
		cause = nil
	}
	c.reader = readEnded
	busy := c.send == sending || c.send == sendAgain
	if c.send < sendFlushed && !busy {
		c.send = sendFailed
	}
	c.mu.Unlock()
	if !busy { // otherwise whoever sends will find the socket closed
		c.detach(cause)
	}
	c.pool.mu.Lock()
	delete(c.pool.leaving, c)
	c.pool.mu.Unlock()
}

// detach takes the connection off the pool's books and tells the stream, once.
func (c *Conn) detach(cause error) {
	c.mu.Lock()
	done := c.send == sendClosed
	c.send = sendClosed
	c.mu.Unlock()
	if done {
		return
	}
	p := c.pool
	p.mu.Lock()
	delete(p.conns, c)
	c.mu.Lock() // with p.mu held, so that end, which sets readEnded, deletes later
	ended := c.reader == readEnded
	c.mu.Unlock()
	if !ended {
		p.leaving[c] = struct{}{}
	}
	if len(p.conns) == 0 && p.draining.Load() {
		p.emptied.Broadcast()
	}
	p.mu.Unlock()
	defer c.caught()
	c.stream.Closed(cause)
}

// caught turns a panic of the stream into the end of its connection.
func (c *Conn) caught() {
	if v := recover(); v != nil {
		c.failed(v)
	}
}

func (c *Conn) failed(v any) {
	c.pool.panics.Add(1)
	c.pool.opt.Log.Error("a stream panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	c.kill(ErrPanic)
}
