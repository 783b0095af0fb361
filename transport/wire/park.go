package wire

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// parkPhase is where a parked connection is between a request and the next one;
// doc.go draws it.
type parkPhase uint8

const (
	parkWaiting parkPhase = iota // a request waits for its answer
	parkBetween                  // it was answered, and the peer may send its next request
	parkLast                     // it was answered, and nothing may follow
)

// parking is what a parked request has beyond a stream.
type parking struct {
	wait    time.Duration
	timer   *time.Timer  // wakes the connection after wait; runs once the pool knows the connection; nil: there is no limit
	repeats Repeater     // the stream, if it is one
	early   []byte       // what the peer has sent after its request; of the reader
	since   atomic.Int64 // since when the peer has time for its next request, as Pool.now; 0: it has not

	// Guarded by Conn.mu.
	phase  parkPhase
	ahead  bool // early holds something
	nudged bool // the read deadline is in the past, because a reader may be in Read
}

// Park takes a connection whose request is answered later. s is asked at once,
// at each Wake, and after wait, unless that is 0; when it fills something, that is
// the whole answer. early is what Take returned. The answer ends with Reuse if the
// connection may serve further requests.
func (p *Pool) Park(nc net.Conn, early []byte, s Stream, wait time.Duration) *Conn {
	c := p.adopt(nc, s)
	k := &parking{wait: wait, early: early, ahead: len(early) > 0}
	k.repeats, _ = s.(Repeater)
	if wait > 0 {
		k.timer = time.AfterFunc(time.Hour, c.Wake)
		k.timer.Stop()
	}
	c.parked = k
	p.launch(c)
	return c
}

func (k *parking) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// answer lets the peer's next request in, or if there may be none (reuse is false)
// its end. It is called after the answer was flushed, with Conn.mu held, and reports
// whether the next request is here, so that an idle connection must be read.
func (k *parking) answer(c *Conn, reuse bool) (due bool) {
	k.stop()
	k.phase = parkLast
	if reuse {
		k.phase = parkBetween
		k.since.Store(max(c.pool.now(), 1))
	}
	due = k.due()
	if due && !c.watched {
		k.nudged = true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
	return due
}

// due reports whether the peer's next request can be looked at. Conn.mu is held.
func (k *parking) due() bool { return k.phase == parkBetween && k.ahead }

// unused reports whether the peer has sent no request since limit, although it may.
func (k *parking) unused(limit int64) bool {
	since := k.since.Load()
	return since > 0 && since <= limit
}

// retire ends a connection that is unused, unless its next request has just come.
func (c *Conn) retire(limit int64) {
	c.mu.Lock()
	unused := c.parked.unused(limit)
	if unused {
		c.doom(ErrGone)
	}
	c.mu.Unlock()
	if unused {
		c.kill(ErrGone)
	}
}

// step is what the reader does next.
type step uint8

const (
	look   step = iota // see what there is to read
	listen             // wait for the peer's end
	pause              // end, whatever the peer sends, until the connection is answered or killed
	ask                // ask the stream, which is left alone meanwhile
	serve              // give the connection back to the HTTP server
)

// next says how the reader goes on.
func (k *parking) next(c *Conn) step {
	c.mu.Lock()
	defer c.mu.Unlock()
	nudged := k.nudged
	k.nudged = false
	switch {
	case c.cause != nil: // as reading says
		return look
	case k.phase == parkLast: // with a deadline of its own
		return listen
	}
	if nudged {
		_ = c.nc.SetReadDeadline(time.Time{})
	}
	switch {
	case k.due() && c.send >= sendFlushed:
		return serve
	case k.due() && c.send == sendIdle:
		c.send = sending
		k.phase, k.ahead = parkWaiting, false
		k.since.Store(0)
		return ask
	case k.due(), k.phase == parkWaiting && len(k.early) > maxEarly: // whoever sends rouses the reader
		c.reader = readIdle
		return pause
	}
	return look
}

// read waits for the peer's next request or its end. It goes on reading while
// the answer is out, because a peer that has sent its next request already may
// leave all the same.
//
// The watch reads too, in passing: whatever is more than a request for the stream
// it leaves to a reader of its own.
func (k *parking) read(c *Conn, passing bool) (idle bool) {
	for {
		step := k.next(c)
		var err error
		switch step {
		case pause:
			return true
		case look:
			err = k.take(c)
		case ask:
			k.repeat(c)
		}
		switch {
		case passing && (err != nil || step == listen || step == serve):
			c.pool.startReader(c)
			return true
		case step == listen:
			err = k.drop(c)
		case step == serve:
			k.serve(c)
			return false
		}
		if err != nil {
			c.end(err)
			return false
		}
		if c.goIdle() {
			return true
		}
	}
}

// requests are buffers for a whole request, mostly.
var requests = sync.Pool{New: func() any { return new([requestBytes]byte) }}

const requestBytes = 2 << 10

// take reads what there is. If the connection cannot be watched, it waits for that,
// unless it is nudged.
func (k *parking) take(c *Conn) error {
	buf := requests.Get().(*[requestBytes]byte)
	defer requests.Put(buf)
	c.mu.Lock()
	before := c.pending
	c.pending = pendingNone
	c.mu.Unlock()
	n, err := c.peek(buf[:])
	k.early = append(k.early, buf[:n]...)
	c.mu.Lock()
	defer c.mu.Unlock()
	k.ahead = len(k.early) > 0
	if n == len(buf) || n > 0 && before == pendingEnd || err != nil { // the same error comes again
		c.pending = max(c.pending, before, pendingData)
	}
	if n > 0 || isTimeout(err) && k.nudged {
		return nil
	}
	return err
}

// drop reads what follows the last answer.
func (k *parking) drop(c *Conn) error {
	n, err := io.CopyN(io.Discard, c.nc, maxEarly+1)
	if n > maxEarly {
		return ErrFlood
	}
	return err
}

// repeat lets the stream take the peer's next request. If it does not, it is over.
func (k *parking) repeat(c *Conn) {
	request := k.early
	k.early = nil
	if k.ask(c, request) {
		c.settle(nil, Idle)
		return
	}
	k.early = request
	c.mu.Lock()
	c.send = sendFlushed
	k.phase, k.ahead = parkBetween, true
	c.mu.Unlock()
	c.detach(nil)
	c.restoreOptions()
}

// ask survives a panic of the stream, which ends the connection.
func (k *parking) ask(c *Conn, request []byte) (taken bool) {
	defer func() {
		if v := recover(); v != nil {
			c.failed(v)
			taken = true
		}
	}()
	return k.repeats.Repeat(request)
}

// serve gives the connection back to the HTTP server. It stays on the pool's
// books meanwhile, so that Close can end it.
func (k *parking) serve(c *Conn) {
	c.unwatch()
	c.mu.Lock()
	watched := c.watched
	c.mu.Unlock()
	if watched {
		c.pool.watch.Load().leave(c)
	}
	k.since.Store(0)
	defer func() {
		c.pool.mu.Lock()
		delete(c.pool.leaving, c)
		c.pool.mu.Unlock()
	}()
	if c.pool.draining.Load() {
		_ = c.nc.Close()
		return
	}
	_ = c.pool.opt.Serve(resume(c.nc, k.early)) // its error is the connection's end
}

// Take detaches the socket from the HTTP server: hijacked is what a fasthttp
// hijack handler gets (Server.KeepHijackedConns must be set). It returns the
// socket itself and the bytes that the server had read ahead.
func Take(hijacked net.Conn) (nc net.Conn, early []byte, err error) {
	nc = hijacked
	u, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return nc, nil, nil
	}
	nc = u.UnsafeConn()
	if c, ok := nc.(*Incoming); ok { // nothing but heads is in the server's buffer
		early = bytes.Clone(c.ahead)
		c.free()
		return c.Conn, early, c.Conn.SetReadDeadline(time.Time{})
	}
	// With a deadline in the past only what is in the server's buffer can be read.
	if err := nc.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, nil, err
	}
	var buf [512]byte
	for len(early) <= maxEarly {
		n, err := hijacked.Read(buf[:])
		early = append(early, buf[:n]...)
		if err != nil {
			break
		}
	}
	return nc, early, nc.SetReadDeadline(time.Time{})
}

// maxEarly bounds the read-ahead that Take collects: the server's own buffer.
const maxEarly = 64 << 10
