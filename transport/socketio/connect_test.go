package socketio_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
)

func TestConnect(t *testing.T) {
	for name, tc := range map[string]struct{ packet, prefix, auth string }{
		"main":                        {"40", "", ""},
		"main, empty object":          {"40{}", "", "{}"},
		"main by name":                {"40/", "", ""},
		"main by name with payload":   {`40/,{"a":1}`, "", `{"a":1}`},
		"with payload":                {`40{"token":"\u00e9","n":[1,{"x":null}]}`, "", `{"token":"\u00e9","n":[1,{"x":null}]}`},
		"custom":                      {"40/custom,", "/custom,", ""},
		"custom without the comma":    {"40/custom", "/custom,", ""},
		"custom with payload":         {`40/custom,{"token":"k"}`, "/custom,", `{"token":"k"}`},
		"custom with space around it": {`40/custom, {"token" : "k"} `, "/custom,", ` {"token" : "k"} `},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, r *rig) {
				r.prepare = func(p *peer) { _ = p.socket.Emit("hello", 1) }
				ws, h := r.OpenWebSocket("")
				c := &client{ws, t}
				c.Send(tc.packet)
				sid := c.joined(tc.prefix) // before what Connect has emitted
				c.Gets("42" + tc.prefix + `["hello",1]`)
				c.talks(tc.prefix)
				p := r.last()
				if p.auth != tc.auth {
					t.Errorf("auth %q", p.auth)
				}
				if p.socket.ID() != sid || sid == h.SID {
					t.Errorf("sid %q, the socket's %q, the session's %q", sid, p.socket.ID(), h.SID)
				}
			})
		})
	}
}

// A pid goes into the reply beside the sid, for namespaces that resume.
func TestConnectWithASession(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		r.prepare = func(p *peer) { p.socket.Session("secret") }
		c := r.connection()
		c.Send("40")
		if text := c.Text(); text != `40{"sid":"`+r.last().socket.ID()+`","pid":"secret"}` {
			t.Errorf("answered %q", text)
		}
	})
}

func TestRefusedConnects(t *testing.T) {
	long := "/" + strings.Repeat("n", 127)
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connection()
		for packet, answer := range map[string]string{
			"40/random,":         `44/random,{"message":"Invalid namespace"}`,
			"40/random":          `44/random,{"message":"Invalid namespace"}`,
			`40/random,{"a":1}`:  `44/random,{"message":"Invalid namespace"}`,
			"40/Custom,":         `44/Custom,{"message":"Invalid namespace"}`,
			"40/custom?token=k,": `44/custom?token=k,{"message":"Invalid namespace"}`,
			"40/custom/,":        `44/custom/,{"message":"Invalid namespace"}`,
			"40" + long + ",":    `44` + long + `,{"message":"Invalid namespace"}`,
			"40/closed,":         `44/closed,{"message":"not today","data":{"code":7}}`,
		} {
			c.Send(packet)
			c.Gets(answer)
		}
		c.joins("/custom,") // none of it hurts the connection
		c.talks("/custom,")
	})
}

// Refusal.Joined: the peer is let in, told why it is out again, and out. What it said
// before it heard that ends nothing.
func TestRefusedAfterJoining(t *testing.T) {
	inBubble(t, options{Options: engineio.Options{PingInterval: time.Hour}}, func(t *testing.T, r *rig) {
		begun := time.Now()
		c := r.connection()
		c.joins("/custom,")
		for range 2 {
			sid := c.joins("/out,")
			c.Gets(`42/out,["error",{"message":"not today"}]`, "41/out,")
			if sid == "" {
				t.Error("no sid")
			}
			c.Send(`42/out,["subscribe",{}]`, `42/out,1["subscribe",{}]`, "41/out,")
			c.talks("/custom,")
		}
		c.Send("41/custom,")
		if c.Ended(); time.Since(begun).Truncate(time.Second) != 45*time.Second { // it counted as joined nowhere
			t.Errorf("ended after %v", time.Since(begun))
		}
	})
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		p.Post("40/out,").Is(t, 200, "ok")
		if got := p.Collect(3); got[1] != `42/out,["error",{"message":"not today"}]` || got[2] != "41/out," {
			t.Errorf("got %q", got)
		}
	})
}

// A connection has several namespaces, each with its own socket.
func TestSeveralNamespaces(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.connection()
		one := c.joins("")
		first := r.last()
		two := c.joins("/custom,")
		if one == two {
			t.Error("one id for two sockets")
		}
		c.Send(`42/custom,["note"]`, `42["say",1]`, `42/custom,["say",2]`)
		c.Gets(`42["said",1]`, `42/custom,["said",2]`)
		first.mu.Lock()
		defer first.mu.Unlock()
		if len(first.events) != 1 {
			t.Errorf("events of the main namespace: %q", first.events)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	join := func(c *client) { c.joins("/custom,") }
	for name, tc := range map[string]struct {
		packets func(c *client)
		after   time.Duration // since the opening
	}{
		"nothing":         {func(*client) {}, 45 * time.Second},
		"refused":         {func(c *client) { c.Send("40/closed,"); c.Text() }, 45 * time.Second},
		"unknown":         {func(c *client) { c.Send("40/random,"); c.Text() }, 45 * time.Second},
		"joined and left": {func(c *client) { join(c); time.Sleep(20 * time.Second); c.Send("41/custom,") }, 65 * time.Second},
		"left one of two": {func(c *client) {
			join(c)
			c.joins("")
			c.Send("41/custom,")
			time.Sleep(10 * time.Second)
			c.Send("41")
		}, 55 * time.Second},
		"left, came back, left": {func(c *client) {
			join(c)
			c.Send("41/custom,")
			time.Sleep(40 * time.Second)
			join(c)
			time.Sleep(40 * time.Second)
			c.Send("41/custom,")
		}, 125 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{Options: engineio.Options{PingInterval: time.Hour}}, func(t *testing.T, r *rig) {
				begun := time.Now()
				c := r.connection()
				tc.packets(c)
				if code := c.Ended(); code != 0 {
					t.Errorf("code %d", code)
				}
				if d := time.Since(begun).Truncate(10 * time.Millisecond); d != tc.after {
					t.Errorf("closed after %v, want %v", d, tc.after)
				}
			})
		})
	}
	t.Run("not while joined", func(t *testing.T) {
		inBubble(t, options{ConnectTimeout: time.Second, Options: engineio.Options{PingInterval: time.Hour}}, func(t *testing.T, r *rig) {
			c := r.connected()
			time.Sleep(59 * time.Second)
			c.talks("")
		})
	})
	t.Run("polling", func(t *testing.T) {
		inBubble(t, options{ConnectTimeout: time.Second}, func(t *testing.T, r *rig) {
			p := r.Open("")
			p.Gets("1")
			p.Unknown()
		})
	})
}

func TestTicksOfSockets(t *testing.T) {
	inBubble(t, options{Options: engineio.Options{PingInterval: time.Hour}}, func(t *testing.T, r *rig) {
		begun := time.Now()
		seen := make(chan string, 10)
		every := func(name string, d time.Duration) {
			r.prepare = func(p *peer) {
				p.socket.TickAt(time.Now().Add(d))
				p.onTick = func(now time.Time) error {
					seen <- name + now.Sub(begun).String()
					p.socket.TickAt(now.Add(d))
					return nil
				}
			}
		}
		c := r.connection()
		every("main ", 3*time.Second)
		c.joins("")
		every("custom ", 2*time.Second)
		c.joins("/custom,")
		for _, want := range []string{"custom 2s", "main 3s", "custom 4s"} {
			if got := <-seen; got != want {
				t.Errorf("tick %q, want %q", got, want)
			}
		}
		c.Send("41/custom,")
		synctest.Wait()
		for _, want := range []string{"main 6s", "main 9s"} {
			if got := <-seen; got != want {
				t.Errorf("tick %q, want %q", got, want)
			}
		}
	})
}
