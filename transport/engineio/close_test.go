package engineio_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
	"github.com/jobcast/jobcast/transport/wire"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

var errWanted = errors.New("wanted by the test")

func TestThePeerCloses(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		t.Log("while its GET waits")
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		p.Sent("4last", "1", "4never")
		poll.Reply().Is(t, 200, "6")
		p.Unknown()
		r.app(p.SID).got(t, "last")
		wantCause(t, r.app(p.SID), engineio.ErrPeerClosed)

		t.Log("and its GET is a little late")
		p = r.Open("")
		p.Sent("1")
		time.Sleep(20 * time.Millisecond)
		p.Gets("6")
		p.Unknown()

		t.Log("and nothing but a GET is late")
		p = r.Open("")
		p.Sent("1")
		p.Post("4a").Is(t, 400, fault1)
		p.Gets("6")
		p.Unknown()

		t.Log("and its GET is too late")
		p = r.Open("")
		p.Sent("1")
		time.Sleep(100 * time.Millisecond)
		p.Unknown()

		if n := r.srv.Len(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// The GET and the POST that closes are on their way together.
func TestThePeerClosesAndPollsAtOnce(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		for range 50 {
			p := r.Open("")
			poll := p.Poll()
			p.Sent("1")
			poll.Reply().Is(t, 200, "6")
			p.Unknown()
		}
	})
}

func TestTheServerCloses(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		t.Log("while a GET waits")
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		r.app(p.SID).session.Close(errWanted)
		poll.Reply().Is(t, 200, "1")
		p.Unknown()
		wantCause(t, r.app(p.SID), errWanted)

		t.Log("with messages that wait")
		p = r.Open("")
		r.app(p.SID).send("a", "b")
		r.app(p.SID).sendBinary("c")
		r.app(p.SID).session.Close(errWanted)
		p.Post("4too late").Is(t, 400, fault1)
		p.Gets("4a", "4b", "bYw==")
		p.Unknown()
		r.app(p.SID).got(t)

		t.Log("with nothing to say")
		p = r.Open("")
		r.app(p.SID).session.Close(errWanted)
		time.Sleep(29 * time.Second)
		p.Gets("1")
		p.Unknown()

		t.Log("with messages, while a GET waits")
		p = r.Open("")
		poll = p.Poll()
		synctest.Wait()
		a := r.app(p.SID)
		a.mu.Lock()
		a.out = append(a.out, engineio.Message{Data: []byte("a")}) // and nobody is told
		a.mu.Unlock()
		a.session.Close(errWanted)
		poll.Reply().Is(t, 200, "4a")
		p.Unknown()

		t.Log("on a WebSocket")
		ws, h := r.OpenWebSocket("")
		r.app(h.SID).send("a", "b")
		r.app(h.SID).session.Close(errWanted)
		ws.Gets("4a", "4b")
		if code := ws.Ended(); code != 0 {
			t.Errorf("code %d", code)
		}
		wantCause(t, r.app(h.SID), errWanted)

		t.Log("and nobody comes")
		p = r.Open("")
		r.app(p.SID).session.Close(errWanted)
		time.Sleep(31 * time.Second)
		p.Unknown()
		if n := r.srv.Len(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// What is kept for the last poll is bounded.
func TestALastAnswerIsBounded(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.endless = strings.Repeat("x", 1000) }
		p := r.Open("")
		r.app(p.SID).session.Close(errWanted)
		body := p.Get().Body
		if len(body) < 64<<10 || len(body) > 66<<10 {
			t.Errorf("%d bytes", len(body))
		}
	})
}

func TestFail(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		r.app(p.SID).send("lost")
		r.app(p.SID).session.Fail(errWanted)
		synctest.Wait()
		body := poll.Reply().Body
		if body != "1" && body != "4lost" {
			t.Errorf("answered %q", body)
		}
		p.Unknown()
		r.app(p.SID).session.Fail(errWanted) // of a session that is over: nothing
		r.app(p.SID).session.TickAt(time.Now())
		r.app(p.SID).session.Wake()
		time.Sleep(time.Second)
		wantCause(t, r.app(p.SID), errWanted)

		t.Log("before the session is open")
		r.prepare = func(a *app) { a.session.Fail(errWanted) }
		p = r.Open("")
		time.Sleep(time.Millisecond)
		p.Unknown()
		wantCause(t, r.app(p.SID), errWanted)
	})
}

func TestTick(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		begun := time.Now()
		ticks := make(chan time.Duration, 10)
		r.prepare = func(a *app) {
			a.session.TickAt(begun.Add(3 * time.Second))
			a.onTick = func(now time.Time) error {
				if ticks <- now.Sub(begun); len(ticks) == 3 {
					return errWanted
				}
				a.session.TickAt(now.Add(2 * time.Second))
				return nil
			}
		}
		p := r.Open("")
		r.app(p.SID).send("a")
		time.Sleep(10 * time.Second)
		if len(ticks) != 3 {
			t.Errorf("%d ticks", len(ticks))
		}
		for _, want := range []time.Duration{3 * time.Second, 5 * time.Second, 7 * time.Second} {
			if got := <-ticks; got != want {
				t.Errorf("a tick after %v, want %v", got, want)
			}
		}
		wantCause(t, r.app(p.SID), errWanted)
		p.Gets("4a") // an error of Tick closes politely
		p.Unknown()
	})
}

// A tick that is due after the end does not come, also while the session is still
// known to its peer.
func TestNoTickAfterTheEnd(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.session.TickAt(time.Now().Add(10 * time.Second)) }
		p := r.Open("")
		r.app(p.SID).session.Close(errWanted)
		time.Sleep(20 * time.Second)
		r.app(p.SID).session.TickAt(time.Now())
		time.Sleep(20 * time.Second) // the harness looks whether it came
	})
}

// A session that ends while its application is busy tells it afterwards.
func TestClosedWaitsForReceive(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.prepare = func(a *app) {
			a.onReceive = func(engineio.Message) error { <-gate; return nil }
		}
		ws, h := r.OpenWebSocket("")
		ws.Send("4a")
		synctest.Wait()
		a := r.app(h.SID)
		a.session.Fail(errWanted)
		ws.Ended()
		select {
		case <-a.over:
			t.Error("Closed beside Receive")
		default:
		}
		close(gate)
		wantCause(t, a, errWanted)
		a.got(t, "a")
	})
}

// Draining says goodbye on both transports.
func TestDrain(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		poll := p.Poll()
		ws, h := r.OpenWebSocket("")
		upgrading := r.Open("")
		probe := upgrading.Probe()
		probe.Send("2probe")
		probe.Gets("3probe")
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- r.pool.Drain(context.Background(), func() time.Duration { return time.Second }) }()
		poll.Reply().Is(t, 200, "4bye")
		ws.Gets("4bye")
		if code := ws.Ended(); code != rfc6455.CloseDrain {
			t.Errorf("code %d", code)
		}
		if code := probe.Ended(); code != rfc6455.CloseDrain {
			t.Errorf("code %d of the probe", code)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		wantCause(t, r.app(p.SID), engineio.ErrShutdown)
		wantCause(t, r.app(h.SID), engineio.ErrShutdown)
		r.srv.Close()
		wantCause(t, r.app(upgrading.SID), engineio.ErrShutdown)
		if n := r.srv.Len(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// What was sent before a close comes before it, and never in the same answer.
func TestACloseFollowsWhatWasSent(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		for range 30 {
			p := r.Open("")
			poll := p.Poll()
			synctest.Wait()
			r.app(p.SID).send("a", "b")
			go r.app(p.SID).session.Close(errWanted)
			poll.Reply().Is(t, 200, joined("4a", "4b"))
			if end := p.Get(); end.Body != "1" && end.Body != fault1 {
				t.Fatalf("then answered %q", end.Body)
			}
		}
	})
}

// An answer that is decided is what a GET gets, also if the server drains before it
// has left.
func TestADrainBesideAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			r := newRig(t, engineio.Options{}, engineiotest.Memory)
			p := r.Open("")
			poll := p.Poll()
			synctest.Wait()
			a := r.app(p.SID)
			a.mu.Lock()
			a.out = append(a.out, engineio.Message{Data: []byte("a")}) // and nobody is told
			a.mu.Unlock()
			go a.session.Close(errWanted)
			go func() { _ = r.pool.Drain(context.Background(), func() time.Duration { return 0 }) }()
			if body := poll.Reply().Body; body != "4a" && body != "4bye" {
				t.Fatalf("answered %q", body)
			}
		}
	})
}

// A panic in Tick comes on a goroutine of the session's own; it ends that session
// and nothing else.
func TestAPanicOfTickEndsItsSessionAlone(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) {
			a.session.TickAt(time.Now().Add(time.Second))
			a.onTick = func(time.Time) error { panic("tick") }
		}
		broken, h := r.OpenWebSocket("")
		p := r.Open("")
		r.prepare = nil
		check := r.neighbour()
		time.Sleep(2 * time.Second)
		if _, _, err := broken.Next(); err == nil {
			t.Error("the connection goes on")
		}
		for _, sid := range []string{h.SID, p.SID} { // also where there is no connection to cut
			wantCause(t, r.app(sid), wire.ErrPanic)
		}
		p.Unknown()
		check()
	})
}
