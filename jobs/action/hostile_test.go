package action

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// patience is longer than any of these targets may hold an action, on any machine.
const patience = 2 * time.Minute

// target listens and answers each connection as told, once a request has come.
// It never closes a connection by itself before the test ends.
func target(t *testing.T, answer func(c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() {
		close(over)
		_ = ln.Close()
	})
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				<-over
				_ = c.Close()
			}()
			go answer(c)
		}
	}()
	return "http://" + ln.Addr().String()
}

// requested reads the head of a request.
func requested(c net.Conn) {
	var head []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := c.Read(one); err != nil {
			return
		}
		head = append(head, one[0])
	}
}

// says answers with text and keeps the connection.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		requested(c)
		_, _ = io.WriteString(c, text)
	}
}

// repeats answers with text, and then with more for ever.
func repeats(text, more string, every time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		requested(c)
		_, err := io.WriteString(c, text)
		for err == nil {
			_, err = io.WriteString(c, more)
			if every > 0 {
				time.Sleep(every) // the target is slow by nature
			}
		}
	}
}

func bomb() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 100 { // ten times what an action reads
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
}

// attempt runs one request against url, with little time for those that need it.
func attempt(t *testing.T, h *HTTP, action string) (any, *jobs.ActionError) {
	t.Helper()
	type outcome struct {
		value any
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := h.Run(context.Background(), json.RawMessage(action), jobs.Env{Save: discard})
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		var e *jobs.ActionError
		if o.err != nil && !errors.As(o.err, &e) {
			t.Fatalf("error without a class: %v", o.err)
		}
		return o.value, e
	case <-time.After(patience):
		t.Fatal("the action does not end")
	}
	return nil, nil
}

func discard(_ context.Context, name, kind string, _ int64, r io.Reader) (jobs.Artifact, error) {
	n, err := io.Copy(io.Discard, r)
	return jobs.Artifact{Name: name, Size: n, ContentType: kind}, err
}

// Whatever a target does, the action ends in its time and says why.
func TestHTTPHostileTargets(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		answer func(net.Conn)
		class  string // empty: it goes well
		status int
	}{
		"switches protocols":       {answer: says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), class: ClassStatus},
		"switches and talks":       {answer: repeats("HTTP/1.1 101 Switching Protocols\r\n\r\n", "x", 0), class: ClassStatus},
		"informs for ever":         {answer: repeats("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0), class: ClassNetwork},
		"informs slowly":           {answer: repeats("", "HTTP/1.1 102 Processing\r\n\r\n", 20*time.Millisecond), class: ClassTimeout},
		"continues and is silent":  {answer: says("HTTP/1.1 100 Continue\r\n\r\n"), class: ClassTimeout},
		"says nothing":             {answer: requested, class: ClassTimeout},
		"reads nothing":            {answer: func(net.Conn) {}, class: ClassTimeout},
		"status 000":               {answer: says("HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n"), class: ClassStatus},
		"status 199":               {answer: says("HTTP/1.1 199 Odd\r\n\r\n"), class: ClassTimeout},
		"status 999":               {answer: says("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), class: ClassStatus},
		"status -20":               {answer: says("HTTP/1.1 -20 Odd\r\n\r\n"), class: ClassNetwork},
		"no HTTP":                  {answer: says("SSH-2.0-OpenSSH_9.9\r\n"), class: ClassNetwork},
		"endless status line":      {answer: repeats("HTTP/1.1 200 ", "x", 0), class: ClassNetwork},
		"endless header line":      {answer: repeats(ok+"X: ", strings.Repeat("x", 1000), 0), class: ClassNetwork},
		"endless headers":          {answer: repeats(ok, "X: y\r\n", 0), class: ClassNetwork},
		"trickling headers":        {answer: repeats(ok, "X: y\r\n", 20*time.Millisecond), class: ClassTimeout},
		"huge count of headers":    {answer: says(ok + strings.Repeat("X: y\r\n", 100_000) + "\r\n"), class: ClassNetwork},
		"endless body":             {answer: repeats(ok+"\r\n", strings.Repeat("x", 10_000), 0), status: 200},
		"endless chunks":           {answer: repeats(ok+"Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("a\r\n0123456789\r\n", 1000), 0), status: 200},
		"one endless chunk":        {answer: repeats(ok+"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", strings.Repeat("x", 10_000), 0), status: 200},
		"endless chunk extension":  {answer: repeats(ok+"Transfer-Encoding: chunked\r\n\r\n1;", "x", 0), class: ClassNetwork},
		"endless trailers":         {answer: repeats(ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", 0), class: ClassNetwork},
		"trickling body":           {answer: repeats(ok+"\r\n", "x", 20*time.Millisecond), class: ClassTimeout},
		"silent body":              {answer: says(ok + "Content-Length: 5\r\n\r\nab"), class: ClassTimeout},
		"open after its body":      {answer: says(ok + "Content-Length: 2\r\n\r\nab"), status: 200},
		"more than its length":     {answer: repeats(ok+"Content-Length: 2\r\n\r\nab", "more", 0), status: 200},
		"length is no number":      {answer: says(ok + "Content-Length: two\r\n\r\nab"), class: ClassNetwork},
		"length below zero":        {answer: says(ok + "Content-Length: -2\r\n\r\nab"), class: ClassNetwork},
		"two lengths":              {answer: says(ok + "Content-Length: 2\r\nContent-Length: 1\r\n\r\nab"), class: ClassNetwork},
		"length of 2^62":           {answer: repeats(ok+"Content-Length: 4611686018427387904\r\n\r\n", strings.Repeat("x", 10_000), 0), status: 200},
		"no content, and a body":   {answer: repeats("HTTP/1.1 204 No Content\r\n\r\n", "x", 0), status: 204},
		"bomb":                     {answer: says(bomb()), status: 200},
		"broken gzip":              {answer: says(ok + "Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n\x1f\x8b\x08\x00garbagegarbage!!"), class: ClassNetwork},
		"resets inside its body":   {answer: resets(ok + "Content-Length: 100000\r\n\r\nabc"), class: ClassNetwork},
		"resets at once":           {answer: resets(""), class: ClassNetwork},
		"redirects to itself":      {answer: says("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), class: ClassTooManyRedirects},
		"redirects to a file":      {answer: says("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to gopher":      {answer: says("HTTP/1.1 307 x\r\nLocation: gopher://127.0.0.1:70/\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to data":        {answer: says("HTTP/1.1 302 Found\r\nLocation: data:text/plain,x\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to a number":    {answer: says("HTTP/1.1 302 Found\r\nLocation: http://2130706433/\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to nowhere":     {answer: says("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), status: 302},
		"redirects to nonsense":    {answer: says("HTTP/1.1 302 Found\r\nLocation: http://[::1/%zz\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to a stray %":   {answer: says("HTTP/1.1 302 Found\r\nLocation: /100%\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to %zz":         {answer: says("HTTP/1.1 308 x\r\nLocation: /a%zz?b\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"redirects to a zone":      {answer: says("HTTP/1.1 302 Found\r\nLocation: http://[fe80::1%25lo]/\r\nContent-Length: 0\r\n\r\n"), class: ClassBlocked},
		"no redirect, a stray %":   {answer: says("HTTP/1.1 300 x\r\nLocation: /100%\r\nContent-Length: 0\r\n\r\n"), status: 300},
		"redirects to :0":          {answer: says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:0/\r\nContent-Length: 0\r\n\r\n"), class: ClassNetwork},
		"redirects, endless body":  {answer: repeats("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", strings.Repeat("x", 10_000), 0), class: ClassTooManyRedirects},
		"redirects, trickles body": {answer: repeats("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "x", 20*time.Millisecond), class: ClassTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHTTP(Options{AllowPrivateAddresses: true})
			h.limit = patience / 2
			if c.class == ClassTimeout {
				h.limit = 200 * time.Millisecond
			}
			url := target(t, c.answer)
			v, e := attempt(t, h, fmt.Sprintf(`{"type":"http","method":"POST","body":"x","url":%q}`, url))
			switch got, _ := v.(httpResult); {
			case c.class == "" && (e != nil || got.Status != c.status):
				t.Errorf("%+v, %v", got, e)
			case c.class != "" && (e == nil || e.Class != c.class):
				t.Errorf("%+v, %v; want %s", got, e, c.class)
			}
		})
	}
}

// resets ends the connection without a word after text.
func resets(text string) func(net.Conn) {
	return func(c net.Conn) {
		requested(c)
		_, _ = io.WriteString(c, text)
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// A body that is saved is bounded alike.
func TestHTTPHostileTargetsOfArtifacts(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(net.Conn)
		class  string
	}{
		"switches protocols": {says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), ClassStatus},
		"endless body":       {repeats("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 10_000), 0), ClassTooLarge},
		"trickling body":     {repeats("HTTP/1.1 200 OK\r\n\r\n", "x", 20*time.Millisecond), ClassTimeout},
		"bomb":               {says(bomb()), ClassTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHTTP(Options{AllowPrivateAddresses: true})
			h.limit = patience / 2
			if c.class == ClassTimeout {
				h.limit = 200 * time.Millisecond
			}
			v, e := attempt(t, h, fmt.Sprintf(`{"type":"http","url":%q,"saveAs":"x"}`, target(t, c.answer)))
			if e == nil || e.Class != c.class {
				t.Errorf("%+v, %v; want %s", v, e, c.class)
			}
		})
	}
}

// The same over TLS: what is no TLS, what never shakes hands, whom nobody
// knows; and HTTP/2, which targets choose by ALPN.
func TestHTTPHostileTLS(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 10_000)); err != nil {
				return
			}
		}
	}
	headers := func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20_000 {
			w.Header().Set(fmt.Sprint("X-", i), "y")
		}
	}
	hints := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", strings.Repeat("x", 1000))
		for range 1000 {
			w.WriteHeader(http.StatusEarlyHints)
		}
	}
	proto := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }
	for name, c := range map[string]struct {
		url    string
		class  string
		status int
		body   string
	}{
		"no TLS":               {url: "https" + strings.TrimPrefix(target(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), "http"), class: ClassNetwork},
		"no handshake":         {url: "https" + strings.TrimPrefix(target(t, func(net.Conn) {}), "http"), class: ClassTimeout},
		"unknown issuer":       {url: httptestTLS(t, proto, false), class: ClassNetwork},
		"HTTP/1.1":             {url: httptestTLS(t, proto, false), status: 200, body: "HTTP/1.1"},
		"HTTP/2":               {url: httptestTLS(t, proto, true), status: 200, body: "HTTP/2.0"},
		"HTTP/2 hangs":         {url: httptestTLS(t, hang, true), class: ClassTimeout},
		"HTTP/2 endless":       {url: httptestTLS(t, endless, true), status: 200},
		"HTTP/2 many headers":  {url: httptestTLS(t, headers, true), class: ClassNetwork},
		"HTTP/2 endless hints": {url: httptestTLS(t, hints, true), class: ClassNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHTTP(Options{AllowPrivateAddresses: true})
			h.limit = patience / 2
			if c.class == ClassTimeout {
				h.limit = 500 * time.Millisecond
			}
			if name != "unknown issuer" {
				h.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
			}
			v, e := attempt(t, h, fmt.Sprintf(`{"type":"http","url":%q}`, c.url))
			got, _ := v.(httpResult)
			switch {
			case c.class == "" && (e != nil || got.Status != c.status || (c.body != "" && got.Body != c.body)):
				t.Errorf("%+v, %v", got, e)
			case c.class != "" && (e == nil || e.Class != c.class):
				t.Errorf("%+v, %v; want %s", got, e, c.class)
			}
		})
	}
}

func httptestTLS(t *testing.T, h http.HandlerFunc, two bool) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = two
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of each client that leaves
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}
