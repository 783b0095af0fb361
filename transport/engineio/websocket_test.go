package engineio_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

func TestWebSocketCarriesMessages(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.echo = true }
		ws, h := r.OpenWebSocket("")
		for _, text := range []string{"4hello", "4", "4h\u00e9", "4" + strings.Repeat("x", 200), "4" + strings.Repeat("y", 70_000)} {
			ws.Send(text)
			ws.Gets(text)
		}
		ws.SendBinary([]byte{1, 2, 0xff})
		ws.GetsBinary("\x01\x02\xff")
		ws.SendBinary(nil)
		ws.GetsBinary("")
		ws.Frame(0x01, []byte("4in "))
		ws.Frame(0x89, []byte("are you there")) // a ping of the WebSocket, between fragments
		ws.Frame(0x80, []byte("pieces"))
		if op, data, err := ws.Next(); op != rfc6455.OpPong || string(data) != "are you there" {
			t.Fatalf("opcode %d %q %v", op, data, err)
		}
		ws.Gets("4in pieces")
		ws.Send("3", "0", "5", "6", "3probe") // mean nothing
		ws.Send("4still here")
		ws.Gets("4still here")
		if n := len(r.app(h.SID).in); n != 9 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestBadFramesEndTheSession(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 1001)
	for name, tc := range map[string]struct {
		b0    byte
		data  []byte
		code  int
		cause error
	}{
		"unknown type":             {0x81, []byte("abc"), 0, engineio.ErrPacket},
		"empty text":               {0x81, nil, 0, engineio.ErrPacket},
		"a ping of the client":     {0x81, []byte("2"), 0, engineio.ErrPacket},
		"a probe on the transport": {0x81, []byte("2probe"), 0, engineio.ErrPacket},
		"close":                    {0x81, []byte("1"), 0, engineio.ErrPeerClosed},
		"text too big":             {0x81, big, rfc6455.CloseTooBig, engineio.ErrTransport},
		"binary too big":           {0x82, big, rfc6455.CloseTooBig, engineio.ErrTransport},
		"not UTF-8":                {0x81, []byte("4\xff"), rfc6455.CloseNotUTF8, engineio.ErrTransport},
		"reserved bits":            {0xC1, []byte("4"), rfc6455.CloseProtocol, engineio.ErrTransport},
		"a close frame":            {0x88, []byte("\x03\xe8bye"), 1000, engineio.ErrTransport},
		"a close frame, no code":   {0x88, nil, 0, engineio.ErrTransport},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, engineio.Options{MaxPayload: 1000}, func(t *testing.T, r *rig) {
				check := r.neighbour()
				ws, h := r.OpenWebSocket("")
				ws.Send("4" + strings.Repeat("x", 999)) // the most there may be
				synctest.Wait()
				ws.Frame(tc.b0, tc.data)
				if code := ws.Ended(); code != tc.code {
					t.Errorf("code %d, want %d", code, tc.code)
				}
				r.app(h.SID).got(t, strings.Repeat("x", 999))
				wantCause(t, r.app(h.SID), tc.cause)
				check()
				if n := r.srv.Len(); n != 1 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

func TestADroppedWebSocketEndsTheSession(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		check := r.neighbour()
		ws, h := r.OpenWebSocket("")
		ws.Drop()
		wantCause(t, r.app(h.SID), engineio.ErrTransport)
		check()
		if n := r.srv.Len(); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// A session that began on a WebSocket has no other transport.
func TestNothingBesideAWebSocketSession(t *testing.T) {
	inBubble(t, engineio.Options{}, func(t *testing.T, r *rig) {
		r.prepare = func(a *app) { a.echo = true }
		ws, h := r.OpenWebSocket("")
		query := "EIO=4&transport=polling&sid=" + h.SID
		r.Do("GET", query, "").Is(t, 400, fault3)
		r.Do("POST", query, "4a").Is(t, 400, fault3)
		second := r.WebSocket("EIO=4&transport=websocket&sid=" + h.SID)
		second.Ended()
		ws.Send("4b")
		ws.Gets("4b")
		r.app(h.SID).got(t, "b")
	})
}
