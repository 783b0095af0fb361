package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport/wire"
)

// logbook is a log sink that tests read while the server writes.
type logbook struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// keyring is an Authenticator of fixed secrets. The real one is proved with
// this door in the package rest.
type keyring map[string]auth.Principal

func (k keyring) Login(_ context.Context, secret string, _ netip.Addr) (auth.Principal, error) {
	if p, ok := k[secret]; ok {
		return p, nil
	}
	return auth.Principal{}, auth.ErrUnauthenticated
}

const (
	watchKey = "watcher-0123456789012345"
	otherKey = "another-0123456789012345"
)

func testKeys() keyring {
	return keyring{
		watchKey: {Identity: auth.Identity{ClientID: "acme", KeyID: "k1"}, Scopes: []auth.Scope{auth.Watch}},
		otherKey: {Identity: auth.Identity{ClientID: "umbra", KeyID: "k2"}, Scopes: auth.DefaultScopes()},
	}
}

type site struct {
	t    *testing.T
	door *Door
	app  *fiber.App
	addr string
	log  *logbook
}

// openSite starts a server on a real listener; mount adds its routes.
func openSite(t *testing.T, o Options, mount func(d *Door, app *fiber.App)) *site {
	t.Helper()
	s := &site{t: t, log: &logbook{}}
	if o.Auth == nil {
		o.Auth = testKeys()
	}
	o.Log = s.log.logger()
	var err error
	if s.door, err = New(o); err != nil {
		t.Fatal(err)
	}
	s.app = s.door.App()
	if mount != nil {
		mount(s.door, s.app)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	guard := wire.NewGuard(ln, wire.GuardOptions{})
	go func() { served <- s.app.Listener(guard) }()
	t.Cleanup(func() {
		if err := s.app.Shutdown(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		guard.Cut()
		_ = ln.Close() // a shutdown that came before Serve closes nothing
		<-served
	})
	return s
}

type answer struct {
	*http.Response
	body string
}

func (a answer) problem(t *testing.T) Problem {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("content type %q, body %s", got, a.body)
	}
	var p Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if p.Instance == "" || p.Instance != a.Header.Get("X-Request-Id") {
		t.Errorf("instance %q, X-Request-Id %q", p.Instance, a.Header.Get("X-Request-Id"))
	}
	if p.Status != a.StatusCode {
		t.Errorf("member status %d in an answer with %d", p.Status, a.StatusCode)
	}
	return p
}

// call makes one request; headers are `Name: value` lines.
func (s *site) call(method, target string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res, string(body)}
}

// raw writes bytes as they are and reads answers from the same connection.
func (s *site) raw(requests ...string) []answer {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	var all []answer
	for _, text := range requests {
		if _, err := io.WriteString(conn, text); err != nil {
			s.t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, answer{res, string(body)})
	}
	return all
}
