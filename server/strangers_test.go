package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// house is the program on TCP, with keys of several kinds.
type house struct {
	transporttest.Server
	t                   *testing.T
	key, watcher, wrong string
}

func openHouse(t *testing.T) *house {
	t.Helper()
	h := &house{Server: servertest.Start(t, transporttest.Options{}), t: t, wrong: "jc_wrong_" + strings.Repeat("x", 43)}
	_, h.key = h.Key("acme", auth.KeyOptions{}, auth.Submit, auth.Watch, auth.Work, auth.Admin)
	_, h.watcher = h.Key("acme", auth.KeyOptions{}, auth.Watch)
	return h
}

// dial connects; the connection is closed when the test ends.
func (h *house) dial() net.Conn {
	h.t.Helper()
	conn, err := h.Dial(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// refusals are requests with a body that their heads refuse. Nothing of the body has to
// come for that.
func (h *house) refusals() map[string]int {
	job := "/v1/jobs/00000000-0000-7000-8000-000000000000"
	bearer := func(key string) string { return "Authorization: Bearer " + key + "\r\n" }
	const json, length = "Content-Type: application/json\r\n", "Content-Length: 262144\r\n"
	all := map[string]int{
		"POST /nowhere HTTP/1.1\r\n" + bearer(h.key) + json + length:                                                     404,
		"PUT /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + json + length:                                                      405,
		"POST /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + "Content-Type: text/plain\r\n" + length:                           415,
		"POST /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + json + "Content-Encoding: gzip\r\n" + length:                      415,
		"POST /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + json + "Content-Length: 262145\r\n":                               413,
		"POST /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + json + "Accept: text/html\r\n" + length:                           406,
		"POST /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + json + "Idempotency-Key: a b\r\n" + length:                        422,
		"POST /v1/jobs HTTP/1.1\r\n" + bearer(h.key) + json + "X-API-Key: jc_other\r\n" + length:                         400,
		"POST /v1/jobs/batch HTTP/1.1\r\n" + bearer(h.key) + "Content-Type: text/plain\r\n" + length:                     415,
		"POST /v1/jobs/batch HTTP/1.1\r\n" + bearer(h.key) + json + "Content-Length: 8388609\r\n":                        413,
		"POST /v1/jobs/batch HTTP/1.1\r\n" + bearer(h.key) + json + "Accept: text/event-stream\r\n" + length:             406,
		"POST " + job + "/progress HTTP/1.1\r\n" + bearer(h.key) + json + length:                                         422,
		"PUT " + job + "/artifacts/a HTTP/1.1\r\n" + bearer(h.key) + length:                                              422,
		"PUT " + job + "/artifacts/a HTTP/1.1\r\n" + bearer(h.key) + "X-Lease-Token: x\r\nContent-Length: 104857601\r\n": 413,
		"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n" + length:                                                 400,
		"POST /socket.io/?EIO=4&transport=polling&sid=none HTTP/1.1\r\n" + length:                                        400,
		"DELETE /v1/keys/none HTTP/1.1\r\n" + length:                                                                     401,
	}
	for _, path := range []string{
		"POST /v1/jobs", "POST /v1/jobs/batch", "POST " + job + "/cancel", "POST " + job + "/retry", "POST " + job + "/progress", "POST " + job + "/extend",
		"POST " + job + "/complete", "POST " + job + "/fail", "PUT " + job + "/artifacts/a", "POST /v1/workers/claim", "POST /v1/workers/complete", "POST /v1/keys", "POST /v1/tokens",
	} {
		all[path+" HTTP/1.1\r\n"+json+length] = 401
		all[path+" HTTP/1.1\r\n"+bearer(h.wrong)+json+length] = 401
		if path != "POST /v1/tokens" {
			all[path+" HTTP/1.1\r\n"+bearer(h.watcher)+json+length] = 403
		}
	}
	return all
}

// TestRefusedByTheHead: whoever is not let in is told at once, on every route with a
// body: before the body is sent, without "100 Continue", and also while it is being sent,
// all of it before the answer is read.
func TestRefusedByTheHead(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for head, want := range h.refusals() {
		for _, more := range []string{"", "Expect: 100-continue\r\n"} {
			for _, sent := range []int{0, 1, 4 << 20} {
				conn := h.dial()
				_, err := io.WriteString(conn, head+"Host: x\r\n"+more+"\r\n"+strings.Repeat("{", sent))
				if err != nil {
					t.Fatalf("%q: %v", head, err)
				}
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("%q with %d bytes: %v", head, sent, err)
				}
				body, err := io.ReadAll(answer.Body)
				if err != nil || answer.StatusCode != want {
					if want != 401 || answer.StatusCode != 429 { // the login limit
						t.Errorf("%q%s with %d bytes: %d %s, %v; want %d", head, more, sent, answer.StatusCode, body, err, want)
					}
				}
				_ = conn.Close()
			}
		}
	}
}

// TestExpectedBody: a body that is wanted is invited.
func TestExpectedBody(t *testing.T) {
	h := openHouse(t)
	const body = `{"queue":"q","payload":1}`
	conn := h.dial()
	fmt.Fprintf(conn, "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", h.key, len(body))
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprint(conn, body)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != http.StatusAccepted {
		t.Errorf("%v, %v", res, err)
	}
}

// TestHandshakeFlood: strangers who open more Socket.IO sessions than may wait shut
// nobody out, and a session that somebody else has just opened stays.
func TestHandshakeFlood(t *testing.T) {
	h := openHouse(t)
	srv := h.Server.(*servertest.Server).Parts()
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx) }}}
	defer hc.CloseIdleConnections()
	open := func() string {
		res, err := hc.Get("http://jobcast.test/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		_, rest, _ := strings.Cut(string(body), `"sid":"`)
		sid, _, ok := strings.Cut(rest, `"`)
		if res.StatusCode != 200 || !ok {
			t.Fatalf("a handshake: %d %s", res.StatusCode, body)
		}
		return sid
	}
	const most = 10_000
	first := open()
	for range most {
		open()
	}
	last := open()
	post := func(sid string) int {
		res, err := hc.Post("http://jobcast.test/socket.io/?EIO=4&transport=polling&sid="+sid, "text/plain",
			strings.NewReader(`40/jobs,{"token":"`+h.key+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if got := post(last); got != 200 {
		t.Errorf("the newest is answered %d", got)
	}
	for deadline := time.Now().Add(20 * time.Second); srv.Engine.Len() > most+1 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := srv.Engine.Len(); n > most+1 {
		t.Errorf("%d sessions are open", n)
	}
	if got := post(first); got != 400 {
		t.Errorf("the oldest is answered %d", got)
	}
}
