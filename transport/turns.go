package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/jobcast/jobcast/auth"
)

// largeBodies is how many bodies that are larger than the door's usual bound one client may
// have in memory at a time, from their first byte to the answer.
const largeBodies = 4

// LargeAnswer is the size in bytes above which an answer takes a turn: what a socket
// takes at once, so that a smaller one is gone when its handler returns.
const LargeAnswer = 64 << 10

// Bounds of large answers. One of a credential is made at a time: that takes several
// times its size. While it waits for its reader it takes its size.
const (
	unreadPerCredential = 8
	unreadPerClient     = 32  // of all its credentials
	maxTurnsAhead       = 256 // of one lane; each that waits holds a goroutine
	maxTurnWait         = 30 * time.Second
	lookAfterPeer       = 100 * time.Millisecond

	// A reader of a large answer takes at least so many bytes a second, after the
	// first leastTime.
	leastSpeed = 32 << 10
	leastTime  = 30 * time.Second
)

// turns says who may have a large answer made. The zero value is ready.
type turns struct {
	mu    sync.Mutex // guards lanes and lane.users
	lanes map[string]*lane
}

// lane is a queue for some places. It exists while somebody uses it.
type lane struct {
	name  string
	users int
	*semaphore.Weighted
}

func (t *turns) join(name string, width int64) *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[name]
	if l == nil {
		l = &lane{name: name, Weighted: semaphore.NewWeighted(width)}
		if t.lanes == nil {
			t.lanes = make(map[string]*lane)
		}
		t.lanes[name] = l
	}
	l.users++
	return l
}

func (t *turns) leave(l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(t.lanes, l.name)
	}
}

// crowded reports whether more use l than may.
func (t *turns) crowded(l *lane) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return l.users > maxTurnsAhead
}

// place is what is waited for: one of a lane's.
type place struct {
	lane  string
	width int64 // how many the lane has
}

// waits are the words for those who wait in vain.
type waits struct{ crowded, late string }

var (
	answerWaits = waits{"Too many large answers are waiting for this credential.", "The large answers before this one took too long to be read."}
	bodyWaits   = waits{"Too many large bodies of this client are waiting.", "The large bodies of this client before this one took too long."}
)

// turn is the right to make one large answer and to let it wait for its reader, or to send a
// large body.
type turn struct {
	turns    *turns
	words    waits
	patience time.Duration // how long it is waited for
	unread   int           // how many of held, the first ones, an answer keeps while it waits for its reader
	held     []*lane       // one place in each
}

// take takes a place in a lane. If there is none it waits for one, as long as the
// context that wait makes then.
func (w *turn) take(wait func() context.Context, p place) error {
	l := w.turns.join(p.lane, p.width)
	if w.turns.crowded(l) {
		w.turns.leave(l)
		return Refuse(ConnectionLimit, w.words.crowded)
	}
	if l.TryAcquire(1) {
		w.held = append(w.held, l)
		return nil
	}
	if err := l.Acquire(wait(), 1); err != nil {
		w.turns.leave(l)
		return Refuse(ConnectionLimit, w.words.late)
	}
	w.held = append(w.held, l)
	return nil
}

// leave gives places back, but for the first n.
func (w *turn) leave(n int) {
	for _, l := range w.held[n:] {
		l.Release(1)
		w.turns.leave(l)
	}
	w.held = w.held[:n]
}

// Turn makes a request whose answer may be larger than LargeAnswer wait until the
// ones before it with the same credential are made, and most of them taken by their
// readers. What the request holds meanwhile should be little. Nobody waits for more
// than 30 s, nor longer than the caller stays, and at most 256 do. The refusal is
// connection_limit, or draining. The turn ends with the answer.
func (d *Door) Turn(c *fiber.Ctx, p auth.Principal) error {
	return d.turn(c, &turn{words: answerWaits, patience: maxTurnWait, unread: 2},
		append(unread(p), place{"making " + p.Credential(), 1})...)
}

// TryTurn is Turn for an answer that stands in memory already, so that it must not wait. It
// reports whether the answer may be large.
func (d *Door) TryTurn(c *fiber.Ctx, p auth.Principal) bool {
	return d.turn(c, &turn{words: answerWaits, unread: 2}, unread(p)...) == nil
}

// unread are the places of an answer that waits for its reader.
func unread(p auth.Principal) []place {
	return []place{{"credential " + p.Credential(), unreadPerCredential}, {"client " + p.ClientID, unreadPerClient}}
}

// bodyTurn makes a request with a large body wait, as Turn does, until most of those before
// it of its client are answered. Nothing of the body is read before. It then may take as
// long as one that is read at once.
func (d *Door) bodyTurn(c *fiber.Ctx) error {
	if err := d.turn(c, &turn{words: bodyWaits, patience: maxTurnWait}, place{"bodies of " + infoOf(c).who.ClientID, largeBodies}); err != nil {
		return err
	}
	if err := c.Context().SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return BrokenBody(err)
	}
	return nil
}

// turn takes a request its turn, w: places, one after the other.
func (d *Door) turn(c *fiber.Ctx, w *turn, places ...place) error {
	v := infoOf(c)
	if v.turn != nil {
		return nil
	}
	if d.Draining() {
		return refuseDraining()
	}
	end := func() {}
	defer func() { end() }()
	wait := sync.OnceValue(func() context.Context {
		ctx, cancel := context.WithTimeout(d.draining, w.patience)
		stop := watchPeer(c.Context().Conn(), cancel)
		end = func() {
			stop()
			cancel()
		}
		return ctx
	})
	w.turns = &d.turns
	for _, p := range places {
		if err := w.take(wait, p); err != nil {
			w.leave(0)
			if d.Draining() { // then nobody waits, and nothing took too long
				return refuseDraining()
			}
			return err
		}
	}
	v.turn = w
	return nil
}

// endTurn ends the request's turn, after what a large answer needs until it is written.
// A small one is as good as written, and one that is hijacked the business of others.
func endTurn(c *fiber.Ctx, v *requestInfo) {
	w := v.turn
	if w == nil {
		return
	}
	v.turn = nil
	if c.Response().IsBodyStream() || len(c.Response().Body()) <= LargeAnswer {
		w.leave(0)
		return
	}
	w.leave(w.unread)
	body := c.Response().Body()
	conn := c.Context().Conn()
	_ = conn.SetWriteDeadline(time.Now().Add(leastTime + time.Duration(len(body)/leastSpeed)*time.Second))
	c.Response().SetBodyStream(&turnBody{bytes.NewReader(body), w, conn}, len(body))
}

// turnBody is a large answer that waits for its reader. fasthttp closes it, once, when
// it was written or cannot be.
type turnBody struct {
	*bytes.Reader
	turn *turn
	conn net.Conn
}

// Close implements io.Closer.
func (b *turnBody) Close() error {
	b.turn.leave(0)
	return b.conn.SetWriteDeadline(time.Time{})
}

// watchPeer calls gone when the peer of nc has left, until stop is called. A peer that
// has sent its next request meanwhile is not seen to leave, nor is one behind a
// connection without a descriptor.
func watchPeer(nc net.Conn, gone func()) (stop func()) {
	if r, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = r.NetConn()
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return func() {}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() {}
	}
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		look := time.NewTicker(lookAfterPeer)
		defer look.Stop()
		for {
			select {
			case <-over:
				return
			case <-look.C:
			}
			if left(raw) {
				gone()
				return
			}
		}
	})
	return func() {
		close(over)
		watching.Wait()
	}
}

// left reports whether the peer has closed its side, without taking anything.
func left(raw syscall.RawConn) bool {
	closed := false
	err := raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		again := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
		closed = n == 0 && err == nil || err != nil && !again
	})
	return closed || err != nil
}
