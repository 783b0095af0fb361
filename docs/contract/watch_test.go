package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	aJob = `"id":"01a21025-2d97-7765-9b1c-13c95d9280bd"`
	head = "X-Request-Id: AAAAAAAAAAAAAAAAAAAAAAAAAA\n"
	anID = "01a21025-2d97-7765-9b1c-13c95d9280bd"
)

// TestFaults: what is against the documents is told, with the operation, the place and the
// reason; what is not is passed over.
func TestFaults(t *testing.T) {
	event := func(kind, status, data string) string {
		return `{"id":"k-1","type":"` + kind + `","jobId":"` + anID + `","status":"` + status + `","timestamp":"2026-01-01T00:00:05.000Z","data":` + data + `}`
	}
	progress := event("job.progress", "processing", `{"progress":50}`)
	for _, c := range []struct{ name, request, answer, want string }{
		{"good", "GET /livez", "200 application/json " + head + `{"status":"live"}`, ""},
		{"member of another type", "GET /livez", "200 application/json " + head + `{"status":1}`, "/status: got number"},
		{"member too many", "GET /livez", "200 application/json " + head + `{"status":"live","more":1}`, "additional properties 'more'"},
		{"member missing", "GET /v1/jobs", "200 application/json " + head + `{"jobs":[{` + aJob + `}],"next":null}`, "GET /v1/jobs, answered 200: the answer /jobs/0: missing properties"},
		{"header missing", "GET /livez", `200 application/json {"status":"live"}`, "header X-Request-Id is missing"},
		{"type", "GET /livez", "200 text/html " + head + "live", "has the type text/html"},
		{"status", "GET /livez", "201 application/json " + head + `{"status":"live"}`, "the status is not described"},
		{"operation", "GET /v1/nothing", "200 application/json " + head + "{}", "there is no such operation"},
		{"no such path, refused", "GET /v1/nothing", "404 application/problem+json " + head + `{"type":"/problems/not_found","title":"t","status":404,"code":"not_found"}`, ""},
		{"page", "GET /static/x", "200 text/html <p>", ""},
		{"code of another status", "GET /v1/me", "401 application/problem+json " + head + `{"type":"/problems/invalid","title":"t","status":401,"code":"invalid"}`, "/code: value must be one of"},
		{"parameter", "GET /v1/jobs?limit=1000", "200 application/json " + head + `{"jobs":[],"next":null}`, "query limit /: maximum: got 1,000, want 200"},
		{"parameter of a request that is refused", "GET /v1/jobs?limit=1000", "422 application/problem+json " + head + `{"type":"/problems/invalid","title":"t","status":422,"code":"invalid"}`, ""},
		{"body", "POST /v1/tokens {\"ttl\":1}", "201 application/json " + head + `{"token":"jct_1","expiresAt":"2026-01-01T00:00:05.000Z","jobId":null}`, "the request's body /ttl: minimum"},
		{"stream", "GET /v1/events", "200 text/event-stream " + head + "id: k-1\ndata: " + progress + "\n\nevent: live\ndata: {\"room\":\"client:a\",\"cursor\":\"k-1\"}\n\n", ""},
		{"id of an event", "GET /v1/events", "200 text/event-stream " + head + "id: k-2\ndata: " + progress + "\n\n", "an event with the id k-2"},
		{"frame", "GET /v1/events", "200 text/event-stream " + head + "event: live\ndata: {\"room\":\"client:a\"}\n\n", "eventStream, message live: /: missing property 'cursor'"},
		{"frame of another channel", "GET /v1/events", "200 text/event-stream " + head + "event: end\ndata: {}\n\n", `eventStream has no message "end"`},
		{"line", "GET /v1/jobs/" + anID + "/events", "200 application/x-ndjson " + head + `{"event":"job.event","data":` + event("job.progress", "pending", `{"progress":50}`) + "}\n", "/data/status: value must be 'processing'"},
		{"event of a page", "GET /v1/events", "200 application/json " + head + `{"events":[` + event("job.log", "processing", `{"level":"loud","line":"x"}`) + `],"lastEventId":"k-1","done":false}`, "/events/0/data/level: value must be one of"},
		{"packet", "GET /socket.io/?EIO=4&transport=polling&sid=x", "200 text/plain " + head + "2\x1e42/jobs,[\"live\",{\"room\":1,\"cursor\":\"k-1\"}]", "socketIO, message live: /room: got number"},
		{"offset", "GET /socket.io/?EIO=4&transport=polling&sid=x", "200 text/plain " + head + "42/jobs,[\"k3f9-16.73.1\"]\x1e43/jobs,1[{\"room\":\"client:a\",\"cursor\":\"k-1\"}]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, faults(t, c.request, c.answer), c.want)
		})
	}
}

// TestSocketFaults: messages on a WebSocket are held to the documents, those of a client
// unless they are refused.
func TestSocketFaults(t *testing.T) {
	const live = `{"event":"live","data":{"room":"client:a","cursor":"k-1"}}`
	subscribe := `{"event":"subscribe","data":{"job":"x"}}`
	for name, c := range map[string]struct{ said, heard, want string }{
		"good":          {`{"event":"pong"}`, live, ""},
		"of the server": {"", `{"event":"alive","data":{}}`, `webSocket has no message "alive"`},
		"of the client": {subscribe, live, "additional properties 'job'"},
		"refused":       {subscribe, `{"event":"error","data":{"message":"m","type":"/problems/invalid","title":"t","status":422,"code":"invalid","ref":{"event":"subscribe"}}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t)
			l := look{w: w, d: w.docs}
			l.connection([]byte("GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n"+framed(c.said)),
				[]byte("HTTP/1.1 101 Switching Protocols\r\nX-Request-Id: AAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\r\n"+framed(c.heard)))
			check(t, w.end(), c.want)
		})
	}
}

func framed(text string) string {
	if text == "" {
		return ""
	}
	return string([]byte{finBit | opText, 126, byte(len(text) >> 8), byte(len(text))}) + text
}

func check(t *testing.T, got []string, want string) {
	t.Helper()
	if all := strings.Join(got, "\n"); want == "" && all != "" || !strings.Contains(all, want) {
		t.Errorf("faults: %s\nwant: %s", all, want)
	}
}

func newWatch(t *testing.T) *Watch {
	t.Helper()
	d, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return &Watch{docs: d, open: map[*conn]bool{}}
}

// faults has a server answer a request, `METHOD path body`, with `status type headers body`,
// and returns what is told of it.
func faults(t *testing.T, request, answer string) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var status int
		var kind string
		_, _ = fmt.Sscan(answer, &status, &kind)
		_, text, _ := strings.Cut(answer, kind+" ")
		if rest, ok := strings.CutPrefix(text, head); ok {
			text = rest
			w.Header().Set("X-Request-Id", "AAAAAAAAAAAAAAAAAAAAAAAAAA")
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	w := newWatch(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Proxy(t, server.URL), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	method, target, _ := strings.Cut(request, " ")
	target, body, _ := strings.Cut(target, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return w.end()
}
