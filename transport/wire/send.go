package wire

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sender is one worker's tools, allocated once.
type sender struct {
	buf  []byte
	rest []byte // what the function below writes
	n    int
	err  error
	try  func(fd uintptr) bool

	queued int // what the function below found
	ask    func(fd uintptr)
}

func newSender() *sender {
	w := &sender{buf: make([]byte, 0, fillBytes+fillBytes/4)}
	w.try = func(fd uintptr) bool {
		w.n, w.err = write(int(fd), w.rest)
		return true // also when the socket is full: a worker never waits for a peer
	}
	w.ask = func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			w.queued = n
		}
	}
	return w
}

// leastFill keeps a turn worth its while when the socket is nearly full.
const leastFill = 4 << 10

// room is how many bytes a turn should fill. What the socket does not take has to
// be kept until it does, for ever if the peer is stalled, so a turn fills no more
// than the socket has room for. (The kernel doubles the size that it is told.) It
// is asked only when it may be nearly full.
func (c *Conn) room(w *sender) int {
	if c.raw == nil {
		return fillBytes
	}
	size := 2 * c.pool.opt.SendBuffer
	if size-c.unsent < fillBytes {
		w.queued = 0
		_ = c.raw.Control(w.ask) // fails only on a closed socket, which the write then reports
		c.unsent = w.queued
	}
	return min(max(size-c.unsent, leastFill), fillBytes)
}

// send is a sender worker: it gives each connection one turn at a time.
func (p *Pool) send() {
	defer p.workers.Done()
	w := newSender()
	for {
		c := p.pop()
		if c == nil {
			return
		}
		c.turn(w)
		if cap(w.buf) > 4*fillBytes { // a big answer came by: do not keep its memory
			w.buf = make([]byte, 0, fillBytes+fillBytes/4)
		}
	}
}

// turn fills the worker's buffer and writes it.
func (c *Conn) turn(w *sender) {
	c.mu.Lock()
	if c.send != sendQueued {
		c.mu.Unlock()
		return
	}
	c.send = sending
	retry := c.retry
	c.mu.Unlock()

	out, next, ok := c.fill(w.buf[:0], c.room(w), retry)
	w.buf = out[:0]
	if !ok {
		c.settle(ErrPanic, Close)
		return
	}
	if len(out) == 0 {
		c.settle(nil, next)
		return
	}
	if c.raw == nil { // no way to write without blocking: a goroutine for this one
		c.later(out, next)
		return
	}
	w.rest, w.n, w.err = out, 0, nil
	err := c.raw.Write(w.try)
	if err == nil {
		err = w.err
	}
	n := max(w.n, 0)
	c.unsent += n
	w.rest = nil
	switch {
	case err != nil && !wouldBlock(err):
		c.settle(ErrGone, Close)
	case n == len(out):
		c.sent.Store(c.pool.now())
		c.settle(nil, next)
	default:
		if n > 0 {
			c.sent.Store(c.pool.now())
		}
		c.later(out[n:], next)
	}
}

func wouldBlock(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
}

// fill asks the stream for its next bytes; ok is false if it panicked.
func (c *Conn) fill(buf []byte, limit int, retry *time.Duration) (out []byte, next Next, ok bool) {
	defer c.caught()
	if retry != nil {
		return c.stream.Goodbye(buf, *retry), Close, true
	}
	out, next = c.stream.Fill(buf, limit)
	if len(out) == 0 && next == Idle && c.beat.Load() {
		out = c.stream.KeepAlive(out)
	}
	c.beat.Store(false)
	return out, next, true
}

// settle ends a turn: idle again, queued again, or over.
func (c *Conn) settle(err error, next Next) {
	if err != nil {
		c.kill(err)
	}
	c.mu.Lock()
	if err != nil || c.reader == readEnded {
		c.send = sendFailed
		ended, cause := c.reader == readEnded, c.cause
		if err == nil && (next == Close || next == Reuse) {
			cause = nil // all was sent: a peer may leave before we know that it was
		}
		c.mu.Unlock()
		if ended { // the reader left this to us
			c.detach(cause)
		}
		return
	}
	answered := next == Reuse && c.reusable() && c.parked.repeats != nil // and the stream goes on
	if !answered && (next == Close || next == Reuse) {
		c.mu.Unlock()
		c.finish(next)
		return
	}
	if answered {
		c.parked.answer(c, true)
	}
	requeue := next == More || c.send == sendAgain
	c.send = sendIdle
	if requeue {
		c.send = sendQueued
	}
	ahead := !requeue && c.parked != nil && c.parked.due()
	c.mu.Unlock()
	switch {
	case requeue:
		c.pool.push(c)
	case ahead:
		c.resumeReading()
	}
}

// later writes what the socket did not take at once, in a goroutine that lasts
// until it is written, and then ends the turn. It is called by a worker, so the
// workers' group cannot be empty meanwhile.
func (c *Conn) later(out []byte, next Next) {
	rest := append([]byte(nil), out...)
	c.setStreamOptions()
	c.pool.workers.Add(1)
	go func() {
		defer c.pool.workers.Done()
		c.settle(c.flush(rest), next)
	}()
}

// flush gives up when the socket took no byte for StallTimeout.
//
// Linux lets a socket take more only once a good part of its buffer is free, so
// a slow peer may take bytes for a long time before that shows. What is still
// unacknowledged tells: when it shrinks, the peer has taken something.
func (c *Conn) flush(rest []byte) error {
	stall := c.pool.opt.StallTimeout
	took, unacked := time.Now(), c.unacked()
	for len(rest) > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(stall / stallLooks)) // fails only on a closed socket, as the write then does
		n, err := c.writeSome(rest)
		rest = rest[n:]
		c.unsent += n
		if err != nil && !isTimeout(err) {
			return ErrGone
		}
		left := c.unacked()
		switch {
		case n > 0:
			c.sent.Store(c.pool.now())
			took = time.Now()
		case left < unacked:
			took = time.Now()
		case time.Since(took) >= stall:
			return ErrStalled
		}
		unacked = left
	}
	_ = c.nc.SetWriteDeadline(time.Time{})
	return nil
}

// stallLooks is how often flush looks within a StallTimeout whether the peer has
// taken something.
const stallLooks = 10

// unacked returns how many bytes the peer has not acknowledged, -1 if unknown.
func (c *Conn) unacked() int {
	n := -1
	if c.raw != nil {
		_ = c.raw.Control(func(fd uintptr) { // fails only on a closed socket, which the write then reports
			if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
				n = v
			}
		})
	}
	return n
}

// writeSome returns after the socket took something, or the deadline.
func (c *Conn) writeSome(b []byte) (n int, err error) {
	if c.raw == nil {
		const piece = 4 << 10 // small, so that slow progress counts as progress
		return c.nc.Write(b[:min(len(b), piece)])
	}
	var werr error
	err = c.raw.Write(func(fd uintptr) bool {
		n, werr = write(int(fd), b)
		return !wouldBlock(werr)
	})
	if err == nil && werr != nil {
		err = werr
	}
	return max(n, 0), err
}

// isTimeout reports whether a deadline of ours has passed. The Timeout method of
// errors also says so of a dead peer (ETIMEDOUT), which is quite another thing.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
