package transport

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// echo answers with the lines of the field that X-Field names, separated by |.
func echo(_ *Door, app *fiber.App) {
	app.All("/", func(c *fiber.Ctx) error {
		return c.Send(bytes.Join(c.Request().Header.PeekAll(c.Get("X-Field")), []byte("|")))
	})
}

// Several lines of a field are one list, if it is a list; otherwise they have to say
// the same.
func TestFieldsInSeveralLines(t *testing.T) {
	s := openSite(t, Options{}, echo)
	for _, tt := range []struct{ field, lines, want string }{
		{"Accept", "Accept: text/html|accept: text/event-stream;q=1, */*;q=0|ACCEPT:", "text/html, text/event-stream;q=1, */*;q=0, "},
		{"Connection", "Connection: keep-alive|Connection: Upgrade", "keep-alive, Upgrade"},
		{"Upgrade", "Upgrade: h2c|Upgrade: websocket", "h2c, websocket"},
		{"Prefer", "Prefer: respond-async|Prefer: wait=5|Prefer: x", "respond-async, wait=5, x"},
		{"If-None-Match", `If-None-Match: "a"|If-None-Match: W/"b"`, `"a", W/"b"`},
		{"If-Match", `If-Match: "a"|If-Match: "b"`, `"a", "b"`},
		{"Cache-Control", "Cache-Control: no-cache|Cache-Control: no-store", "no-cache, no-store"},
		{"Content-Encoding", "Content-Encoding: identity|Content-Encoding: gzip", "identity, gzip"},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1|Sec-WebSocket-Protocol: v2", "v1, v2"},
		{"Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: a|Sec-WebSocket-Extensions: b; c=1", "a, b; c=1"},
		{"Access-Control-Request-Headers", "Access-Control-Request-Headers: a|Access-Control-Request-Headers: b", "a, b"},
		{"Accept", "Accept: a/b,\r\n c/d|Accept: e/f", "a/b, c/d, e/f"},
		{"Content-Type", "Content-Type: a/b|Content-Type: a/b", "a/b"},
		{"Content-Type", "Content-Type: a/b|Content-Type: c/d", "malformed"},
		{"Content-Type", "Content-Type: a/b|Content-Type:", "malformed"},
		{"Idempotency-Key", "Idempotency-Key: a|Idempotency-Key: a", "malformed"},
		{"Idempotency-Key", "Idempotency-Key: a|Idempotency-Key: b", "malformed"},
		{"X-Lease-Token", "X-Lease-Token: a|x-lease-token: b", "malformed"},
		{"Content-Range", "Content-Range: bytes 0-1/2|Content-Range: bytes 0-2/3", "malformed"},
		{"Range", "Range: bytes=0-1|Range: bytes=0-1", "bytes=0-1"},
		{"Range", "Range: bytes=0-1|Range: bytes=2-3", "malformed"},
		{"If-Range", `If-Range: "a"|If-Range: "b"`, "malformed"},
		{"If-Modified-Since", "If-Modified-Since: a|If-Modified-Since: b", "malformed"},
		{"If-Unmodified-Since", "If-Unmodified-Since: a|If-Unmodified-Since: b", "malformed"},
		{"Origin", "Origin: http://a|Origin: http://b", "malformed"},
		{"Sec-WebSocket-Key", "Sec-WebSocket-Key: a|Sec-WebSocket-Key: b", "malformed"},
		{"Sec-WebSocket-Version", "Sec-WebSocket-Version: 13|Sec-WebSocket-Version: 8", "malformed"},
		{"Last-Event-ID", "Last-Event-ID: a-1|Last-Event-ID: a-1", "a-1"},
		{"Last-Event-ID", "Last-Event-ID: a-1|Last-Event-ID: a-2", "a-1, a-2"},
		{"X-Other", "X-Other: a|X-Other: b", "a|b"},
	} {
		lines := strings.ReplaceAll(tt.lines, "|", "\r\n")
		a := s.raw("GET / HTTP/1.1\r\nHost: x\r\nX-Field: " + tt.field + "\r\n" + lines + "\r\n\r\n")[0]
		got := a.body
		if a.StatusCode != 200 {
			got = string(a.problem(t).Code)
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.lines, got, tt.want)
		}
	}
}

// A field that says close twice over closes; other words beside it stay.
func TestCloseInSeveralLines(t *testing.T) {
	s := openSite(t, Options{}, echo)
	a := s.raw("GET / HTTP/1.1\r\nHost: x\r\nX-Field: Connection\r\nConnection: close\r\nConnection: x-hop\r\n\r\n")[0]
	if !a.Close || !strings.Contains(a.body, "x-hop") {
		t.Errorf("close %t, %q", a.Close, a.body)
	}
}

// A request whose framing asks for the end of its connection keeps that, whatever its
// lines of Connection say together (RFC 9112 6.1).
func TestCloseBecauseOfTheFraming(t *testing.T) {
	closes := false
	s := openSite(t, Options{}, func(_ *Door, app *fiber.App) {
		app.All("/", func(c *fiber.Ctx) error {
			closes = c.Request().Header.ConnectionClose()
			return nil
		})
	})
	s.raw("POST / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: x-hop\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if !closes {
		t.Error("the handler sees a connection that may be used again")
	}
}

// A request's many headers cost no more than reading them.
func BenchmarkJoinFields(b *testing.B) {
	app := fiber.New()
	head := "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
	var rc fasthttp.RequestCtx
	if err := rc.Request.Read(bufio.NewReader(strings.NewReader(head))); err != nil {
		b.Fatal(err)
	}
	c := app.AcquireCtx(&rc)
	defer app.ReleaseCtx(c)
	b.ReportAllocs()
	for b.Loop() {
		if err := joinFields(c); err != nil {
			b.Fatal(err)
		}
	}
}
