package program

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var caller = &http.Client{Timeout: 10 * time.Second}

// answerTimeout is how long the head of a stream may take.
const answerTimeout = 10 * time.Second

// Addr is the host and port of the server.
func (s *Server) Addr() string { return strings.TrimPrefix(s.URL, "http://") }

// Log is what the server has printed so far.
func (s *Server) Log() string { return s.log.String() }

// MakeKey makes a key with `jobcast keys create` and these flags.
func (s *Server) MakeKey(t testing.TB, flags ...string) string {
	t.Helper()
	args := append([]string{"keys", "create", "--data", s.Data}, flags...)
	out, err := exec.CommandContext(t.Context(), s.binary, args...).Output()
	if err != nil {
		t.Fatalf("make key: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Work is a job that a worker has claimed.
type Work struct {
	ID     string
	Cursor string // up to its claim
	Lease  struct{ Token string }

	s   *Server
	key string
}

// Claim makes a job and claims it for ten minutes.
func (s *Server) Claim(t testing.TB, key string) *Work {
	t.Helper()
	s.post(t, key, "", "/v1/jobs", `{"queue":"q","payload":null}`, nil)
	var claimed struct{ Jobs []*Work }
	s.post(t, key, "", "/v1/workers/claim", `{"queues":["q"],"leaseMs":600000}`, &claimed)
	if len(claimed.Jobs) != 1 {
		t.Fatalf("claimed %d jobs", len(claimed.Jobs))
	}
	w := claimed.Jobs[0]
	w.s, w.key = s, key
	return w
}

// Progress reports progress: one object, or an array of them. Any goroutine may
// call it.
func (w *Work) Progress(t testing.TB, body string) {
	t.Helper()
	w.s.post(t, w.key, w.Lease.Token, "/v1/jobs/"+w.ID+"/progress", body, nil)
}

// post fails the test, but does not end it, if the answer is no success.
func (s *Server) post(t testing.TB, key, lease, path, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	if lease != "" {
		req.Header.Set("X-Lease-Token", lease)
	}
	data, err := answer(req, key)
	if err == nil && into != nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// answer returns the body of a success.
func answer(req *http.Request, key string) ([]byte, error) {
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := caller.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, data)
	}
	return data, err
}

var gauge = regexp.MustCompile(`(?m)^jobcast_connections\{transport="(\w+)"\} (\d+)$`)

// Connections is what the metrics say of live connections, by transport. admin is
// a key that may read them.
func (s *Server) Connections(t testing.TB, admin string) map[string]int {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, s.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := answer(req, admin)
	if err != nil {
		t.Fatalf("metrics: %v", err)
	}
	n := map[string]int{}
	for _, m := range gauge.FindAllStringSubmatch(string(text), -1) {
		if n[m[1]], err = strconv.Atoi(m[2]); err != nil {
			t.Fatalf("metrics: %v", err)
		}
	}
	if len(n) == 0 {
		t.Fatal("the metrics have no connections")
	}
	return n
}

// StatusError is an answer that is no stream.
type StatusError int

func (e StatusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// Answered sends a request without a body and reads the head of its answer.
func Answered(nc net.Conn, request string, want int) (*bufio.Reader, error) {
	if _, err := io.WriteString(nc, request); err != nil {
		return nil, err
	}
	in := bufio.NewReader(nc)
	return in, Head(nc, in, want)
}

// Head reads the head of an answer.
func Head(nc net.Conn, in *bufio.Reader, want int) error {
	_ = nc.SetReadDeadline(time.Now().Add(answerTimeout))
	defer func() { _ = nc.SetReadDeadline(time.Time{}) }()
	resp, err := http.ReadResponse(in, nil)
	if err == nil && resp.StatusCode != want {
		err = StatusError(resp.StatusCode)
	}
	return err
}

// WebSocket makes the handshake on nc and subscribes to the whole client, from
// now on.
func WebSocket(nc net.Conn, key string) (*bufio.Reader, error) {
	in, err := Answered(nc, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer "+key+"\r\n\r\n", http.StatusSwitchingProtocols)
	if err != nil {
		return nil, err
	}
	text := `{"event":"subscribe","data":{"from":"now"}}`
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // a mask of zeros changes nothing
	_, err = nc.Write(frame)
	return in, err
}
