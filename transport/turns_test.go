package transport

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport/wire"
)

// TestLargeAnswersTakeTurns: of one key one large answer is made at a time; other keys
// and small answers are not held up, and who leaves is not waited for.
func TestLargeAnswersTakeTurns(t *testing.T) {
	entered, refused := make(chan string), make(chan error)
	leave := make(chan struct{})
	s := openSite(t, Options{}, func(d *Door, app *fiber.App) {
		app.Get("/large/:name", func(c *fiber.Ctx) error {
			p, err := d.Principal(c)
			if err != nil {
				return err
			}
			if err := d.Turn(c, p); err != nil {
				select {
				case refused <- err:
				case <-t.Context().Done():
				}
				return err
			}
			select {
			case entered <- strings.Clone(c.Params("name")):
			case <-t.Context().Done():
			}
			select {
			case <-leave:
			case <-t.Context().Done(): // the test has failed
			}
			return c.Send(make([]byte, LargeAnswer+1))
		})
		whoami(d, app)
	})
	var asking sync.WaitGroup
	ask := func(ctx context.Context, name, key string) {
		asking.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/large/"+name, nil)
			req.Header.Set("Authorization", "Bearer "+key)
			req.Close = true
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return
			}
			if n, err := io.Copy(io.Discard, resp.Body); resp.StatusCode == 200 && n != LargeAnswer+1 || err != nil {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
			resp.Body.Close()
		})
	}
	enters := func(want string) {
		t.Helper()
		select {
		case got := <-entered:
			if got != want {
				t.Fatalf("it is the turn of %s, want %s", got, want)
			}
		case err := <-refused:
			t.Fatalf("refused: %v", err)
		}
	}
	ctx := t.Context()
	ask(ctx, "first", watchKey)
	enters("first")
	gone, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := time.Now()
	ask(gone, "gone", watchKey)
	s.waiting(t, 2)
	ask(ctx, "third", watchKey)
	s.waiting(t, 3)
	ask(ctx, "other", otherKey)
	enters("other") // and neither of those before it
	if a := s.call("GET", "/who", "Authorization: Bearer "+watchKey); a.StatusCode != 200 {
		t.Errorf("a small answer beside a large one: %d", a.StatusCode)
	}
	cancel()
	if err := <-refused; FromError(err).Code != ConnectionLimit || time.Since(asked) >= maxTurnWait {
		t.Errorf("whoever left is waited for until %v: %v", time.Since(asked), err)
	}
	leave <- struct{}{}
	leave <- struct{}{}
	enters("third")
	ask(ctx, "late", watchKey)
	s.waiting(t, 2)
	s.door.Drain()
	if err := <-refused; FromError(err).Code != Draining {
		t.Errorf("whoever waits while the server drains: %v", err)
	}
	leave <- struct{}{}
	asking.Wait()
	s.waiting(t, 0)
}

// waiting waits until n requests of the watcher's key wait or are answered.
func (s *site) waiting(t *testing.T, n int) {
	t.Helper()
	turns := &s.door.turns
	for {
		turns.mu.Lock()
		users := 0
		if l := turns.lanes["credential k1"]; l != nil {
			users = l.users
		}
		turns.mu.Unlock()
		if users == n {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%d requests wait, want %d", users, n)
		case <-time.After(time.Millisecond):
		}
	}
}

// pipes is a listener whose connections hold no byte.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error { close(p); return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// beginDates lets the clock of all fasthttp servers, which never ends, begin outside of fake
// time.
func beginDates() { _ = new(fasthttp.ResponseHeader).Header() }

// TestUnreadLargeAnswers: what readers do not take is bounded, for each key and for a
// client, and not for ever.
func TestUnreadLargeAnswers(t *testing.T) {
	beginDates()
	synctest.Test(t, func(t *testing.T) {
		keys := testKeys()
		for i := range 10 {
			keys[fmt.Sprintf("acme-%d-0123456789012345", i)] = auth.Principal{Identity: auth.Identity{ClientID: "acme", KeyID: fmt.Sprint("a", i)}}
		}
		d, err := New(Options{Auth: keys, Log: (&logbook{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		app := d.App()
		body := bytes.Repeat([]byte("x"), 1<<20)
		app.Get("/large", func(c *fiber.Ctx) error {
			p, err := d.Principal(c)
			if err == nil {
				err = d.Turn(c, p)
			}
			if err != nil {
				return err
			}
			return c.Send(body)
		})
		ln := make(pipes)
		var running sync.WaitGroup
		running.Go(func() { _ = app.Listener(ln) })
		ask := func(key string) net.Conn {
			c, server := net.Pipe()
			ln <- server
			if _, err := fmt.Fprintf(c, "GET /large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", key); err != nil {
				t.Fatal(err)
			}
			return c
		}
		answer := func(c net.Conn) *http.Response {
			t.Helper()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		var open []net.Conn
		for range unreadPerCredential {
			c := ask(watchKey)
			if resp := answer(c); resp.StatusCode != 200 {
				t.Fatalf("answered with %d", resp.StatusCode)
			}
			open = append(open, c)
		}
		began := time.Now()
		late := ask(watchKey)
		if resp := answer(ask(otherKey)); resp.StatusCode != 200 {
			t.Errorf("another client is answered with %d", resp.StatusCode)
		}
		if resp := answer(late); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || time.Since(began) != maxTurnWait {
			t.Errorf("one too many is answered with %d after %v", resp.StatusCode, time.Since(began))
		}
		for i := range unreadPerClient - unreadPerCredential {
			c := ask(fmt.Sprintf("acme-%d-0123456789012345", i%10))
			answer(c)
			open = append(open, c)
		}
		if resp := answer(ask("acme-9-0123456789012345")); resp.StatusCode != 429 {
			t.Errorf("one too many of the client is answered with %d", resp.StatusCode)
		}
		time.Sleep(leastTime + time.Second*time.Duration(len(body)/leastSpeed)) // all are cut by now
		if resp := answer(ask(watchKey)); resp.StatusCode != 200 {
			t.Errorf("afterwards: %d", resp.StatusCode)
		}
		for _, c := range open {
			if n, err := io.Copy(io.Discard, c); err != nil || n == int64(len(body)) {
				t.Errorf("what was not read is whole: %d bytes, %v", n, err)
			}
		}
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		running.Wait()
		if len(d.turns.lanes) > 1 { // the last two answers are read by nobody
			t.Errorf("%d lanes are left", len(d.turns.lanes))
		}
	})
}

// TestLargeBodiesTakeTurns: of one client some large bodies are in memory at a time, and
// nothing is read of the next before. Small ones and other clients are not held up.
func TestLargeBodiesTakeTurns(t *testing.T) {
	beginDates()
	synctest.Test(t, func(t *testing.T) {
		const small, large = 1000, 5000
		d, err := New(Options{Auth: testKeys(), Log: (&logbook{}).logger(), MaxBody: small, MaxBatchBody: large})
		if err != nil {
			t.Fatal(err)
		}
		app := d.App()
		entered, leave := make(chan int), make(chan struct{})
		app.Post("/", func(c *fiber.Ctx) error {
			_, err := d.Principal(c)
			var body []byte
			if err == nil {
				body, err = Body(c, d.MaxBatchBody())
			}
			if err != nil {
				return err
			}
			entered <- len(body)
			<-leave
			return c.SendString("taken")
		})
		ln := make(pipes)
		guard := wire.NewGuard(ln, wire.GuardOptions{})
		var running sync.WaitGroup
		running.Go(func() { _ = app.Listener(guard) })
		// ask sends a head, and a body if there is one, and returns the answers.
		ask := func(key, head, body string) (net.Conn, *bufio.Reader) {
			c, server := net.Pipe()
			ln <- server
			running.Go(func() {
				_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nConnection: close\r\n%s\r\n\r\n%s", key, head, body)
			})
			return c, bufio.NewReader(c)
		}
		enters := func(n int) {
			t.Helper()
			select {
			case got := <-entered:
				if got != n {
					t.Errorf("a body of %d bytes came as %d", n, got)
				}
			case <-time.After(time.Minute):
				t.Fatalf("a body of %d bytes did not come", n)
			}
		}
		send := func(key string, n int) *bufio.Reader {
			t.Helper()
			_, r := ask(key, fmt.Sprint("Content-Length: ", n), strings.Repeat("1", n))
			enters(n)
			return r
		}
		status := func(r *bufio.Reader, want string) {
			t.Helper()
			if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
				t.Errorf("answered with %q, %v; want %s", line, err, want)
			}
		}
		var answers []*bufio.Reader
		began := time.Now()
		for range largeBodies {
			answers = append(answers, send(watchKey, small+1))
		}
		answers = append(answers, send(watchKey, small), send(otherKey, large))
		if waited := time.Since(began); waited != 0 {
			t.Errorf("they waited %v", waited)
		}
		const invited = "Expect: 100-continue\r\n"
		for _, framing := range []string{"Content-Length: 5000", "Transfer-Encoding: chunked"} {
			began = time.Now()
			_, late := ask(watchKey, invited+framing, "")
			if status(late, "429 "); time.Since(began) != maxTurnWait {
				t.Errorf("one too many waited %v", time.Since(began))
			}
		}
		c, next := ask(watchKey, invited+"Content-Length: 5000", "")
		time.Sleep(maxTurnWait - time.Second)
		for range 3 { // one of the large ones is among them
			leave <- struct{}{}
		}
		status(next, "100 ")
		time.Sleep(readTimeout - time.Second) // from its turn on, not from its head
		if _, err := c.Write(bytes.Repeat([]byte("1"), large)); err != nil {
			t.Error(err)
		}
		enters(large)
		for range len(answers) + 1 - 3 {
			leave <- struct{}{}
		}
		for _, r := range answers {
			status(r, "200 ")
		}
		for line := ""; line != "\r\n"; { // the rest of 100 Continue
			if line, err = next.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		status(next, "200 ")
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		guard.Cut()
		d.Wait()
		running.Wait()
		time.Sleep(time.Minute) // the server looks after its workers once more
		if len(d.turns.lanes) != 0 {
			t.Errorf("%d lanes are left", len(d.turns.lanes))
		}
	})
}

// watched is a connection that counts how often its descriptor is asked for.
type watched struct {
	net.Conn
	looks int
}

func (w *watched) SyscallConn() (syscall.RawConn, error) {
	w.looks++
	return nil, net.ErrClosed
}

// TestTurnsLookAfterThoseWhoWait: whoever has its turn at once costs no look at its
// connection, and whoever waits is looked after once, however many lanes it waits in.
func TestTurnsLookAfterThoseWhoWait(t *testing.T) {
	d, err := New(Options{Auth: testKeys()})
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New()
	ask := func() (*watched, *requestInfo, error) {
		conn, v := &watched{}, &requestInfo{}
		var request fasthttp.RequestCtx
		request.Init2(conn, nil, false)
		c := app.AcquireCtx(&request)
		defer app.ReleaseCtx(c)
		c.Locals(requestInfoKey{}, v)
		return conn, v, d.Turn(c, auth.Principal{Identity: auth.Identity{ClientID: "a", KeyID: "k1"}})
	}
	conn, v, err := ask()
	if err != nil || v.turn == nil || conn.looks != 0 {
		t.Errorf("the first waits for nobody: %d looks, %v", conn.looks, err)
	}
	s := &site{door: d}
	go func() {
		s.waiting(t, 2)
		d.Drain()
	}()
	if conn, _, err := ask(); conn.looks != 1 || FromError(err).Code != Draining {
		t.Errorf("the second waits: %d looks, %v", conn.looks, err)
	}
	if conn, _, err := ask(); conn.looks != 0 || FromError(err).Code != Draining {
		t.Errorf("one that comes late does not: %d looks, %v", conn.looks, err)
	}
	v.turn.leave(0)
	if len(d.turns.lanes) != 0 {
		t.Errorf("%d lanes are left", len(d.turns.lanes))
	}
}
