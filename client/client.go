package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
)

// Transport is how events are read.
type Transport string

// The transports. Auto begins with WebSocket and falls back to SSE, then to
// long-poll, where something between client and server lets the first not
// through: a proxy that refuses upgrades, or one that holds a stream back.
const (
	Auto      Transport = "auto"
	WebSocket Transport = "websocket"
	SSE       Transport = "sse"
	NDJSON    Transport = "ndjson"
	Poll      Transport = "poll"
)

// Valid reports whether t is one of the named transports.
func (t Transport) Valid() bool {
	switch t {
	case Auto, WebSocket, SSE, NDJSON, Poll:
		return true
	}
	return false
}

// DefaultURL is where a server on this machine listens.
const DefaultURL = "http://localhost:3000"

// Forever is the GiveUp of whoever never gives up.
const Forever time.Duration = -1

// Options say which server a client speaks with, and how. Zero means the default
// of each field.
type Options struct {
	URL        string        // http or https, without a path or with that of a proxy or of --base-path; or unix:/run/jobcast.sock, with /path after a second colon; empty: DefaultURL
	Key        string        // a key or a token, less blanks, line ends and a byte order mark around it; sent as a header, never in a URL
	HTTPClient *http.Client  // its Timeout must be 0, else it cuts streams; nil: one of our own
	UserAgent  string        // empty: "jobcast-client"
	Transport  Transport     // how Watch reads; empty: Auto
	Timeout    time.Duration // of one try of an ordinary request; 0: 30 s
	GiveUp     time.Duration // how long an ordinary request is repeated while the server cannot be reached; 0: 1 min, negative: [Forever]
	FirstByte  time.Duration // Auto gives a transport so long to send something; 0: 5 s
}

const (
	defaultTimeout   = 30 * time.Second
	defaultGiveUp    = time.Minute
	defaultFirstByte = 5 * time.Second
)

// Client speaks with one server on behalf of one key. It is safe for use by
// several goroutines.
type Client struct {
	opt  Options
	base string // without a slash at its end
	http *http.Client
	own  *http.Transport // what http uses, if it is ours

	// works is the index in autoOrder of the transport that last got through,
	// so that every watch after the first begins with it.
	works atomic.Int32
}

// New returns a client. It makes no connection. The error says which option
// cannot be used.
func New(o Options) (*Client, error) {
	if o.URL == "" {
		o.URL = DefaultURL
	}
	socket := ""
	if rest, ok := strings.CutPrefix(o.URL, "unix:"); ok {
		path, base, _ := strings.Cut(rest, ":")
		if !strings.HasPrefix(path, "/") || (base != "" && base[0] != '/') || o.HTTPClient != nil {
			return nil, errors.New("URL: want unix:/path/of/the/socket or unix:/path/of/the/socket:/base/path, and no HTTPClient")
		}
		socket, o.URL = path, "http://localhost"+base
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("URL: cannot be parsed") // err would repeat a password in it
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errors.New("URL: want http://host:port or https://host, without credentials or query")
	}
	o.Key = strings.TrimFunc(o.Key, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
	if strings.TrimFunc(o.Key, func(r rune) bool { return r > ' ' && r < 0x7f }) != "" {
		return nil, errors.New("key: has characters that no key has")
	}
	if o.Transport == "" {
		o.Transport = Auto
	}
	if !o.Transport.Valid() {
		return nil, fmt.Errorf("transport %q: want auto, websocket, sse, ndjson or poll", o.Transport)
	}
	if o.UserAgent == "" {
		o.UserAgent = "jobcast-client"
	}
	if o.Timeout < 0 || o.FirstByte < 0 {
		return nil, errors.New("a negative Timeout or FirstByte")
	}
	o.Timeout = orDefault(o.Timeout, defaultTimeout)
	o.GiveUp = orDefault(o.GiveUp, defaultGiveUp)
	o.FirstByte = orDefault(o.FirstByte, defaultFirstByte)
	c := &Client{opt: o, base: strings.TrimRight(u.String(), "/"), http: o.HTTPClient}
	if c.http == nil {
		c.own = http.DefaultTransport.(*http.Transport).Clone()
		if socket != "" {
			c.own.Proxy = nil
			c.own.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			}
		}
		c.http = &http.Client{Transport: c.own, CheckRedirect: sameHost}
	}
	return c, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// maxRedirects is more than a proxy needs and less than a loop.
const maxRedirects = 5

// sameHost follows redirects of the same host only: any other would be shown
// the Idempotency-Key and the body.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects || req.URL.Host != via[0].URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// Close lets go of idle connections. Calls and watches that run go on.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// request makes a request with the headers that all have.
func (c *Client) request(ctx context.Context, method, path string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header = c.headers()
	return req, nil
}

func (c *Client) headers() http.Header {
	h := http.Header{"User-Agent": {c.opt.UserAgent}}
	if c.opt.Key != "" {
		h.Set("Authorization", "Bearer "+c.opt.Key)
	}
	return h
}
