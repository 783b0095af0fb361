package transporttest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

const (
	mediaSSE    = "text/event-stream"
	mediaNDJSON = "application/x-ndjson"
	mediaJSON   = "application/json"

	// origin stands for the server in URLs; the dial function knows where it is.
	origin = "http://jobcast.test"
)

// Client makes an HTTP client of its own for one reader, so that closing it
// closes every connection of that reader and of no other.
func (c Caller) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) },
		DisableCompression: true,
	}}
}

// credentials are the headers by which the caller says who it is.
func (c Caller) credentials() map[string]string {
	all := make(map[string]string)
	if c.Secret != "" {
		all["Authorization"] = "Bearer " + c.Secret
	}
	if c.Second != "" {
		all["X-API-Key"] = c.Second
	}
	return all
}

// Request makes a request with the caller's credentials.
func (c Caller) Request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, origin+path, body)
	if err != nil {
		return nil, err
	}
	for name, value := range c.credentials() {
		req.Header.Set(name, value)
	}
	return req, nil
}

// Path returns the events URL that o asks for.
func (o Opening) Path() string {
	path := "/v1/events"
	if o.Job != "" {
		path = "/v1/jobs/" + o.Job + "/events"
	}
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("lastEventId", o.Query)
	set("from", o.From)
	set("tail", o.Tail)
	if o.Conflate {
		set("conflate", "1")
	}
	if o.PingEvents {
		set("heartbeat", "event")
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// fill sets the headers of a request for an events URL.
func (o Opening) fill(h http.Header, accept string) {
	h.Set("Accept", accept)
	if o.Lines {
		h["Accept"] = []string{"text/html", accept}
	}
	if o.Cursor != "" {
		h["Last-Event-Id"] = strings.Split(o.Cursor, "\n")
	}
}

// get asks an events URL. Any status but 200 is a *Refusal, and the client is
// then closed.
func get(ctx context.Context, hc *http.Client, c Caller, o Opening, accept string) (*http.Response, error) {
	req, err := c.Request(ctx, http.MethodGet, o.Path(), nil)
	if err != nil {
		return nil, err
	}
	o.fill(req.Header, accept)
	resp, err := hc.Do(req)
	if err != nil {
		return nil, err
	}
	return resp, refused(resp)
}

// refused returns the *Refusal that an answer is, or nil, and reads its body.
func refused(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return &Refusal{Status: resp.StatusCode, Header: resp.Header, Body: body}
}
