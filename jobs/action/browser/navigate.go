package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
)

const (
	navigationTime = 30 * time.Second
	maxURLBytes    = 8 << 10
)

// navigation is the step {type: "navigate", url}.
type navigation struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

func parseNavigate(raw json.RawMessage) (navigation, []jobs.FieldError) {
	var n navigation
	if err := jobs.DecodeObject(raw, &n); err != nil {
		var invalid *jobs.InvalidError
		if errors.As(err, &invalid) {
			return n, invalid.Fields
		}
		return n, []jobs.FieldError{{Detail: err.Error()}}
	}
	u, err := url.Parse(n.URL)
	switch {
	case err != nil || len(n.URL) > maxURLBytes:
		return n, []jobs.FieldError{{Pointer: "/url", Detail: fmt.Sprintf("must be a URL of at most %d bytes", maxURLBytes)}}
	case n.URL == "about:blank":
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return n, []jobs.FieldError{{Pointer: "/url", Detail: "must be an absolute http or https URL, or about:blank"}}
	}
	return n, nil
}

type pageConfig struct {
	check          func(url string) error
	refused        func(url string) error
	folder, inside string
}

// page is the page of a session.
type page struct {
	tab context.Context
	c   pageConfig

	mu     sync.Mutex // guards what follows
	asked  string     // what the main frame's document was last asked of
	stop   context.CancelCauseFunc
	ended  error         // why the page can be used no more
	loaded chan struct{} // closed when the load under way is done; nil: none is
}

func newPage(tab context.Context, c pageConfig) (*page, error) {
	p := &page{tab: tab, c: c}
	return p, chromedp.Listen(tab, p.heard)
}

func (p *page) close() {}

// heard takes an event of the page. It must not block.
func (p *page) heard(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	main := cdp.FrameID(chromedp.FromContext(p.tab).Target.TargetID)
	switch e := ev.(type) {
	case *inspector.EventTargetCrashed:
		p.over(&jobs.ActionError{Class: ClassCrashed, Message: "the page crashed", Retryable: true})
	case *network.EventRequestWillBeSent:
		if e.FrameID == main && e.Type == network.ResourceTypeDocument {
			p.asked = e.Request.URL
		}
	case *cdppage.EventFrameNavigated:
		if err := p.c.check(e.Frame.URL); e.Frame.ID == main && err != nil && e.Frame.UnreachableURL == "" {
			p.over(err)
		}
	case *cdppage.EventLoadEventFired:
		if p.loaded != nil {
			close(p.loaded)
			p.loaded = nil
		}
	}
}

// over ends what is under way, and all that follows. It is called with mu held.
func (p *page) over(err error) {
	if p.ended == nil {
		p.ended = err
	}
	if p.stop != nil {
		p.stop(err)
	}
}

// run does a step.
func (p *page) run(ctx context.Context, n navigation) (any, error) {
	work, stop := context.WithCancelCause(p.tab)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
	timer := time.AfterFunc(navigationTime, func() {
		stop(&jobs.ActionError{Class: action.ClassTimeout, Message: fmt.Sprintf("Navigation timeout after %dms", navigationTime.Milliseconds()), Retryable: true})
	})
	defer timer.Stop()
	p.mu.Lock()
	if p.ended != nil {
		defer p.mu.Unlock()
		return nil, p.ended
	}
	loaded := make(chan struct{})
	p.stop, p.asked, p.loaded = stop, n.URL, loaded
	p.mu.Unlock()
	err := p.navigate(work, n.URL, loaded)
	if work.Err() != nil {
		return nil, context.Cause(work)
	}
	return n, err
}

func (p *page) navigate(ctx context.Context, to string, loaded <-chan struct{}) error {
	res, err := chromedp.Call(ctx, cdppage.Navigate, cdppage.NavigateParams{URL: to})
	switch {
	case err != nil:
		return err
	case res.ErrorText != "":
		p.mu.Lock()
		asked := p.asked
		p.mu.Unlock()
		if err := p.c.refused(asked); err != nil {
			return err
		}
		return &jobs.ActionError{Class: ClassNavigation, Message: res.ErrorText + " at " + to, Retryable: true}
	case res.LoaderID == "": // within the document
		return nil
	}
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
