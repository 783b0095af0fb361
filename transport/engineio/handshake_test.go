package engineio_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
)

const (
	fault0 = `{"code":0,"message":"Transport unknown"}`
	fault1 = `{"code":1,"message":"Session ID unknown"}`
	fault2 = `{"code":2,"message":"Bad handshake method"}`
	fault3 = `{"code":3,"message":"Bad request"}`
	fault5 = `{"code":5,"message":"Unsupported protocol version"}`
)

// wantOpen checks an open packet: five keys, of which upgrades is an array always.
func wantOpen(t *testing.T, packet, upgrades string, o engineio.Options) {
	t.Helper()
	var h map[string]json.RawMessage
	if !strings.HasPrefix(packet, "0") || json.Unmarshal([]byte(packet[1:]), &h) != nil {
		t.Fatalf("no open packet: %q", packet)
	}
	if keys := slices.Sorted(maps.Keys(h)); !slices.Equal(keys, []string{"maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"}) {
		t.Errorf("keys %q", keys)
	}
	if !regexp.MustCompile(`^"[A-Za-z0-9_-]{20}"$`).Match(h["sid"]) {
		t.Errorf("sid %s", h["sid"])
	}
	want := map[string]any{"pingInterval": o.PingInterval.Milliseconds(), "pingTimeout": o.PingTimeout.Milliseconds(), "maxPayload": o.MaxPayload}
	for key, value := range want {
		if text, _ := json.Marshal(value); string(text) != string(h[key]) {
			t.Errorf("%s is %s, want %s", key, h[key], text)
		}
	}
	if string(h["upgrades"]) != upgrades {
		t.Errorf("upgrades is %s, want %s", h["upgrades"], upgrades)
	}
}

func TestHandshake(t *testing.T) {
	defaults := engineio.Options{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxPayload: 1_000_000}
	own := engineio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond, MaxPayload: 77}
	for name, tc := range map[string]struct{ set, want engineio.Options }{
		"defaults": {engineio.Options{}, defaults},
		"own":      {own, own},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tc.set, func(t *testing.T, r *rig) {
				reply := r.Do(http.MethodGet, "EIO=4&transport=polling&t=abc", "")
				if reply.Status != 200 {
					t.Fatalf("answered %d", reply.Status)
				}
				wantOpen(t, reply.Body, `["websocket"]`, tc.want)
				if ct := reply.Header.Get("Content-Type"); !strings.EqualFold(ct, "text/plain; charset=UTF-8") {
					t.Errorf("Content-Type %q", ct)
				}
				if cc := reply.Header.Get("Cache-Control"); cc != "no-store" {
					t.Errorf("Cache-Control %q", cc)
				}
				wantOpen(t, r.WebSocket("transport=websocket&EIO=4").Text(), `[]`, tc.want)
				if n := r.srv.Len(); n != 2 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

// TestFaults sends requests in which more than one thing is wrong, too: the first
// check decides.
func TestFaults(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		live := "&sid=" + p.SID
		for _, tc := range []struct {
			method, query string
			ws            bool // with the headers of a WebSocket handshake
			want          string
		}{
			{"GET", "EIO=4", false, fault0},
			{"GET", "", false, fault0},
			{"GET", "EIO=4&transport=abc", false, fault0},
			{"GET", "EIO=4&transport=webtransport", false, fault0},
			{"GET", "EIO=4&transport=POLLING", false, fault0},
			{"POST", "EIO=3&transport=abc&sid=no", false, fault0},
			{"GET", "EIO=4&transport=abc" + live, false, fault0},
			{"GET", "EIO=4&transport=abc", true, fault0},

			{"GET", "EIO=4&transport=polling&sid=no", false, fault1},
			{"POST", "EIO=4&transport=polling&sid=no", false, fault1},
			{"POST", "EIO=3&transport=polling&sid=no", false, fault1},
			{"GET", "EIO=4&transport=websocket&sid=no", true, fault1},
			{"GET", "EIO=4&transport=websocket&sid=no", false, fault1},
			{"GET", "EIO=4&transport=polling&sid=" + p.SID + "x", false, fault1},

			{"POST", "EIO=4&transport=polling", false, fault2},
			{"PUT", "EIO=4&transport=polling", false, fault2},
			{"OPTIONS", "EIO=4&transport=polling", false, fault2},
			{"POST", "EIO=3&transport=websocket", false, fault2},
			{"POST", "EIO=4&transport=websocket", true, fault2},

			{"GET", "EIO=4&transport=websocket", false, fault3},
			{"GET", "EIO=3&transport=websocket", false, fault3},
			{"GET", "EIO=4&transport=websocket" + live, false, fault3},
			{"POST", "EIO=4&transport=websocket" + live, true, fault3},
			{"GET", "EIO=3&transport=polling" + live, false, fault3},
			{"GET", "EIO=3&transport=websocket" + live, true, fault3},
			{"PUT", "EIO=4&transport=polling" + live, false, fault3},
			{"DELETE", "EIO=4&transport=polling" + live, false, fault3},

			{"GET", "EIO=3&transport=polling", false, fault5},
			{"GET", "transport=polling", false, fault5},
			{"GET", "EIO=abc&transport=polling", false, fault5},
			{"GET", "EIO=44&transport=polling", false, fault5},
			{"GET", "EIO=3&transport=websocket", true, fault5},
			{"GET", "transport=websocket", true, fault5},
		} {
			req := r.Request(tc.method, tc.query, nil)
			if tc.ws {
				req = r.Upgrade(tc.query)
				req.Method = tc.method
			}
			reply := r.Begin(req).Reply()
			if reply.Status != 400 || reply.Body != tc.want || reply.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s (WebSocket %v): %d %q %q %v, want %s", tc.method, tc.query, tc.ws,
					reply.Status, reply.Header.Get("Content-Type"), reply.Body, reply.Err, tc.want)
			}
		}
		if reply := r.Do("HEAD", "EIO=4&transport=polling", ""); reply.Status != 400 {
			t.Errorf("HEAD: %d", reply.Status)
		}
		r.lives(p)
		if n := r.srv.Len(); n != 1 {
			t.Errorf("%d sessions, want the one that was opened", n)
		}
	})
}

func TestWebSocketHandshakeHeaders(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		p := r.Open("")
		for name, change := range map[string]func(http.Header){
			"no version":      func(h http.Header) { h.Del("Sec-WebSocket-Version") },
			"another version": func(h http.Header) { h.Set("Sec-WebSocket-Version", "8") },
			"no key":          func(h http.Header) { h.Del("Sec-WebSocket-Key") },
			"a short key":     func(h http.Header) { h.Set("Sec-WebSocket-Key", "c2hvcnQ=") },
			"another upgrade": func(h http.Header) { h.Set("Upgrade", "h2c") },
			"no upgrade":      func(h http.Header) { h.Set("Connection", "keep-alive") },
		} {
			for _, sid := range []string{"", "&sid=" + p.SID} {
				req := r.Upgrade("EIO=4&transport=websocket" + sid)
				change(req.Header)
				if reply := r.Begin(req).Reply(); reply.Status != 400 || reply.Body != fault3 {
					t.Errorf("%s: %d %q %v", name, reply.Status, reply.Body, reply.Err)
				}
			}
		}
		req := r.Upgrade("EIO=4&transport=websocket&sid=" + p.SID)
		req.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
		ws, reply := r.TryWebSocket(req)
		if ws == nil {
			t.Fatalf("answered %d %v", reply.Status, reply.Err)
		}
		ws.Send("2probe")
		ws.Gets("3probe") // and not compressed
		r.lives(p)
	})
}
