package wire

import (
	"net"
	"sync"
	"time"
)

// parking is what a parked request has beyond a stream.
type parking struct {
	wait     time.Duration
	timer    *time.Timer   // wakes the connection after wait; runs once the pool knows the connection
	early    []byte        // what the peer had sent after its request
	answered chan struct{} // closed by the sender once the answer is flushed
	cut      chan struct{} // closed by kill, once: there will be no answer
	cutOnce  sync.Once
	reuse    bool // the connection goes back to the HTTP server; set before answered is closed
}

// Park takes a connection whose request is answered later. s is asked at once,
// at each Wake, and after wait; when it fills something, that is the whole
// answer. early is what Take returned. The answer ends with Reuse if the
// connection may serve further requests.
func (p *Pool) Park(nc net.Conn, early []byte, s Stream, wait time.Duration) *Conn {
	c := p.adopt(nc, s)
	k := &parking{wait: wait, early: early, answered: make(chan struct{}), cut: make(chan struct{})}
	k.timer = time.AfterFunc(time.Hour, c.Wake)
	k.timer.Stop()
	c.parked = k
	p.launch(c)
	return c
}

// answer lets the reader go on after the answer was flushed.
func (k *parking) answer(c *Conn, reuse bool) {
	k.timer.Stop()
	k.reuse = reuse
	if reuse {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader, which sets it anew
	} else {
		c.linger()
	}
	close(k.answered)
}

// read waits for the peer's next request or its end. It goes on reading while
// the answer is out, because a peer that has sent its next request already may
// leave all the same.
func (k *parking) read(c *Conn) {
	defer k.timer.Stop()
	first, rested := k.early, false
	var buf [64]byte
	for {
		n, err := c.nc.Read(buf[:])
		first = append(first, buf[:n]...)
		if isTimeout(err) || len(first) > maxEarly { // woken by answer, or told enough
			select {
			case <-k.answered:
			case <-k.cut:
			}
		}
		switch {
		case k.over() && k.reuse && len(first) > 0:
			k.serve(c, first)
			return
		case k.over() && k.reuse && isTimeout(err) && !rested:
			rested = true
			_ = c.nc.SetReadDeadline(time.Now().Add(c.pool.opt.IdleTimeout))
		case err != nil || len(first) > maxEarly:
			c.end(err)
			return
		}
	}
}

// over reports whether the answer was flushed.
func (k *parking) over() bool {
	select {
	case <-k.answered:
		return true
	default:
		return false
	}
}

// serve gives the connection back to the HTTP server. It stays on the pool's
// books meanwhile, so that Close can end it.
func (k *parking) serve(c *Conn, first []byte) {
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
