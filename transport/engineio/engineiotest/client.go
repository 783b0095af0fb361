package engineiotest

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// patience is how long anything may take. It only matters to a test that fails.
const patience = time.Minute

// T is what the client needs of a test.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// Client speaks to one path of one server.
type Client struct {
	T    T
	dial Dial
	path string
	http *http.Client
}

// NewClient returns a client. keep lets it use connections again, as browsers do;
// otherwise each request has its own.
func NewClient(t T, dial Dial, path string, keep bool) *Client {
	tr := &http.Transport{DisableKeepAlives: !keep, DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &Client{T: t, dial: dial, path: path, http: &http.Client{Transport: tr}}
}

// Reply is the answer to one request.
type Reply struct {
	Status int
	Body   string
	Header http.Header
	Err    error // of the connection
}

// Is checks status and body.
func (r Reply) Is(t T, status int, body string) {
	t.Helper()
	if r.Err != nil || r.Status != status || r.Body != body {
		t.Fatalf("answered %d %.200q (%v), want %d %.200q", r.Status, r.Body, r.Err, status, body)
	}
}

// Pending is a request that waits for its answer.
type Pending struct {
	t      T
	cancel context.CancelFunc
	done   chan Reply
	reply  *Reply
}

// Begin sends a request.
func (c *Client) Begin(req *http.Request) *Pending {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &Pending{t: c.T, cancel: cancel, done: make(chan Reply, 1)}
	c.T.Cleanup(p.Abort)
	go func() { p.done <- c.do(req.WithContext(ctx)) }()
	return p
}

func (c *Client) do(req *http.Request) Reply {
	resp, err := c.http.Do(req)
	if err != nil {
		return Reply{Err: err}
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return Reply{resp.StatusCode, string(body), resp.Header, err}
}

// Reply waits for the answer.
func (p *Pending) Reply() Reply {
	if p.reply == nil {
		r := <-p.done
		p.reply = &r
		p.cancel()
	}
	return *p.reply
}

// Answered reports whether the answer is there.
func (p *Pending) Answered() bool {
	if p.reply == nil && len(p.done) > 0 {
		p.Reply()
	}
	return p.reply != nil
}

// Abort closes the connection if the answer is not there yet, and waits for the
// end of the request.
func (p *Pending) Abort() {
	p.cancel()
	p.Reply()
}

// Request makes a request on the client's path.
func (c *Client) Request(method, query string, body io.Reader) *http.Request {
	c.T.Helper()
	req, err := http.NewRequest(method, "http://engine.test"+c.path+"?"+query, body)
	if err != nil {
		c.T.Fatalf("request: %v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	return req
}

// Do sends a request and waits for the answer.
func (c *Client) Do(method, query, body string) Reply {
	c.T.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	return c.Begin(c.Request(method, query, r)).Reply()
}

// Handshake is the data of an open packet.
type Handshake struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// Poller is a session on long-polling.
type Poller struct {
	*Client
	SID string
}

// Open opens a session on long-polling; extra is added to the query.
func (c *Client) Open(extra string) *Poller {
	c.T.Helper()
	r := c.Do(http.MethodGet, "EIO=4&transport=polling"+extra, "")
	var h Handshake
	if r.Status != http.StatusOK || !strings.HasPrefix(r.Body, "0") || json.Unmarshal([]byte(r.Body[1:]), &h) != nil {
		c.T.Fatalf("handshake answered %d %q %v", r.Status, r.Body, r.Err)
	}
	return &Poller{c, h.SID}
}

// Query is that of the session's requests.
func (p *Poller) Query() string { return "EIO=4&transport=polling&sid=" + p.SID }

// Poll sends a GET.
func (p *Poller) Poll() *Pending {
	p.T.Helper()
	return p.Begin(p.Request(http.MethodGet, p.Query(), nil))
}

// Get polls and waits for the answer.
func (p *Poller) Get() Reply {
	p.T.Helper()
	return p.Poll().Reply()
}

// Post sends packets and waits for the answer.
func (p *Poller) Post(packets ...string) Reply {
	p.T.Helper()
	return p.Do(http.MethodPost, p.Query(), strings.Join(packets, "\x1e"))
}

// Sent posts packets, which must be taken.
func (p *Poller) Sent(packets ...string) {
	p.T.Helper()
	p.Post(packets...).Is(p.T, http.StatusOK, "ok")
}

// Gets polls, and the answer must hold exactly these packets.
func (p *Poller) Gets(packets ...string) {
	p.T.Helper()
	p.Get().Is(p.T, http.StatusOK, strings.Join(packets, "\x1e"))
}

// Collect polls until n packets have come, and returns them.
func (p *Poller) Collect(n int) []string {
	p.T.Helper()
	var got []string
	for len(got) < n {
		r := p.Get()
		if r.Status != http.StatusOK {
			p.T.Fatalf("after %q: %d %q %v", got, r.Status, r.Body, r.Err)
		}
		got = append(got, strings.Split(r.Body, "\x1e")...)
	}
	return got
}

// Unknown checks that the session is no more.
func (p *Poller) Unknown() {
	p.T.Helper()
	p.Get().Is(p.T, http.StatusBadRequest, `{"code":1,"message":"Session ID unknown"}`)
}

// Probe opens a WebSocket for the session.
func (p *Poller) Probe() *WebSocket {
	p.T.Helper()
	return p.WebSocket("EIO=4&transport=websocket&sid=" + p.SID)
}
