package wire

import (
	"net"
	"time"
)

// parking is what a parked request has beyond a stream.
type parking struct {
	wait  time.Duration
	timer *time.Timer // wakes the connection after wait; runs once the pool knows the connection; nil: there is no limit
	early []byte      // what the peer has sent after its request; of the reader
	kept  bool        // the peer has time for its next request; of the reader

	// Guarded by Conn.mu.
	answered bool // the answer was flushed
	reuse    bool // the connection goes back to the HTTP server
}

// Park takes a connection whose request is answered later. s is asked at once,
// at each Wake, and after wait, unless that is 0; when it fills something, that is
// the whole answer. early is what Take returned. The answer ends with Reuse if the
// connection may serve further requests.
func (p *Pool) Park(nc net.Conn, early []byte, s Stream, wait time.Duration) *Conn {
	c := p.adopt(nc, s)
	k := &parking{wait: wait, early: early}
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

// answer lets the reader go on after the answer was flushed.
func (k *parking) answer(c *Conn, reuse bool) {
	k.stop()
	if reuse {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes a reader that does not rest, and sets it anew
	} else {
		c.linger()
	}
	c.mu.Lock()
	k.answered, k.reuse = true, reuse
	c.mu.Unlock()
	c.rouse()
}

// over reports whether the answer was flushed, and what follows.
func (k *parking) over(c *Conn) (over, reuse bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.answered, k.reuse
}

// pause lets the reader end until the connection is answered or killed, whatever
// the peer sends. It returns false if that has happened.
func (k *parking) pause(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = !k.answered && c.cause == nil
	return c.resting
}

// read waits for the peer's next request or its end. It goes on reading while
// the answer is out, because a peer that has sent its next request already may
// leave all the same.
func (k *parking) read(c *Conn) (rests bool) {
	var buf [2 << 10]byte // a whole request, mostly
	for {
		over, reuse := k.over(c)
		switch {
		case over && reuse && len(k.early) > 0:
			k.serve(c, k.early)
			return false
		case over && reuse && !k.kept:
			k.kept = true
			_ = c.nc.SetReadDeadline(time.Now().Add(c.pool.opt.IdleTimeout))
		}
		n, err := c.nc.Read(buf[:])
		k.early = append(k.early, buf[:n]...)
		woken := isTimeout(err) && !k.kept && (!over || reuse) // by answer
		enough := len(k.early) > maxEarly
		switch {
		case err != nil && !woken, enough && over:
			c.end(err)
			return false
		case woken || enough:
			rests = k.pause(c)
		default:
			rests = c.rest()
		}
		if rests {
			return true
		}
	}
}

// serve gives the connection back to the HTTP server. It stays on the pool's
// books meanwhile, so that Close can end it.
func (k *parking) serve(c *Conn, first []byte) {
	c.unwatch()
	defer func() {
		c.pool.mu.Lock()
		delete(c.pool.leaving, c)
		c.pool.mu.Unlock()
	}()
	if c.pool.draining.Load() {
		_ = c.nc.Close()
		return
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	_ = c.pool.opt.Serve(&resumed{Conn: unwrap(c.nc), first: first}) // its error is the connection's end
}

// resumed is a connection whose next bytes were read ahead.
type resumed struct {
	net.Conn
	first []byte
}

func (r *resumed) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		if r.first = r.first[n:]; len(r.first) == 0 {
			r.first = nil
		}
		return n, nil
	}
	return r.Conn.Read(p)
}

// unwrap returns the socket below earlier read-aheads, so that they do not pile
// up on a connection that is parked again and again.
func unwrap(nc net.Conn) net.Conn {
	if r, ok := nc.(*resumed); ok && len(r.first) == 0 {
		return r.Conn
	}
	return nc
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
	return unwrap(nc), early, nc.SetReadDeadline(time.Time{})
}

// maxEarly bounds the read-ahead that Take collects: the server's own buffer.
const maxEarly = 64 << 10
