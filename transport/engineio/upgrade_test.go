package engineio_test

import (
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
)

// probed opens a session whose WebSocket has got its 3probe.
func (r *rig) probed() (*engineiotest.Poller, *engineiotest.WebSocket) {
	r.t.Helper()
	p := r.Open("")
	ws := p.Probe()
	ws.Send("2probe")
	ws.Gets("3probe")
	return p, ws
}

// carries checks that the session works in both directions over the WebSocket.
func (r *rig) carries(p *engineiotest.Poller, ws *engineiotest.WebSocket) {
	r.t.Helper()
	ws.Send("4ping me")
	a := r.app(p.SID)
	a.send("pong you")
	ws.Gets("4pong you")
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.in) == 0 || a.in[len(a.in)-1] != "ping me" {
		r.t.Fatalf("got %q", a.in)
	}
}

func TestUpgrade(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		begun := time.Now()
		ws := p.Probe()
		ws.Send("2probe")
		ws.Gets("3probe")
		poll.Reply().Is(t, 200, "6") // nothing is due: the probe released it
		took(t, begun, 0)
		ws.Send("5")
		synctest.Wait()
		r.carries(p, ws)

		t.Log("requests over HTTP are refused, and hurt nothing")
		p.Get().Is(t, 400, fault3)
		p.Post("4a").Is(t, 400, fault3)
		p.Probe().Ended()
		r.carries(p, ws)
		if n := r.srv.Len(); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// Some clients do not probe.
func TestUpgradeWithoutAProbe(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		poll := p.Poll()
		synctest.Wait()
		r.app(p.SID).send("first")
		poll.Reply().Is(t, 200, "4first")
		poll = p.Poll()
		synctest.Wait()
		ws := p.Probe()
		ws.Send("5")
		poll.Reply().Is(t, 200, "6")
		r.carries(p, ws)
	})
}

// A GET that comes after the probe is held for a moment: 5 may overtake it.
func TestAPollDuringTheUpgrade(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		t.Log("5 comes")
		p, ws := r.probed()
		poll := p.Poll()
		synctest.Wait()
		if poll.Answered() {
			t.Fatalf("answered %q", poll.Reply().Body)
		}
		ws.Send("5")
		poll.Reply().Is(t, 400, fault3)
		r.carries(p, ws)

		t.Log("5 does not come")
		p, ws = r.probed()
		begun := time.Now()
		p.Gets("6")
		took(t, begun, 100*time.Millisecond)
		r.lives(p)

		t.Log("a message comes")
		poll = p.Poll()
		synctest.Wait()
		r.app(p.SID).send("a")
		poll.Reply().Is(t, 200, "4a")
		ws.Send("5")
		r.carries(p, ws)

		t.Log("the peer sends 5 and a GET together")
		for range 50 {
			p, ws = r.probed()
			ws.Send("5")
			p.Get().Is(t, 400, fault3)
			r.carries(p, ws)
			ws.Drop()
		}
	})
}

// unread polls and never reads the answer.
func (r *rig) unread(p *engineiotest.Poller) net.Conn {
	r.t.Helper()
	conn, err := r.dial(r.t.Context())
	if err == nil {
		r.t.Cleanup(func() { _ = conn.Close() })
		err = p.Request("GET", p.Query(), nil).Write(conn)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return conn
}

// A poll whose answer its client does not wait for is no loss once the WebSocket
// has taken over.
func TestAPollGivenUpAfterTheUpgrade(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		conn := r.unread(p)
		ws := p.Probe()
		ws.Send("5")
		synctest.Wait()
		_ = conn.Close()
		synctest.Wait()
		r.carries(p, ws)
	})
}

// Before, it is one: what it held is lost.
func TestALostAnswerEndsTheSession(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		conn := r.unread(p)
		r.app(p.SID).send("lost")
		synctest.Wait()
		_ = conn.Close()
		wantCause(t, r.app(p.SID), engineio.ErrTransport)
		p.Unknown()
	})
}

// Until 5 comes the session is one of polling.
func TestPollingGoesOnDuringTheProbe(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p, ws := r.probed()
		r.lives(p)
		r.app(p.SID).send("waits", "too")
		r.app(p.SID).sendBinary("\x00")
		p.Sent("4posted")
		ws.Send("5")
		ws.Gets("4waits", "4too")
		ws.GetsBinary("\x00")
		r.carries(p, ws)
		r.app(p.SID).got(t, "are you there", "posted", "ping me")
	})
}

// Whatever happens to the WebSocket before 5, polling lives, and another attempt
// succeeds.
func TestFailedProbes(t *testing.T) {
	for name, fail := range map[string]func(*engineiotest.WebSocket){
		"dropped":                 func(ws *engineiotest.WebSocket) { ws.Drop() },
		"closed":                  func(ws *engineiotest.WebSocket) { ws.Frame(0x88, nil); ws.Ended() },
		"a message":               func(ws *engineiotest.WebSocket) { ws.Send("4a"); ws.Ended() },
		"binary":                  func(ws *engineiotest.WebSocket) { ws.SendBinary([]byte("a")); ws.Ended() },
		"a close packet":          func(ws *engineiotest.WebSocket) { ws.Send("1"); ws.Ended() },
		"a ping that is no probe": func(ws *engineiotest.WebSocket) { ws.Send("2"); ws.Ended() },
		"a pong":                  func(ws *engineiotest.WebSocket) { ws.Send("3"); ws.Ended() },
		"a noop":                  func(ws *engineiotest.WebSocket) { ws.Send("6"); ws.Ended() },
		"garbage":                 func(ws *engineiotest.WebSocket) { ws.Send("abc"); ws.Ended() },
		"an empty frame":          func(ws *engineiotest.WebSocket) { ws.Send(""); ws.Ended() },
		"a broken frame":          func(ws *engineiotest.WebSocket) { ws.Frame(0xF1, nil); ws.Ended() },
		"no 5 in time": func(ws *engineiotest.WebSocket) {
			begun := time.Now()
			ws.Ended()
			if d := time.Since(begun).Truncate(time.Millisecond); d != 10*time.Second {
				panic(d)
			}
		},
	} {
		for _, begun := range []bool{true, false} {
			t.Run(name+", probe "+strconv.FormatBool(begun), func(t *testing.T) {
				inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
					p := r.Open("")
					poll := p.Poll()
					synctest.Wait()
					ws := p.Probe()
					if begun {
						ws.Send("2probe")
						ws.Gets("3probe")
						poll.Reply().Is(t, 200, "6")
					}
					fail(ws)
					synctest.Wait()
					if !begun {
						r.app(p.SID).send("held")
						poll.Reply().Is(t, 200, "4held")
					}
					r.lives(p)
					ws = p.Probe()
					ws.Send("2probe", "5")
					ws.Gets("3probe")
					synctest.Wait()
					r.carries(p, ws)
				})
			})
		}
	}
}

// A second WebSocket is turned away and the first goes on.
func TestASecondProbe(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p, first := r.probed()
		second := p.Probe()
		second.Send("2probe", "5", "4a")
		second.Ended()
		r.lives(p)
		first.Send("5")
		r.carries(p, first)
		third := p.Probe()
		third.Send("5", "4a")
		third.Ended()
		r.carries(p, first)
		r.app(p.SID).got(t, "are you there", "ping me", "ping me")
	})
}

// A session may end in the middle of an upgrade.
func TestASessionEndsDuringTheProbe(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p, ws := r.probed()
		p.Sent("1")
		ws.Ended()
		wantCause(t, r.app(p.SID), engineio.ErrPeerClosed)

		p, ws = r.probed()
		r.app(p.SID).send("a")
		r.app(p.SID).session.Close(errWanted)
		ws.Ended()
		p.Gets("4a") // polling is the transport still
		p.Unknown()
		wantCause(t, r.app(p.SID), errWanted)

		p, ws = r.probed()
		ws.Send("5", "4a")
		synctest.Wait()
		ws.Drop()
		wantCause(t, r.app(p.SID), engineio.ErrTransport)
		r.app(p.SID).got(t, "a")
	})
}

// A ping that is due during the probe goes where the session goes.
func TestAPingDuringTheProbe(t *testing.T) {
	inBubble(t, quick, func(t *testing.T, r *rig) {
		p, ws := r.probed()
		time.Sleep(350 * time.Millisecond)
		ws.Send("5")
		ws.Gets("2")
		ws.Send("3")
		synctest.Wait()
		begun := time.Now()
		ws.Gets("2")
		took(t, begun, 300*time.Millisecond)
		ws.Send("3")
		r.carries(p, ws)
	})
}

// Messages keep their order while both sides send and the transport changes.
func TestOrderAcrossTheUpgradeUnderLoad(t *testing.T) {
	const each = 150
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		a := r.app(p.SID)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range 3 * each {
				a.send("s" + strconv.Itoa(i))
				if i%10 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		var down []string
		n := 0
		up := func() string { n++; return "4c" + strconv.Itoa(n-1) }
		for len(down) < each/2 { // as clients do: poll on, and post beside it
			poll := p.Poll()
			for range 5 {
				p.Sent(up())
			}
			down = append(down, splitPackets(poll.Reply().Body)...)
		}
		poll := p.Poll()
		ws := p.Probe()
		ws.Send("2probe")
		p.Sent(up(), up())
		ws.Gets("3probe")
		down = append(down, splitPackets(poll.Reply().Body)...)
		ws.Send("5")
		for range 20 {
			ws.Send(up())
		}
		for len(down) < 3*each {
			down = append(down, ws.Text())
		}
		<-sent
		for i, packet := range down {
			if want := "4s" + strconv.Itoa(i); packet != want {
				t.Fatalf("packet %d is %q", i, packet)
			}
		}
		synctest.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.in) != n {
			t.Errorf("%d messages of %d", len(a.in), n)
		}
		for i, m := range a.in {
			if m != "c"+strconv.Itoa(i) {
				t.Fatalf("message %d is %q", i, m)
			}
		}
	})
}
