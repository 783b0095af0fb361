package engineio_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
)

// quick has the times of the official suites.
var quick = engineio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond}

// took checks how long something lasted, in fake time, to the millisecond.
func took(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if d := time.Since(since).Truncate(time.Millisecond); d != want {
		t.Errorf("after %v, want %v", d, want)
	}
}

func TestHeartbeat(t *testing.T) {
	inBubble(t, quick, func(t *testing.T, r *rig) {
		p, begun := r.Open(""), time.Now()
		for range 3 {
			p.Gets("2")
			took(t, begun, 300*time.Millisecond)
			time.Sleep(150 * time.Millisecond) // the next interval begins with the pong, not with the ping
			p.Sent("3")
			begun = time.Now()
		}
		r.lives(p)

		ws, h := r.OpenWebSocket("")
		begun = time.Now()
		for range 3 {
			ws.Gets("2")
			took(t, begun, 300*time.Millisecond)
			time.Sleep(150 * time.Millisecond)
			ws.Send("3")
			synctest.Wait()
			begun = time.Now()
		}
		r.app(h.SID).got(t)
		ws.Drop()
		time.Sleep(time.Second) // nobody answers any more
		if n := r.srv.Len(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestALateTick: the deadline of a session stays when the tick that makes its ping due
// comes late.
func TestALateTick(t *testing.T) {
	inBubble(t, quick, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) {
			a.onTick = func(time.Time) error {
				time.Sleep(100 * time.Millisecond) // the ping waits for it
				return nil
			}
			a.session.TickAt(time.Now().Add(250 * time.Millisecond))
		}
		p := r.Open("")
		time.Sleep(500 * time.Millisecond)
		p.Unknown()
	})
}

func TestPingTimeout(t *testing.T) {
	for name, f := range map[string]func(t *testing.T, r *rig) (sid string){
		"no poll, asked at the deadline": func(t *testing.T, r *rig) string {
			p := r.Open("")
			time.Sleep(500 * time.Millisecond) // no earlier timer has the right to win
			p.Unknown()
			return p.SID
		},
		"posts only, asked at the deadline": func(_ *testing.T, r *rig) string {
			p := r.Open("")
			time.Sleep(500 * time.Millisecond)
			p.Post("3").Is(r.t, 400, fault1)
			return p.SID
		},
		"WebSocket asked at the deadline": func(t *testing.T, r *rig) string {
			p := r.Open("")
			time.Sleep(500 * time.Millisecond)
			if ws, reply := r.TryWebSocket(r.Upgrade("EIO=4&transport=websocket&sid=" + p.SID)); ws != nil || reply.Body != fault1 {
				t.Errorf("answered %d %q", reply.Status, reply.Body)
			}
			return p.SID
		},
		"a ping that is not answered": func(_ *testing.T, r *rig) string {
			p := r.Open("")
			p.Gets("2")
			poll, begun := p.Poll(), time.Now()
			poll.Reply().Is(r.t, 200, "1")
			took(r.t, begun, 200*time.Millisecond)
			p.Unknown()
			return p.SID
		},
		"WebSocket": func(t *testing.T, r *rig) string {
			ws, h := r.OpenWebSocket("")
			begun := time.Now()
			ws.Gets("2")
			ws.Ended()
			took(t, begun, 500*time.Millisecond)
			return h.SID
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, quick, func(t *testing.T, r *rig) {
				sid := f(t, r)
				wantCause(t, r.app(sid), engineio.ErrPingTimeout)
				if n := r.srv.Len(); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			})
		})
	}
}

// While a pong is awaited the first other packet shows that the peer is alive; the
// second one shows nothing new.
func TestOtherPacketsExtendTheWaitOnce(t *testing.T) {
	inBubble(t, quick, func(t *testing.T, r *rig) {
		ws, h := r.OpenWebSocket("")
		ws.Gets("2")
		begun := time.Now()
		for range 3 {
			time.Sleep(150 * time.Millisecond)
			ws.Send("4busy")
		}
		ws.Ended()
		took(t, begun, 350*time.Millisecond+100*time.Millisecond) // seen with the third
		r.app(h.SID).got(t, "busy", "busy")
		wantCause(t, r.app(h.SID), engineio.ErrPingTimeout)

		ws, h = r.OpenWebSocket("")
		ws.Gets("2")
		time.Sleep(150 * time.Millisecond)
		ws.Send("4busy")
		time.Sleep(150 * time.Millisecond)
		ws.Send("3")
		ws.Gets("2")
		r.app(h.SID).got(t, "busy")
	})
}

// Only pings keep the client from giving up, so they go in front of everything
// else that waits.
func TestPingsPassABacklog(t *testing.T) {
	const rounds = 4
	o := quick
	o.MaxPayload = 10_000
	late := 60 * time.Millisecond // an answer or a turn that has begun already

	t.Run("polling", func(t *testing.T) {
		inBubble(t, o, func(t *testing.T, r *rig) {
			r.prepare = func(a *app) { a.endless = strings.Repeat("x", 1000) }
			p, begun := r.Open(""), time.Now()
			for pings := 0; pings < rounds; {
				body := p.Get().Body
				first, _, _ := strings.Cut(body, "\x1e")
				if first != "2" && (strings.Contains(body, "\x1e2\x1e") || time.Since(begun) > quick.PingInterval+late) {
					t.Fatalf("ping %d is late: %v", pings, time.Since(begun))
				}
				if first == "2" {
					pings++
					p.Sent("3")
					begun = time.Now()
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	})
	t.Run("websocket", func(t *testing.T) {
		inBubble(t, o, func(t *testing.T, r *rig) {
			r.prepare = func(a *app) { a.endless = strings.Repeat("x", 10_000) }
			ws, _ := r.OpenWebSocket("")
			begun := time.Now()
			for pings := 0; pings < rounds; {
				if text := ws.Text(); text == "2" {
					pings++
					ws.Send("3")
					begun = time.Now()
				}
				if time.Since(begun) > quick.PingInterval+late {
					t.Fatalf("ping %d is late: %v", pings, time.Since(begun))
				}
				time.Sleep(5 * time.Millisecond) // slow, so that there is always more
			}
		})
	})
}

// A ping that is due while no GET waits goes out with the next one.
func TestAPingWaitsForThePoll(t *testing.T) {
	inBubble(t, quick, func(t *testing.T, r *rig) {
		p := r.Open("")
		time.Sleep(400 * time.Millisecond)
		r.app(p.SID).send("a")
		p.Gets("2", "4a")
		p.Sent("3")
		r.lives(p)
	})
}

// A session of which nothing is heard goes, however it began, and takes no memory
// with it.
func TestSilentSessionsAreForgotten(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		var polls []*engineiotest.Pending
		for i := range 50 {
			p := r.Open("")
			if i%2 == 0 {
				polls = append(polls, p.Poll())
			}
		}
		time.Sleep(44 * time.Second)
		if n := r.srv.Len(); n != 50 {
			t.Errorf("%d sessions after 44 s", n)
		}
		time.Sleep(2 * time.Second)
		if n := r.srv.Len(); n != 0 {
			t.Errorf("%d sessions after 46 s", n)
		}
		for _, poll := range polls {
			poll.Reply().Is(t, 200, "2") // and no second GET came
		}
	})
}
