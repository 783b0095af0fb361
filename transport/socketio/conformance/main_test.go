package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

func TestMain(m *testing.M) { engineiotest.Main(m) }

const (
	engineIO = "/engine.io/"
	socketIO = "/socket.io/"
)

// suite holds cases by name. Those that are about time say so.
type suite map[string]func(t *testing.T, c *engineiotest.Client)

// run runs all cases in fake time, and those that wait for nothing over TCP too,
// where the times are long, because a busy machine makes everything late.
func (s suite) run(t *testing.T, path string) {
	for name, f := range s {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, pool := newApp(official)
				f(t, engineiotest.NewClient(t, engineiotest.Memory(t, app, pool), path, false))
			})
		})
	}
	app, pool := newApp(times{time.Hour, time.Hour, time.Hour})
	dial := engineiotest.TCP(t, app, pool)
	for name, f := range s {
		if !strings.HasSuffix(name, timed) {
			t.Run(name+", over TCP", func(t *testing.T) { f(t, engineiotest.NewClient(t, dial, path, false)) })
		}
	}
}

// timed ends the name of a case that waits for something to happen by itself.
const timed = " (timed)"

var (
	openPolling   = regexp.MustCompile(`^0\{"sid":"[\w-]{20}","upgrades":\["websocket"\],"pingInterval":\d+,"pingTimeout":\d+,"maxPayload":1000000\}$`)
	openWebSocket = regexp.MustCompile(`^0\{"sid":"[\w-]{20}","upgrades":\[\],"pingInterval":\d+,"pingTimeout":\d+,"maxPayload":1000000\}$`)
)

// session are the cases that both suites share.
var session = suite{
	"handshake, polling: opens": func(t *testing.T, c *engineiotest.Client) {
		if r := c.Do("GET", "EIO=4&transport=polling", ""); r.Status != 200 || !openPolling.MatchString(r.Body) {
			t.Fatalf("answered %d %q %v", r.Status, r.Body, r.Err)
		}
	},
	"handshake, polling: EIO":       refuses("GET", "transport=polling", "EIO=abc&transport=polling", "EIO=3&transport=polling"),
	"handshake, polling: transport": refuses("GET", "EIO=4", "EIO=4&transport=abc"),
	"handshake, polling: method":    refuses("POST", "EIO=4&transport=polling"),
	"handshake, WebSocket: opens": func(t *testing.T, c *engineiotest.Client) {
		if first := c.WebSocket("EIO=4&transport=websocket").Text(); !openWebSocket.MatchString(first) {
			t.Fatalf("first frame %q", first)
		}
	},
	"handshake, WebSocket: EIO":       refusesWebSocket("transport=websocket", "EIO=abc&transport=websocket", "EIO=3&transport=websocket"),
	"handshake, WebSocket: transport": refusesWebSocket("EIO=4", "EIO=4&transport=abc"),

	"heartbeat, polling: three times" + timed: func(t *testing.T, c *engineiotest.Client) {
		p := c.Open("")
		for range 3 {
			begun := time.Now()
			p.Gets("2")
			after(t, begun, official.interval)
			p.Sent("3")
		}
	},
	"heartbeat, polling: timeout" + timed: func(_ *testing.T, c *engineiotest.Client) {
		p := c.Open("")
		time.Sleep(official.interval + official.timeout)
		p.Unknown()
	},
	"heartbeat, WebSocket: three times" + timed: func(t *testing.T, c *engineiotest.Client) {
		ws, _ := c.OpenWebSocket("")
		for range 3 {
			begun := time.Now()
			ws.Gets("2")
			after(t, begun, official.interval)
			ws.Send("3")
		}
	},
	"heartbeat, WebSocket: timeout" + timed: func(t *testing.T, c *engineiotest.Client) {
		begun := time.Now()
		ws, _ := c.OpenWebSocket("")
		ws.Gets("2")
		ws.Ended()
		after(t, begun, official.interval+official.timeout)
	},

	"close, polling" + timed: func(t *testing.T, c *engineiotest.Client) {
		for range 5 {
			p := c.Open("")
			poll := p.Poll()
			p.Sent("1")
			poll.Reply().Is(t, 200, "6") // whichever of the two came first
			p.Unknown()
		}
	},
	"close, WebSocket": func(_ *testing.T, c *engineiotest.Client) {
		ws, _ := c.OpenWebSocket("")
		ws.Send("1")
		ws.Ended()
	},

	"upgrade: succeeds" + timed: func(t *testing.T, c *engineiotest.Client) {
		_, ws := upgraded(t, c)
		ws.Gets("2")
		ws.Send("3")
		ws.Gets("2")
	},
	"upgrade: HTTP after it" + timed: func(t *testing.T, c *engineiotest.Client) {
		p, ws := upgraded(t, c)
		p.Get().Is(t, 400, `{"code":3,"message":"Bad request"}`)
		p.Post("4a").Is(t, 400, `{"code":3,"message":"Bad request"}`)
		ws.Gets("2")
	},
	"upgrade: a WebSocket after it" + timed: func(t *testing.T, c *engineiotest.Client) {
		p, ws := upgraded(t, c)
		p.Probe().Ended()
		ws.Gets("2")
	},
}

// refuses makes a case: the requests are answered 400.
func refuses(method string, queries ...string) func(*testing.T, *engineiotest.Client) {
	return func(t *testing.T, c *engineiotest.Client) {
		for _, q := range queries {
			if r := c.Do(method, q, ""); r.Status != 400 {
				t.Errorf("%s: %d %q %v", q, r.Status, r.Body, r.Err)
			}
		}
	}
}

// refusesWebSocket makes a case: the handshakes are answered 400.
func refusesWebSocket(queries ...string) func(*testing.T, *engineiotest.Client) {
	return func(t *testing.T, c *engineiotest.Client) {
		for _, q := range queries {
			if ws, r := c.TryWebSocket(c.Upgrade(q)); ws != nil || r.Status != 400 {
				t.Errorf("%s: %d %q %v", q, r.Status, r.Body, r.Err)
			}
		}
	}
}

// after checks how long something lasted, in fake time, to the millisecond.
func after(t *testing.T, begun time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(begun).Truncate(time.Millisecond); took != want {
		t.Errorf("after %v, want %v", took, want)
	}
}

// upgraded opens a session and moves it, as a client does.
func upgraded(t *testing.T, c *engineiotest.Client) (*engineiotest.Poller, *engineiotest.WebSocket) {
	t.Helper()
	p := c.Open("")
	poll := p.Poll()
	ws := p.Probe()
	ws.Send("2probe")
	ws.Gets("3probe")
	poll.Reply().Is(t, 200, "6")
	ws.Send("5")
	return p, ws
}

func TestEngineIO(t *testing.T) {
	t.Run("session", func(t *testing.T) { session.run(t, engineIO) })
	t.Run("messages", func(t *testing.T) {
		suite{
			"polling: one text":        echoed("4hello"),
			"polling: several":         echoed("4test1", "4test2", "4test3"),
			"polling: text and binary": echoed("4hello", "bAQIDBA=="),
			"polling: bad packet": func(t *testing.T, c *engineiotest.Client) {
				p := c.Open("")
				p.Post("abc").Is(t, 400, "")
				p.Unknown()
			},
			"polling: two at once": func(t *testing.T, c *engineiotest.Client) {
				p := c.Open("")
				a, b := p.Poll(), p.Poll()
				one, two := a.Reply(), b.Reply()
				if one.Status == 400 { // either may have come first
					one, two = two, one
				}
				one.Is(t, 200, "1")
				two.Is(t, 400, "")
				p.Unknown()
			},
			"polling: cancelled" + timed: func(t *testing.T, c *engineiotest.Client) {
				p := c.Open("")
				p.Poll().Abort()
				// The abort may be seen, or not yet: then the next is an overlap.
				if r := p.Get(); r.Status == 200 {
					t.Logf("the first one never arrived: %q", r.Body)
				} else if r.Status != 400 {
					t.Errorf("answered %d %q %v", r.Status, r.Body, r.Err)
				}
			},
			"upgrade: the session goes on": func(t *testing.T, c *engineiotest.Client) {
				p, ws := upgraded(t, c)
				ws.Send("4hello")
				ws.Gets("4hello")
				p.Get().Is(t, 400, `{"code":3,"message":"Bad request"}`)
				p.Probe().Ended()
				ws.Send("bAQI=")
				ws.GetsBinary("\x01\x02")
			},
			"WebSocket: text": func(_ *testing.T, c *engineiotest.Client) {
				ws, _ := c.OpenWebSocket("")
				ws.Send("4hello", "4h\u00e9")
				ws.Gets("4hello", "4h\u00e9")
			},
			"WebSocket: binary": func(_ *testing.T, c *engineiotest.Client) {
				ws, _ := c.OpenWebSocket("")
				ws.SendBinary([]byte{1, 2, 3, 4})
				ws.GetsBinary("\x01\x02\x03\x04")
			},
			"WebSocket: bad packet": func(_ *testing.T, c *engineiotest.Client) {
				ws, _ := c.OpenWebSocket("")
				ws.Send("abc")
				ws.Ended()
			},
		}.run(t, engineIO)
	})
}

// echoed makes a case: what is posted comes back.
func echoed(packets ...string) func(*testing.T, *engineiotest.Client) {
	return func(_ *testing.T, c *engineiotest.Client) {
		p := c.Open("")
		p.Sent(packets...)
		p.Gets(packets...)
	}
}

const (
	connected = `^40(/custom,)?\{"sid":"[\w-]{20}"\}$`
	hole0     = `{"_placeholder":true,"num":0}`
	hole1     = `{"_placeholder":true,"num":1}`
)

// joins opens a connection on a WebSocket and sends a CONNECT. auth is what comes
// back.
func joins(t *testing.T, c *engineiotest.Client, packet, prefix, auth string) *engineiotest.WebSocket {
	t.Helper()
	ws, _ := c.OpenWebSocket("")
	connects(t, ws, packet, prefix, auth)
	return ws
}

func connects(t *testing.T, ws *engineiotest.WebSocket, packet, prefix, auth string) {
	t.Helper()
	ws.Send(packet)
	if text := ws.Text(); !regexp.MustCompile(connected).MatchString(text) || !strings.HasPrefix(text, "40"+prefix+"{") {
		t.Fatalf("%s was answered %q", packet, text)
	}
	ws.Gets("42" + prefix + `["auth",` + auth + "]")
}

// closes makes a case: these packets end the connection.
func closes(packets ...string) func(*testing.T, *engineiotest.Client) {
	return func(t *testing.T, c *engineiotest.Client) {
		ws := joins(t, c, "40", "", "{}")
		ws.Send(packets...)
		ws.Ended()
	}
}

func TestSocketIO(t *testing.T) {
	t.Run("session", func(t *testing.T) { session.run(t, socketIO) })
	t.Run("connect", func(t *testing.T) {
		suite{
			"main": func(t *testing.T, c *engineiotest.Client) { joins(t, c, "40", "", "{}") },
			"main with payload": func(t *testing.T, c *engineiotest.Client) {
				joins(t, c, `40{"token":"123"}`, "", `{"token":"123"}`)
			},
			"custom": func(t *testing.T, c *engineiotest.Client) { joins(t, c, "40/custom,", "/custom,", "{}") },
			"custom with payload": func(t *testing.T, c *engineiotest.Client) {
				joins(t, c, `40/custom,{"token":"abc"}`, "/custom,", `{"token":"abc"}`)
			},
			"unknown": func(_ *testing.T, c *engineiotest.Client) {
				ws, _ := c.OpenWebSocket("")
				ws.Send("40/random")
				ws.Gets(`44/random,{"message":"Invalid namespace"}`)
			},
			"bad handshake": func(_ *testing.T, c *engineiotest.Client) {
				ws, _ := c.OpenWebSocket("")
				ws.Send("4abc")
				ws.Ended()
			},
			"no handshake in time" + timed: func(t *testing.T, c *engineiotest.Client) {
				begun := time.Now()
				ws, _ := c.OpenWebSocket("")
				for {
					op, data, err := ws.Next()
					if err != nil {
						t.Fatal(err)
					}
					if op == rfc6455.OpClose {
						break
					}
					if string(data) == "2" {
						ws.Send("3")
					}
				}
				after(t, begun, official.connect)
			},
		}.run(t, socketIO)
	})
	t.Run("disconnect", func(t *testing.T) {
		suite{
			"main" + timed: func(t *testing.T, c *engineiotest.Client) {
				ws := joins(t, c, "40", "", "{}")
				ws.Send("41")
				ws.Gets("2") // nothing but the heartbeat
			},
			"join and leave custom": func(t *testing.T, c *engineiotest.Client) {
				ws := joins(t, c, "40", "", "{}")
				connects(t, ws, "40/custom,", "/custom,", "{}")
				ws.Send("41/custom,", `42["message","still here"]`)
				ws.Gets(`42["message-back","still here"]`)
			},
		}.run(t, socketIO)
	})
	t.Run("messages", func(t *testing.T) {
		suite{
			"plain": func(t *testing.T, c *engineiotest.Client) {
				ws := joins(t, c, "40", "", "{}")
				ws.Send(`42["message",1,"2",{"3":[true]}]`)
				ws.Gets(`42["message-back",1,"2",{"3":[true]}]`)
			},
			"binary": func(t *testing.T, c *engineiotest.Client) {
				ws := joins(t, c, "40", "", "{}")
				ws.Send(`452-["message",` + hole0 + `,` + hole1 + `]`)
				ws.SendBinary([]byte{1, 2, 3})
				ws.SendBinary([]byte{4, 5, 6})
				ws.Gets(`452-["message-back",` + hole0 + `,` + hole1 + `]`)
				ws.GetsBinary("\x01\x02\x03")
				ws.GetsBinary("\x04\x05\x06")
			},
			"plain with acknowledgement": func(t *testing.T, c *engineiotest.Client) {
				ws := joins(t, c, "40", "", "{}")
				ws.Send(`42456["message-with-ack",1,"2",{"3":[false]}]`)
				ws.Gets(`43456[1,"2",{"3":[false]}]`)
			},
			"binary with acknowledgement": func(t *testing.T, c *engineiotest.Client) {
				ws := joins(t, c, "40", "", "{}")
				ws.Send(`452-789["message-with-ack",` + hole0 + `,` + hole1 + `]`)
				ws.SendBinary([]byte{1})
				ws.SendBinary([]byte{2})
				ws.Gets(`462-789[` + hole0 + `,` + hole1 + `]`)
				ws.GetsBinary("\x01")
				ws.GetsBinary("\x02")
			},
			"unknown type": closes("4abc"),
			"bad payload":  closes("42{}"),
			"bad id":       closes(`42abc["message-with-ack",1]`),
		}.run(t, socketIO)
	})
}

// The program itself listens, and ends when it is told to.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := run(ctx, "127.0.0.1:0"); err != nil {
		t.Error(err)
	}
	if err := run(context.Background(), "256.0.0.1:1"); err == nil {
		t.Error("it listens on an address that there is not")
	}
}
