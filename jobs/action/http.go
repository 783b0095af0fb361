package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/redact"
)

// Limits of one http action.
const (
	httpTimeout       = 30 * time.Second // from the first look-up to the last byte
	maxRedirects      = 5
	maxBody           = 10 << 20 // bytes read, after decompression
	maxExcerpt        = 4 << 10  // bytes of text kept
	maxResponseHeader = 64 << 10 // bytes of response header read
)

// What ends a chain of redirects.
var (
	errManyRedirects = fmt.Errorf("more than %d redirects", maxRedirects)
	errNowhere       = errors.New("a redirect to an invalid URL") // such as a stray % or a zone
)

// HTTP is the action {type: "http", method, url, headers{}, body, expectStatus,
// saveAs}: one request, whose result is {type, status, headers, body,
// bodyTruncated, artifact}.
type HTTP struct {
	guard     *Guard
	transport *http.Transport
	limit     time.Duration // of one action
}

// NewHTTP returns the action http.
func NewHTTP(o Options) *HTTP { return newHTTP(NewGuard(o)) }

func newHTTP(g *Guard) *HTTP {
	return &HTTP{limit: httpTimeout, guard: g, transport: &http.Transport{
		DialContext: g.Dial,
		// No proxy: it would dial in our place, wherever it likes.
		Proxy: nil,
		// Each request dials: none travels on a connection that another
		// client's job has opened.
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
	}}
}

// Type implements Action.
func (*HTTP) Type() string { return "http" }

// Validate implements Action.
func (*HTTP) Validate(raw json.RawMessage) []jobs.FieldError {
	_, f := parseHTTP(raw)
	return f
}

// Run implements Action.
func (h *HTTP) Run(ctx context.Context, raw json.RawMessage, env jobs.Env) (any, error) {
	call, f := parseHTTP(raw)
	if len(f) > 0 {
		return nil, f.invalid()
	}
	limited, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	result, err := h.do(limited, call, env)
	var unsaved *saveError
	switch {
	case err == nil:
	case errors.As(err, &unsaved):
		return nil, unsaved.err
	case ctx.Err() != nil: // the job ended, not the request
		return nil, context.Cause(ctx)
	default:
		e := explain(limited, call, err)
		e.Message = env.Redactor.Text(e.Message) // a redirect may have led to a host that is named so
		return nil, e
	}
	if !call.expects(result.Status) {
		return nil, &jobs.ActionError{
			Class:     ClassStatus,
			Message:   fmt.Sprintf("%s answered with status %d", call.url.Host, result.Status),
			Retryable: true, RetryAfter: result.retryAfter,
		}
	}
	return result, nil
}

func (h *HTTP) do(ctx context.Context, call httpCall, env jobs.Env) (httpResult, error) {
	req, err := http.NewRequestWithContext(ctx, call.method, call.url.String(), strings.NewReader(call.body))
	if err != nil {
		return httpResult{}, fmt.Errorf("make request: %w", err)
	}
	req.Header = call.header
	if req.Header["User-Agent"] == nil {
		req.Header.Set("User-Agent", "jobcast")
	}
	hops := &hops{next: h.transport, call: call, permits: func(host string) error { return h.guard.Permits(host, env.Hosts) }}
	client := http.Client{Transport: hops, CheckRedirect: call.checkRedirect}
	resp, err := client.Do(req)
	if err != nil {
		return httpResult{}, err
	}
	defer resp.Body.Close()
	if hops.unread != nil {
		resp.Header["Location"] = hops.unread
	}
	if resp.StatusCode < http.StatusOK {
		// What follows is another protocol, which net/http leaves to us: reading it
		// would not end with ctx. No action expects such a status.
		return httpResult{Status: resp.StatusCode, retryAfter: retryAfter(resp.Header)}, nil
	}
	if call.saveAs != "" && call.expects(resp.StatusCode) {
		return saveResult(ctx, resp, call.saveAs, env)
	}
	return readResult(resp, env.Redactor)
}

// hops makes the requests of one call, each to a host that the job may reach. It keeps net/http from reading a Location that it
// cannot read, and calls a fault of the network.
type hops struct {
	next    http.RoundTripper
	call    httpCall
	permits func(host string) error
	unread  []string // the Location of an answer that was hoped for
}

// RoundTrip implements http.RoundTripper.
func (h *hops) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := h.permits(req.URL.Hostname()); err != nil {
		return nil, err
	}
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return resp, nil
	}
	if _, err := url.Parse(resp.Header.Get("Location")); err == nil {
		return resp, nil
	}
	if !h.call.hopesFor(resp.StatusCode) {
		_ = resp.Body.Close() // nothing of it is read
		return nil, errNowhere
	}
	h.unread = resp.Header["Location"]
	delete(resp.Header, "Location")
	return resp, nil
}

// hopesFor reports whether a redirect of this status is the answer, and not to be
// followed.
func (c httpCall) hopesFor(status int) bool { return len(c.expect) > 0 && c.expects(status) }

// checkRedirect decides whether to follow a redirect to next, and what of the
// first request goes along. via is never empty.
func (c httpCall) checkRedirect(next *http.Request, via []*http.Request) error {
	if next.Response != nil && c.hopesFor(next.Response.StatusCode) {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return errManyRedirects
	}
	if s := next.URL.Scheme; (s != "http" && s != "https") || oddIPv4(next.URL.Hostname()) {
		return errBlocked
	}
	clean, err := browserRedirect(via[len(via)-1].URL, next.Response.Header.Get("Location"))
	if err != nil {
		return errNowhere
	}
	next.URL = clean
	next.URL.User = nil        // it would become an Authorization header
	next.Header.Del("Referer") // it repeats the query of the url, which may hold a secret
	first := via[0].URL
	foreign := false // once off the first origin, a secret is not given back
	for _, r := range append(via[1:len(via):len(via)], next) {
		foreign = foreign || r.URL.Scheme != first.Scheme || r.URL.Host != first.Host
	}
	if foreign {
		for _, name := range [...]string{"Authorization", "Cookie", "Cookie2", "Www-Authenticate", "X-Api-Key"} {
			next.Header.Del(name)
		}
	}
	return nil
}

// explain turns an error of net/http into one that a client may read: without
// the query of the url and without our resolver's address.
func explain(ctx context.Context, call httpCall, err error) *jobs.ActionError {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the url, which may hold a secret
	}
	e := &jobs.ActionError{Class: ClassNetwork, Retryable: true, Err: err}
	host := call.url.Host
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case Blocked(host, err) != nil:
		return Blocked(host, err)
	case errors.Is(err, errNowhere):
		e.Class, e.Retryable = ClassBlocked, false
		e.Message = fmt.Sprintf("%s redirects to an invalid URL", host)
	case errors.Is(err, errManyRedirects):
		e.Class, e.Retryable = ClassTooManyRedirects, false
		e.Message = fmt.Sprintf("%s: %v", host, errManyRedirects)
	case ctx.Err() != nil || isTimeout(err):
		e.Class = ClassTimeout
		e.Message = fmt.Sprintf("%s did not answer in time", host)
	case errors.As(err, &dns):
		e.Message = fmt.Sprintf("the name %s could not be resolved", dns.Name)
	case errors.As(err, &op):
		e.Message = fmt.Sprintf("%s: %s: %v", host, op.Op, op.Err)
	default:
		e.Message = fmt.Sprintf("%s: %v", host, err)
	}
	return e
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// readResult reads the response to its end, or to maxBody, so that the server
// is not cut off in the middle of its work; it keeps an excerpt.
func readResult(resp *http.Response, secrets *redact.Redactor) (httpResult, error) {
	r := httpResult{Type: "http", Status: resp.StatusCode, Headers: resultHeaders(resp.Header, secrets), retryAfter: retryAfter(resp.Header)}
	head, err := io.ReadAll(io.LimitReader(resp.Body, headOf(secrets)+1))
	if err != nil {
		return r, fmt.Errorf("read body: %w", err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, maxBody-int64(len(head))); err != nil && !errors.Is(err, io.EOF) {
		return r, fmt.Errorf("read body: %w", err)
	}
	return r.withText(head, resp.Header.Get("Content-Type"), secrets), nil
}
