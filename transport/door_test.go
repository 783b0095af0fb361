package transport

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
)

// whoami answers with the caller's client, for the scope watch.
func whoami(d *Door, app *fiber.App) {
	app.Get("/who", func(c *fiber.Ctx) error {
		p, err := d.Principal(c, auth.Watch)
		if err != nil {
			return err
		}
		return c.SendString(p.ClientID)
	})
	app.Get("/work", func(c *fiber.Ctx) error {
		if _, err := d.Principal(c, auth.Work); err != nil {
			return err
		}
		return d.Admit()
	})
	app.Get("/addr", func(c *fiber.Ctx) error {
		return c.SendString(fmt.Sprint(d.ClientAddr(c), " ", Local(c)))
	})
	app.Get("/panic", func(*fiber.Ctx) error { panic("the cat walked over it") })
	app.Get("/fail", func(*fiber.Ctx) error { return fmt.Errorf("disk 7 is on fire") })
	app.Post("/body", func(c *fiber.Ctx) error {
		body, err := Body(c, d.MaxBody())
		if err != nil {
			return err
		}
		return c.Send(body)
	})
}

func TestCredentialPlaces(t *testing.T) {
	s := openSite(t, Options{}, whoami)
	bearer, header := "Authorization: Bearer "+watchKey, "X-API-Key: "+watchKey
	tests := []struct {
		name    string
		target  string
		headers []string
		want    Code // "": accepted
	}{
		{"bearer", "/who", []string{bearer}, ""},
		{"scheme without case, more space", "/who", []string{"Authorization: bEARER   " + watchKey}, ""},
		{"X-API-Key", "/who", []string{header}, ""},
		{"apiKey", "/who?apiKey=" + watchKey, nil, ""},
		{"token", "/who?token=" + watchKey, nil, ""},
		{"Bearer in the query", "/who?apiKey=Bearer%20" + watchKey, nil, ""},
		{"Bearer in the query, with a plus", "/who?token=bearer+" + watchKey, nil, ""},
		{"Bearer in X-API-Key", "/who", []string{"X-API-Key: Bearer  " + watchKey}, ""},
		{"with and without Bearer", "/who?apiKey=" + watchKey + "&token=Bearer%20" + watchKey, []string{bearer}, ""},
		{"Bearer of nothing in the query", "/who?apiKey=Bearer%20", []string{header}, ""},
		{"Bearer alone in the query", "/who?apiKey=Bearer", nil, Unauthenticated},
		{"Bearer of two words in the query", "/who?apiKey=Bearer+a+b", nil, Malformed},
		{"another scheme in the query", "/who?apiKey=Basic+" + watchKey, nil, Malformed},
		{"Bearer of another one in the query", "/who?apiKey=Bearer%20" + otherKey, []string{bearer}, AmbiguousCredentials},
		{"the same everywhere", "/who?apiKey=" + watchKey + "&token=" + watchKey, []string{bearer, header, header}, ""},
		{"empty ones do not count", "/who?apiKey=&token=", []string{"X-API-Key: ", bearer}, ""},
		{"another scheme is not ours", "/who", []string{"Authorization: Basic dTpw", header}, ""},
		{"none", "/who", nil, Unauthenticated},
		{"only another scheme", "/who", []string{"Authorization: Basic dTpw"}, Unauthenticated},
		{"no scheme", "/who", []string{"Authorization: " + watchKey}, Unauthenticated},
		{"unknown", "/who", []string{"X-API-Key: nobody-0123456789012345"}, Unauthenticated},
		{"bearer of nothing", "/who", []string{"Authorization: Bearer"}, Malformed},
		{"bearer of two words", "/who", []string{"Authorization: Bearer a b"}, Malformed},
		{"not ASCII", "/who?token=sch%C3%BCssel", nil, Malformed},
		{"too long", "/who", []string{"X-API-Key: " + strings.Repeat("k", maxSecretBytes+1)}, Malformed},
		{"header against query", "/who?apiKey=" + otherKey, []string{bearer}, AmbiguousCredentials},
		{"header against header", "/who", []string{bearer, "X-API-Key: " + otherKey}, AmbiguousCredentials},
		{"two in the query", "/who?apiKey=a&apiKey=b", nil, AmbiguousCredentials},
		{"two bearers", "/who", []string{bearer, "Authorization: Bearer " + otherKey}, AmbiguousCredentials},
		{"a scope is missing", "/work", []string{bearer}, Forbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.call("GET", tt.target, tt.headers...)
			if tt.want == "" {
				if a.StatusCode != 200 || a.body != "acme" {
					t.Fatalf("%d %s", a.StatusCode, a.body)
				}
				return
			}
			if got := a.problem(t); got.Code != tt.want {
				t.Fatalf("code %s, want %s", got.Code, tt.want)
			}
			if tt.want == Unauthenticated && a.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("a 401 without WWW-Authenticate: Bearer")
			}
		})
	}
}

func TestDrain(t *testing.T) {
	s := openSite(t, Options{}, whoami)
	key := "X-API-Key: " + otherKey
	if a := s.call("GET", "/work", key); a.StatusCode != 200 {
		t.Fatalf("before: %d", a.StatusCode)
	}
	s.door.Drain()
	a := s.call("GET", "/work", key)
	if p := a.problem(t); p.Code != Draining || a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !a.Close {
		t.Errorf("%+v, headers %v", p, a.Header)
	}
	if p := s.call("GET", "/work", "X-API-Key: "+watchKey).problem(t); p.Code != Forbidden {
		t.Errorf("drain is the last refusal, got %s before the scope", p.Code)
	}
	select {
	case <-s.door.Context().Done():
	default:
		t.Error("who waits was not told")
	}
}

func TestAccessLog(t *testing.T) {
	s := openSite(t, Options{}, whoami)
	a := s.call("GET", "/who?token="+watchKey, "X-Request-Id: theirs-1")
	id := a.Header.Get("X-Request-Id")
	if id == "" || id == "theirs-1" {
		t.Fatalf("request id %q must be ours", id)
	}
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	if len(lines) != 1 {
		t.Fatalf("one request, %d lines:\n%s", len(lines), s.log)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"requestId": id, "clientRequestId": "theirs-1", "path": "/who", "method": "GET",
		"status": 200.0, "clientId": "acme", "keyId": "k1", "addr": "127.0.0.1", "bytes": 4.0}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
	s.call("GET", "/who", "X-Request-Id: "+strings.Repeat("x", maxLoggedClientID+1))
	if strings.Contains(s.log.String(), "xxxxx") {
		t.Error("an overlong foreign request id was logged")
	}
}

func TestInternalErrorsStayInTheLog(t *testing.T) {
	for path, secret := range map[string]string{"/panic": "the cat walked over it", "/fail": "disk 7 is on fire"} {
		s := openSite(t, Options{}, whoami)
		a := s.call("GET", path)
		p := a.problem(t)
		if p.Code != Internal || a.StatusCode != 500 || strings.Contains(a.body, secret) {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
		log := s.log.String()
		if strings.Count(log, secret) != 1 || strings.Count(log, p.Instance) != 2 {
			t.Errorf("%s: details must be logged once under the request id, and one access line:\n%s", path, log)
		}
		if b := s.call("GET", path); b.problem(t).Instance == p.Instance {
			t.Error("two requests with one id")
		}
	}
}

func TestServerRefusals(t *testing.T) {
	s := openSite(t, Options{MaxBody: 1000}, func(d *Door, app *fiber.App) {
		app.Server().ReadTimeout = 200 * time.Millisecond
		whoami(d, app)
		app.Put("/who", func(*fiber.Ctx) error { return nil })
	})
	post := func(head, body string) string {
		return "POST /body HTTP/1.1\r\nHost: x\r\n" + head + "\r\n\r\n" + body
	}
	tests := []struct {
		name, request string
		status        int
		want          Code
		header        string // that must be there
	}{
		{"unknown path", "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404, NotFound, ""},
		{"wrong method", "POST /who HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, MethodNotAllowed, "Allow"},
		{"unknown method", "BREW /who HTTP/1.1\r\nHost: x\r\n\r\n", 405, MethodNotAllowed, "Allow"},
		{"body too large", post("Content-Length: 1001", ""), 413, TooLarge, ""},
		{"chunked body too large", post("Content-Type: application/json\r\nTransfer-Encoding: chunked", "3e9\r\n"+strings.Repeat("a", 1001)+"\r\n0\r\n\r\n"), 413, TooLarge, ""},
		{"headers too large", "GET /who HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", maxHeaderBytes) + "\r\n\r\n", 431, HeadersTooLarge, ""},
		{"slow body", post("Content-Type: application/json\r\nContent-Length: 10", "12345"), 408, Timeout, ""},
		{"no HTTP", "GET\r\n\r\n", 400, Malformed, ""},
		{"a coding that is not chunked", post("Content-Type: application/json\r\nTransfer-Encoding: identity", "{}"), 400, Malformed, ""},
		{"no Host", "GET /who HTTP/1.1\r\n\r\n", 400, Malformed, ""},
		{"form", post("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3", "a=b"), 415, UnsupportedMediaType, "Accept"},
		{"other charset", post("Content-Type: application/json; charset=latin1\r\nContent-Length: 2", "{}"), 415, UnsupportedMediaType, "Accept"},
		{"compressed", post("Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2", "{}"), 415, UnsupportedMediaType, "Accept-Encoding"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.raw(tt.request)[0]
			if p := a.problem(t); a.StatusCode != tt.status || p.Code != tt.want {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if tt.header != "" && a.Header.Get(tt.header) == "" {
				t.Errorf("no header %s in %v", tt.header, a.Header)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers of every answer are missing: %v", a.Header)
			}
			if !strings.Contains(s.log.String(), a.Header.Get("X-Request-Id")) {
				t.Error("no access line")
			}
		})
	}
}

// A refusal by the server itself must not carry what the handler of the request
// before it on the same connection left behind.
func TestRefusalAfterRequestOnOneConnection(t *testing.T) {
	s := openSite(t, Options{MaxBody: 1000}, whoami)
	all := s.raw("GET /who?token="+watchKey+" HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n")
	if p := all[1].problem(t); p.Code != TooLarge || p.Instance == all[0].Header.Get("X-Request-Id") {
		t.Errorf("%+v", p)
	}
	if n := strings.Count(s.log.String(), `"keyId"`); n != 1 {
		t.Errorf("%d lines name the key, only the first request had one:\n%s", n, s.log)
	}
}

func TestClientAddr(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	private := netip.MustParsePrefix("10.0.0.0/8")
	tests := []struct {
		name    string
		trusted []netip.Prefix
		headers []string
		want    string // address, and whether it is local
	}{
		{"no header", nil, nil, "127.0.0.1 true"},
		{"from a page", nil, []string{"Origin: http://evil.example"}, "127.0.0.1 false"},
		{"nobody is trusted", nil, []string{"X-Forwarded-For: 203.0.113.9"}, "127.0.0.1 false"},
		{"trusted peer", []netip.Prefix{loopback}, []string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9 false"},
		{"left part is forged", []netip.Prefix{loopback}, []string{"X-Forwarded-For: 1.1.1.1, 203.0.113.9"}, "203.0.113.9 false"},
		{"two proxies", []netip.Prefix{loopback, private}, []string{"X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.1.2.3"}, "203.0.113.9 false"},
		{"two headers", []netip.Prefix{loopback, private}, []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 10.1.2.3"}, "203.0.113.9 false"},
		{"headers that are forged", []netip.Prefix{loopback}, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2, 203.0.113.9"}, "203.0.113.9 false"},
		{"empty elements", []netip.Prefix{loopback, private}, []string{"X-Forwarded-For: 203.0.113.9,, 10.1.2.3,", "X-Forwarded-For: "}, "203.0.113.9 false"},
		{"with a port", []netip.Prefix{loopback}, []string{"X-Forwarded-For: 203.0.113.9:4711"}, "203.0.113.9 false"},
		{"IPv6 with a port", []netip.Prefix{loopback}, []string{"X-Forwarded-For: [2001:db8::1]:4711"}, "2001:db8::1 false"},
		{"mapped", []netip.Prefix{loopback}, []string{"X-Forwarded-For: ::ffff:203.0.113.9"}, "203.0.113.9 false"},
		{"garbage ends the walk", []netip.Prefix{loopback, private}, []string{"X-Forwarded-For: 203.0.113.9, unknown, 10.1.2.3"}, "10.1.2.3 false"},
		{"all trusted", []netip.Prefix{loopback}, []string{"X-Forwarded-For: 127.0.0.2"}, "127.0.0.2 false"},
		{"another proxy header", nil, []string{"Via: 1.1 cache"}, "127.0.0.1 false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openSite(t, Options{TrustedProxies: tt.trusted}, whoami)
			if a := s.call("GET", "/addr", tt.headers...); a.body != tt.want {
				t.Errorf("%s, want %s", a.body, tt.want)
			}
		})
	}
}

// Fiber reuses the memory of a request. Everything that the door returned must
// still say the same after many other requests went through the same memory.
func TestNothingIsBorrowed(t *testing.T) {
	type kept struct {
		secret, cursor, id string
		body               []byte
	}
	var mu sync.Mutex // guards all
	var all []kept
	s := openSite(t, Options{Auth: testKeys()}, func(d *Door, app *fiber.App) {
		app.Post("/keep/:n", func(c *fiber.Ctx) error {
			secret, err := Credential(c)
			if err != nil {
				return err
			}
			start, err := StartFrom(c)
			if err != nil {
				return err
			}
			body, err := Body(c, d.MaxBody())
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, kept{secret, start.Cursor.Epoch, infoOf(c).foreignID, body})
			return nil
		})
	})
	var clients sync.WaitGroup
	for w := range 4 {
		clients.Go(func() {
			var requests []string
			for i := range 100 {
				n := fmt.Sprintf("%d%02d", w, i)
				requests = append(requests, "POST /keep/x?token=secret"+n+"&lastEventId=epoch"+n+"-7 HTTP/1.1\r\nHost: x\r\n"+
					"X-Request-Id: req"+n+"\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n\""+n+"\"")
			}
			s.raw(requests...)
		})
	}
	clients.Wait()
	if len(all) != 400 {
		t.Fatalf("%d kept", len(all))
	}
	seen := map[string]bool{}
	for _, k := range all {
		n := strings.Trim(string(k.body), `"`)
		if seen[n] {
			t.Fatalf("body %q is kept twice", k.body)
		}
		seen[n] = true
		if k.secret != "secret"+n || k.cursor != "epoch"+n || k.id != "req"+n {
			t.Fatalf("kept values changed: %+v", k)
		}
	}
}

// A secret that was presented anywhere, good or bad, is in no log line.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	const canary = "canary-4f7a9c1e2b8d6035"
	keys := testKeys()
	keys[canary+"-good"] = auth.Principal{Identity: auth.Identity{ClientID: "acme", KeyID: "k9"}, Scopes: auth.DefaultScopes()}
	s := openSite(t, Options{Auth: keys}, whoami)
	for _, secret := range []string{canary + "-good", canary + "-bad", canary + "-\u00fc", canary} {
		for _, path := range []string{"/who", "/work", "/panic", "/fail", "/nothing", "/body"} {
			s.call("GET", path+"?apiKey="+secret+"&x=%zz")
			s.call("GET", path+"?token="+secret, "X-API-Key: "+secret, "Authorization: Bearer "+secret)
			s.call("GET", path, "Authorization: Basic "+secret, "Authorization: "+secret)
		}
	}
	s.raw("GET /who?token=" + canary + " HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", maxHeaderBytes) + "\r\n\r\n")
	s.raw("BREW /who?token=" + canary + " HTTP/1.1\r\nHost: x\r\n\r\n")
	if log := s.log.String(); strings.Contains(log, canary) || !strings.Contains(log, `"keyId":"k9"`) {
		t.Errorf("the log must name the key and not its secret:\n%.2000s", log)
	}
}
