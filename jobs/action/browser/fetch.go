package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
)

const (
	fetchTime    = 30 * time.Second
	maxRedirects = 5
)

// fetch opens what a URL answers, for a page that is to upload it. It leads nowhere that
// the page itself may not go.
func (p *proxy) fetch(ctx context.Context, text string) (io.ReadCloser, error) {
	limited, cancel := context.WithTimeout(ctx, fetchTime)
	client := http.Client{Transport: reaching{p, &http.Transport{DialContext: p.guard.Dial, DisableKeepAlives: true}}}
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		next.Header.Del("Referer") // it repeats the query of the URL, which may hold a secret
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}
	req, err := http.NewRequestWithContext(limited, http.MethodGet, text, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			if resp.StatusCode == http.StatusOK {
				return fetched{resp.Body, cancel}, nil
			}
			_ = resp.Body.Close() // nothing of it is read
			cancel()
			return nil, &jobs.ActionError{Class: action.ClassStatus, Message: fmt.Sprintf("%s answered with status %d", req.URL.Host, resp.StatusCode), Retryable: true}
		}
	}
	cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err // without the URL, which may hold a secret
	}
	if blocked := action.Blocked("the file's host", err); blocked != nil {
		return nil, blocked
	}
	return nil, &jobs.ActionError{Class: action.ClassNetwork, Message: "the file to upload could not be fetched", Retryable: true, Err: err}
}

// reaching lets requests pass to hosts that the job may reach.
type reaching struct {
	p    *proxy
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (r reaching) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := r.p.guard.Permits(req.URL.Hostname(), r.p.hosts); err != nil {
		return nil, err
	}
	return r.next.RoundTrip(req)
}

// fetched is a body that ends its request.
type fetched struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (f fetched) Close() error {
	defer f.cancel()
	return f.ReadCloser.Close()
}
