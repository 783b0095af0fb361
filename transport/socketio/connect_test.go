package socketio_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/socketio"
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

// What makes the server end the whole connection.
func TestWhatEndsAConnection(t *testing.T) {
	for name, packets := range map[string][]string{
		"event first":               {`42["say"]`},
		"disconnect first":          {"41"},
		"ack first":                 {"431[]"},
		"array as payload":          {"40[]"},
		"text as payload":           {`40"abc"`},
		"null as payload":           {"40null"},
		"bad payload":               {`40{"a":}`},
		"payload and more":          {"40{}{}"},
		"bad payload for a custom":  {`40/custom,{`},
		"name too long":             {"40/" + strings.Repeat("n", 128) + ","},
		"second connect":            {"40", "40"},
		"second connect, custom":    {"40/custom,", "40/custom,{}"},
		"event elsewhere":           {"40", `42/custom,["say"]`},
		"event after a refusal":     {"40/closed,", `42/closed,["say"]`},
		"ack elsewhere":             {"40", "43/custom,1[]"},
		"disconnect elsewhere":      {"40", "41/custom,"},
		"binary event elsewhere":    {"40", `451-/custom,["say",{"_placeholder":true,"num":0}]`},
		"event after leaving":       {"40", "41", `42["say"]`},
		"leaving twice":             {"40", "41", "41"},
		"leaving with a payload":    {"40", `41["why"]`},
		"connect error":             {"40", `44{"message":"no"}`},
		"connect error of a custom": {"40/custom,", `44/custom,{"message":"no"}`},
		"unknown type":              {"40", "47"},
		"a letter as type":          {"40", "4abc"},
		"empty message":             {"40", "4"},
		"event without payload":     {"40", "42"},
		"event with an object":      {"40", `42{"a":1}`},
		"event with a string":       {"40", `42"say"`},
		"event of nothing":          {"40", "42[]"},
		"name null":                 {"40", "42[null]"},
		"name true":                 {"40", "42[true]"},
		"name object":               {"40", "42[{}]"},
		"name array":                {"40", `42[["say"]]`},
		"bad JSON":                  {"40", `42["say",]`},
		"unclosed JSON":             {"40", `42["say"`},
		"trailing garbage":          {"40", `42["say"]x`},
		"two payloads":              {"40", `42["say"]["say"]`},
		"reserved connect":          {"40", `42["connect"]`},
		"reserved connect_error":    {"40", `42["connect_error"]`},
		"reserved disconnect":       {"40", `42["disconnect"]`},
		"reserved disconnecting":    {"40", `42["disconnecting"]`},
		"reserved newListener":      {"40", `42["newListener"]`},
		"reserved removeListener":   {"40", `42["removeListener"]`},
		"reserved in disguise":      {"40", `42["\u0063onnect"]`},
		"id negative":               {"40", `42-1["say"]`},
		"id fractional":             {"40", `421.5["say"]`},
		"id with an exponent":       {"40", `421e3["say"]`},
		"id of letters":             {"40", `42abc["say"]`},
		"id too big":                {"40", `429999999999999999["say"]`},
		"id enormous":               {"40", "42" + strings.Repeat("9", 5000) + `["say"]`},
		"ack without id":            {"40", "43[]"},
		"ack without payload":       {"40", "431"},
		"ack with an object":        {"40", "431{}"},
		"the application's error":   {"40", `42["fail"]`},
		"no refusal but an error":   {"40/broken,"},
		"binary out of the blue":    {"40", "binary"},
		"binary before any connect": {"binary"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, r *rig) {
				neighbour := r.connected()
				c := r.connection()
				for _, p := range packets {
					if p == "binary" {
						c.SendBinary([]byte("abc"))
					} else {
						c.Send(p)
					}
				}
				for { // answers to what was right come before
					op, data, err := c.Next()
					if err != nil {
						t.Fatalf("no close frame: %v", err)
					}
					if op == 8 {
						break
					}
					if text := string(data); !strings.HasPrefix(text, "40") && !strings.HasPrefix(text, "44/closed") {
						t.Errorf("answered %q", text)
					}
				}
				synctest.Wait()
				neighbour.talks("")
				if n := r.engine.Len(); n != 1 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

// What is JSON and odd ends nothing: the rest of it is read as the official server
// reads it.
func TestOddJSON(t *testing.T) {
	deep := strings.Repeat("[", 15_000) + strings.Repeat("]", 15_000)
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		for _, auth := range []string{`{"name":"\ud83d"}`, `{"a":1,"a":2}`, `{"a":` + deep + `}`, `{"a":1e999}`} {
			c := r.connection()
			c.joins("/custom,")
			c.Send("40" + auth)
			c.joined("")
			if got := r.last().auth; got != auth {
				t.Errorf("CONNECT with %.30s was told %.30s", auth, got)
			}
			for _, packet := range []string{
				`["note","\ud83d"]`, `["\ud83d"]`, `["note",{"a":1,"a":2}]`, `["note",` + deep + `]`, `[1e999]`, `["note",1e999]`,
			} {
				c.Send("42/custom,"+packet, "43/custom,1"+packet, `451-/custom,["note",{"_placeholder":true,"num":0},`+packet+`]`)
				c.SendBinary([]byte("abc"))
			}
			c.talks("/custom,")
			c.talks("")
		}
		p := r.Open("")
		p.Post("40", "42[\"say\",\"\xff\xfe\"]").Is(t, 200, "ok") // on a WebSocket the frame itself is broken
		if got := p.Collect(2); got[1] != "42[\"said\",\"\uFFFD\"]" {
			t.Errorf("got %q", got)
		}
	})
}

// A bad packet that came by POST ends the session with what is right of its answers.
func TestABadPacketOnPolling(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		p.Post("40", "4abc", `42["note"]`).Is(t, 400, "")
		p.Unknown()
		synctest.Wait()
		if events := r.last().events; len(events) != 0 {
			t.Errorf("events %q", events)
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

// Options.Main: everybody may be in the main namespace, and nothing comes of it.
func TestMainNamespace(t *testing.T) {
	main := options{Main: true, Options: engineio.Options{PingInterval: time.Hour}}
	t.Run("says nothing", func(t *testing.T) {
		inBubble(t, main, func(t *testing.T, r *rig) {
			c := r.connection()
			if first, second := c.joins(""), c.joins("/custom,"); first == second {
				t.Error("one id for two sockets")
			}
			for range 80 { // together more than may be owed
				c.Send(`42["say",1]`, `427["ask"]`, `431[]`, `451-["say",{"_placeholder":true,"num":0}]`)
				c.SendBinary([]byte("abc"))
			}
			c.talks("/custom,")
			c.Send("41")
			c.Send(`40{"token":"ignored"}`)
			c.joined("")
			c.talks("/custom,")
			if len(r.peers) != 1 {
				t.Errorf("%d peers", len(r.peers))
			}
		})
	})
	for name, packets := range map[string][]string{
		"twice":          {"40", "40"},
		"before joining": {`42["say"]`},
		"after leaving":  {"40", "41", `42["say"]`},
		"bad JSON":       {"40", `42["say"`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, main, func(t *testing.T, r *rig) {
				c := r.connection()
				c.Send(packets...)
				for op := byte(0); op != 8; {
					var err error
					if op, _, err = c.Next(); err != nil {
						t.Fatalf("no close frame: %v", err)
					}
				}
			})
		})
	}
	for name, tc := range map[string]struct {
		packets func(c *client)
		after   time.Duration
	}{
		"the time goes on":     {func(c *client) { time.Sleep(20 * time.Second); c.joins("") }, 45 * time.Second},
		"and begins once more": {func(c *client) { c.joins(""); c.joins("/custom,"); c.Send("41/custom,") }, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, main, func(t *testing.T, r *rig) {
				begun := time.Now()
				c := r.connection()
				tc.packets(c)
				c.Ended()
				if d := time.Since(begun).Truncate(10 * time.Millisecond); d != tc.after {
					t.Errorf("closed after %v, want %v", d, tc.after)
				}
			})
		})
	}
}

// Whoever is in the main namespace may be a stranger, so nothing is kept of what it sends.
func TestMainNamespaceHoldsNothing(t *testing.T) {
	inBubble(t, options{Main: true, Options: engineio.Options{PingInterval: time.Hour}}, func(t *testing.T, r *rig) {
		heap := func() uint64 {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		const peers, large = 20, 100_000
		var all []*client
		for range peers {
			all = append(all, r.connection())
			all[len(all)-1].joins("")
		}
		before := heap()
		for _, c := range all {
			c.Send(`4510-["x",{"_placeholder":true,"num":0},"` + strings.Repeat("x", large) + `"]`)
			for range 9 { // of ten
				c.SendBinary(make([]byte, large))
			}
		}
		if grown := int64(heap() - before); grown > peers*large*10/4 {
			t.Errorf("%d bytes are kept", grown)
		}
		for _, c := range all {
			c.SendBinary(nil)
			c.joins("/custom,")
			c.talks("/custom,")
		}
	})
}

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
