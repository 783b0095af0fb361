package socketio_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/socketio"
)

func TestThePeerLeaves(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connected()
		p := r.last()
		c.joins("/custom,")
		c.Send("41")
		p.wantCause(t, socketio.ErrLeft)
		c.talks("/custom,") // nothing was said about it
		c.joins("")
		c.talks("")
		if r.last() == p {
			t.Error("the same peer")
		}
		c.Send("41/custom,", "41")
		r.last().wantCause(t, socketio.ErrLeft)
		c.joins("/custom,") // the connection is open with no namespace left
		c.talks("/custom,")
	})
}

func TestTheServerDisconnects(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connected()
		main := r.last()
		c.joins("/custom,")
		p := r.last()
		if err := p.socket.Emit("last", 1); err != nil {
			t.Fatal(err)
		}
		p.socket.Disconnect()
		p.socket.Disconnect() // once is enough
		if err := p.socket.Emit("never"); err != nil {
			t.Fatal(err)
		}
		c.Gets(`42/custom,["last",1]`, "41/custom,")
		p.wantCause(t, socketio.ErrLeft)
		c.talks("")
		c.joins("/custom,")
		main.socket.Fail(errWanted) // this ends the connection without a word
		c.Ended()
		main.wantCause(t, errWanted)
		r.last().wantCause(t, errWanted)
	})
}

// Both sides leave at once, while ticks and messages come: it is told once, and
// nothing after it.
func TestLeavingIsToldOnce(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		r.prepare = func(p *peer) {
			p.socket.TickAt(time.Now())
			p.onTick = func(now time.Time) error { p.socket.TickAt(now); return p.socket.Emit("tick") }
		}
		for i := range 60 {
			c := r.connection()
			c.Send("40/custom,")
			c.joined("/custom,")
			p := r.last()
			done := make(chan struct{})
			go func() {
				if i%2 == 0 {
					p.socket.Disconnect()
				}
				close(done)
			}()
			c.Send(`42/custom,["note"]`, "41/custom,")
			<-done
			p.wantCause(t, socketio.ErrLeft)
			c.Drop()
		}
	})
}

// The server disconnects while an event is being handled: the peer is told after it.
func TestDisconnectBesideAnEvent(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		for range 20 {
			r.prepare = func(p *peer) {
				p.onEvent = func() {
					go p.socket.Disconnect()
					for range 1000 {
						runtime.Gosched() // what may come in between comes
					}
				}
			}
			c := r.connection()
			c.joins("/custom,")
			c.Send(`42/custom,["note"]`)
			c.Gets("41/custom,")
			r.last().wantCause(t, socketio.ErrLeft)
			c.joins("")
			c.Drop()
		}
	})
}

// One socket leaves while another keeps the connection sending.
func TestLeavingWhileTheConnectionSends(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		for range 50 {
			c := r.connection()
			c.joins("/custom,")
			p := r.last()
			c.joins("")
			stop := wakes(r.last().socket)
			c.Send("41/custom,")
			p.wantCause(t, socketio.ErrLeft)
			stop()
			c.Drop()
		}
	})
}

// A namespace may think better of it before Connect has returned.
func TestDisconnectDuringConnect(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		r.prepare = func(p *peer) { p.socket.Disconnect() }
		c := r.connection()
		c.joins("/custom,")
		c.Gets("41/custom,")
		r.last().wantCause(t, socketio.ErrLeft)
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connected()
		_ = r.last().socket.Emit("queued")
		drained := make(chan error, 1)
		go func() { drained <- r.pool.Drain(context.Background(), func() time.Duration { return time.Second }) }()
		c.Gets(`42["queued"]`, `42["bye"]`)
		if code := c.Ended(); code != 1012 {
			t.Errorf("code %d", code)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		r.last().wantCause(t, engineio.ErrShutdown)
	})
}
