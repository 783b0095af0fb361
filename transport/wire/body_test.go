package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

// echo serves bodies back, but for paths that say otherwise, until the test ends.
func echo(t testing.TB, all *Shares[string]) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &fasthttp.Server{ReduceMemoryUsage: true, KeepHijackedConns: true, ReadTimeout: 10 * time.Second, ReadBufferSize: MaxHead, Handler: func(rc *fasthttp.RequestCtx) {
		switch string(rc.Path()) {
		case "/refused":
			rc.SetStatusCode(fasthttp.StatusForbidden)
			return
		case "/reader":
			body, err := io.ReadAll(BodyReader(rc))
			rc.SetBodyString(fmt.Sprintf("%s %v", body, err))
			return
		case "/taken":
			Hijack(rc, func(h *Hijacked) {
				answer, _ := h.Respond(nil, fasthttp.StatusOK, "text/plain", "", []byte("taken"), true)
				_, _ = h.Conn.Write(answer)
				hearOut(h.Conn)
				_ = h.Conn.Close()
			})
			return
		}
		body, err := ReadBody(rc, 1<<20, all, string(rc.Path()))
		switch {
		case errors.Is(err, ErrDisplaced):
			rc.SetStatusCode(fasthttp.StatusServiceUnavailable)
		case errors.Is(err, ErrBodyTooLarge):
			rc.SetStatusCode(fasthttp.StatusRequestEntityTooLarge)
		case err != nil:
			rc.SetStatusCode(fasthttp.StatusBadRequest)
		}
		rc.SetBody(body)
	}}
	srv.ErrorHandler = func(rc *fasthttp.RequestCtx, _ error) { rc.SetStatusCode(fasthttp.StatusBadRequest) }
	handlers := Prepare(srv)
	g := NewGuard(ln, GuardOptions{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(g) }()
	t.Cleanup(func() {
		_ = g.Close()
		g.Cut()
		handlers.Wait()
		<-served
		_ = srv.Shutdown()
	})
	return ln.Addr().String()
}

func anything() *Shares[string] { return NewShares[string](1 << 40) }

// framings are ways to send a body; the last one says that it has none.
func framings(body string) []string {
	half := (len(body) + 1) / 2
	rest := ""
	if half < len(body) {
		rest = fmt.Sprintf("%x;ext=\"a b\"\r\n%s\r\n", len(body)-half, body[half:])
	}
	return []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s0\r\nX-Trailer: a\r\n\r\n", half, body[:half], rest),
		fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n\r\n%s", len(body), body),
	}
}

// However requests and their bodies are cut into pieces, each is answered as itself: a
// body never becomes a request, nor the next request a part of a body.
func TestPieces(t *testing.T) {
	addr := echo(t, anything())
	rapid.Check(t, func(t *rapid.T) {
		var sent, want bytes.Buffer
		var methods []string
		for range rapid.IntRange(1, 5).Draw(t, "requests") {
			body := strings.Repeat(rapid.SampledFrom([]string{"x", "\r\n", "\r\n\r\n", "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"}).Draw(t, "text"),
				rapid.SampledFrom([]int{1, 2, 100, 2000}).Draw(t, "times"))
			method := rapid.SampledFrom([]string{"POST", "PUT", "GET"}).Draw(t, "method")
			framing := rapid.SampledFrom(append(framings(body), "\r\n")).Draw(t, "framing")
			if method == "GET" && strings.Contains(framing, "Expect") {
				method = "POST" // a GET's body is not invited
			}
			pad := strings.Repeat("p", rapid.SampledFrom([]int{0, 1, 1900, 5000}).Draw(t, "pad"))
			fmt.Fprintf(&sent, "%s /echo HTTP/1.1\r\nHost: x\r\nX-Pad: %s\r\n%s", method, pad, framing)
			if framing != "\r\n" && method != "GET" {
				want.WriteString(body)
			}
			want.WriteString("|")
			methods = append(methods, method)
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		cuts := rapid.SliceOfN(rapid.IntRange(0, sent.Len()), 0, 8).Draw(t, "cuts")
		cuts = append(cuts, 0, sent.Len())
		slices.Sort(cuts)
		go func() {
			for i, from := range cuts[:len(cuts)-1] {
				if _, err := conn.Write(sent.Bytes()[from:cuts[i+1]]); err != nil {
					return
				}
			}
		}()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		var got bytes.Buffer
		r := bufio.NewReader(conn)
		for i := range methods {
			res, err := answer(r)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("answer %d: %v %v", i, res, err)
			}
			if _, err := io.Copy(&got, res.Body); err != nil {
				t.Fatal(err)
			}
			got.WriteString("|")
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("got %.300q, want %.300q", &got, &want)
		}
	})
}

// answer reads one, after those that say "100 Continue".
func answer(r *bufio.Reader) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusContinue {
			return res, err
		}
	}
}

// talk sends text and returns all that comes, until the server closes.
func talk(t *testing.T, addr, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", all, err)
	}
	return string(all)
}

// A request that its head refuses is answered at once, without the body, which is not
// invited either; and a peer that sends it all the same gets the answer, no reset.
func TestRefusedByItsHead(t *testing.T) {
	addr := echo(t, anything())
	for _, head := range []string{
		"Content-Length: 1000", "Transfer-Encoding: chunked", "Content-Length: 1000\r\nExpect: 100-continue",
	} {
		for _, body := range []string{"", "x", strings.Repeat("x", 10<<20)} {
			got := talk(t, addr, "POST /refused HTTP/1.1\r\nHost: x\r\n"+head+"\r\n\r\n"+body)
			if n := strings.Count(got, "HTTP/1.1 "); !strings.HasPrefix(got, "HTTP/1.1 403 ") || n != 1 && len(body) < 1000 {
				t.Errorf("%s with %d bytes: %.200q", head, len(body), got)
			}
		}
	}
	if got := talk(t, addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\nExpect: 100-continue\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("too large: %.200q", got)
	}
	if got := talk(t, addr, "GET /echo HTTP/1.1 nonsense\r\n\r\n"+strings.Repeat("x", 10<<20)); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("no HTTP: %.200q", got)
	}
}

// Bodies that lie about themselves are refused, and nothing of them is a request.
func TestLyingBodies(t *testing.T) {
	addr := echo(t, anything())
	const next = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, framing := range []string{
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
		"Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("e", 10_000) + "\r\nx\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + strings.Repeat("A: b\r\n", 2000) + "\r\n",
		"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("e", 1000)+"\r\nx\r\n", 300) + "0\r\n\r\n",
		"Transfer-Encoding: identity\r\n\r\n", "transfer-encoding:\tIDENTITY \r\n\r\n", "Transfer-Encoding: identity\r\nExpect: 100-continue\r\n\r\n",
		"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello",
		"Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: \r\n\r\n",
		"Transfer-Encoding: \r\n identity\r\n\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	} {
		for _, path := range []string{"POST /echo", "PUT /reader", "POST /refused", "GET /taken"} {
			if path != "POST /echo" && !strings.Contains(framing, "dentity") { // of these not the head lies
				continue
			}
			got := talk(t, addr, path+" HTTP/1.1\r\nHost: x\r\n"+framing+next)
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1 ") != 1 {
				t.Errorf("%s %.60q: %.200q", path, framing, got)
			}
		}
	}
	for _, both := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "Content-Length: -5\r\n\r\nhello", "Content-Length: 5, 5\r\n\r\nhello",
	} {
		got := talk(t, addr, "POST /echo HTTP/1.1\r\nHost: x\r\n"+both+next)
		if strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%.60q: %.200q", both, got)
		}
	}
}

// A body that ends before its time is broken, however it is read.
func TestShortBodies(t *testing.T) {
	addr := echo(t, anything())
	for _, framing := range []string{
		"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\na\r\nhello",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n",
	} {
		for path, want := range map[string]string{"/echo": "HTTP/1.1 400 ", "/reader": ErrBodyBroken.Error()} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%s", path, framing)
			_ = conn.(*net.TCPConn).CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || !strings.Contains(string(got), want) {
				t.Errorf("%s %q: %q, %v", path, framing, got, err)
			}
			_ = conn.Close()
		}
	}
}

// Bodies on their way share what they may take: a holder of many slow ones makes room
// for others, and others get through.
func TestBodiesShare(t *testing.T) {
	const room, all = 10, 30
	addr := echo(t, NewShares[string](room*bodyCost))
	answers := make(chan int, all) // to the slow ones: which of them came first is not known
	var answered sync.WaitGroup
	defer answered.Wait()
	for range all {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "POST /greedy HTTP/1.1\r\nHost: x\r\nContent-Length: 262144\r\n\r\nx")
		answered.Go(func() {
			status := 0 // the end of the test
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				status = res.StatusCode
			}
			answers <- status
		})
	}
	for i := range all - room {
		if status := <-answers; status != 503 {
			t.Fatalf("answer %d to slow bodies, of which %d may stay: %d", i+1, room, status)
		}
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /modest HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nhel")
	if status := <-answers; status != 503 {
		t.Errorf("a slow body that has to go for the other holder: %d", status)
	}
	fmt.Fprint(conn, "lo!")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("the other holder: %v, %v", res, err)
	}
}

// A body that has come nevertheless, before it was told to make room, is taken, and the
// connection goes on.
func TestDisplacedTooLate(t *testing.T) {
	all := NewShares[string](bodyCost + 1)
	addr := echo(t, all)
	busy := make(chan struct{})
	all.Take("/late", 1, func() { <-busy })
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nhel")
	for taken := int64(0); taken <= bodyCost; taken, _ = all.Used() {
		time.Sleep(time.Millisecond)
	}
	told := make(chan struct{})
	go func() {
		all.Take("other", bodyCost, func() {}) // both have to go, the body second
		close(told)
	}()
	for displaced := int64(0); displaced < 2; _, displaced = all.Used() {
		time.Sleep(time.Millisecond)
	}
	fmt.Fprint(conn, "lo!")
	r := bufio.NewReader(conn)
	first, err := http.ReadResponse(r, nil)
	if err != nil || first.StatusCode != 200 {
		t.Fatalf("the body: %v, %v", first, err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	close(busy)
	<-told
	fmt.Fprint(conn, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
	if next, err := http.ReadResponse(r, nil); err != nil || next.StatusCode != 200 {
		t.Errorf("the next request: %v, %v", next, err)
	}
}

// A buffer grows with what arrives, not with what is announced.
func TestBodyMemory(t *testing.T) {
	for _, tt := range []struct{ left, sent, most int }{{1 << 20, 1, 1024}, {1 << 20, 5000, 16 << 10}, {-1, 5000, 16 << 10}, {700, 700, 700}} {
		took := 0
		r := io.MultiReader(strings.NewReader(strings.Repeat("x", tt.sent)), failedReader{io.ErrUnexpectedEOF})
		all, err := readAll(r, tt.left, 1<<20, func(n int) { took += n })
		if whole := tt.left == tt.sent; whole != (err == nil) || whole && len(all) != tt.sent || took > tt.most {
			t.Errorf("%+v: %d bytes, %v, %d taken", tt, len(all), err, took)
		}
	}
}

// What is unread of a body whose handler did not want it is passed over if it is here,
// and its connection goes on.
func TestUnwantedBody(t *testing.T) {
	addr := echo(t, anything())
	got := talk(t, addr, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"+
		"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nworld")
	if strings.Count(got, "HTTP/1.1 ") != 2 || !strings.HasSuffix(got, "world") {
		t.Errorf("%q", got)
	}
}

// A connection that leaves the server with a part of a body before it is not used
// again: nothing of the body is a request.
func TestTakenWithABody(t *testing.T) {
	addr := echo(t, anything())
	large := strings.Repeat("GET /evil HTTP/1.1\r\nHost: x\r\n\r\n", 3000)
	for framing, keeps := range map[string]bool{
		"\r\n": true, "Content-Length: 5\r\n\r\nhello": true, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": true,
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large):                            false,
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large): false,
		"Transfer-Encoding: chunked\r\n\r\nzz\r\n":                                                false,
		"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello":                                  false,
	} {
		got := talk(t, addr, "GET /taken HTTP/1.1\r\nHost: x\r\n"+framing)
		if !strings.HasSuffix(got, "taken") || strings.Contains(got, "Connection: keep-alive\r\n") != keeps {
			t.Errorf("%.60q: %q", framing, got)
		}
	}
}

// A head ends with CRLF CRLF. One with another end is refused at once, and what follows
// it is neither a part of it nor a request.
func TestOtherEndsOfAHead(t *testing.T) {
	addr := echo(t, anything())
	const next = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, end := range []string{"\n\n", "\r\n\n", "\n\r\n"} {
		for _, body := range []string{"", next} {
			got := talk(t, addr, fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d%s%s%s", len(body), end, body, next))
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1 ") != 1 {
				t.Errorf("%q: %q", end+body, got)
			}
		}
	}
}

// A head may have MaxHead bytes. Of a longer one no more is kept.
func TestLongHeads(t *testing.T) {
	addr := echo(t, anything())
	const begin, end = "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: ", "\r\n\r\n"
	for more, want := range []string{"HTTP/1.1 200 ", "HTTP/1.1 400 "} {
		got := talk(t, addr, begin+strings.Repeat("a", MaxHead-len(begin+end)+more)+end)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%d bytes too many: %.100q", more, got)
		}
	}
	server, client := pair(t)
	defer client.Close()
	go func() { _, _ = io.WriteString(client, strings.Repeat("a", 4*MaxHead)) }()
	in := newIncoming(server)
	defer in.Close()
	in.look()
	if in.head != 0 || in.failed != nil || len(in.store) > MaxHead {
		t.Errorf("%d bytes are kept, %v", len(in.store), in.failed)
	}
}
