package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// blankTime is how long the empty document of an origin is waited for.
const blankTime = 5 * time.Second

// inBlank opens an empty document of each origin in a page of its own, without a request to
// anybody, and has f do something there: until it says that it was there. An origin that the
// browser does not go to, such as http where it knows of https, is passed over.
func (s *Session) inBlank(ctx context.Context, origins []string, f func(p cdp.Session, origin string) (bool, error)) error {
	if len(origins) == 0 {
		return nil
	}
	of, leave := chromedp.NewContext(s.tab)
	defer leave() // closes the page
	stop := context.AfterFunc(ctx, leave)
	defer stop()
	if err := chromedp.Do(of); err != nil {
		return fmt.Errorf("open a page: %w", err)
	}
	listening, deaf := context.WithCancel(of)
	defer deaf()
	p := chromedp.FromContext(of).Target
	err := chromedp.Listen(listening, func(ev any) {
		if asked, ok := ev.(*fetch.EventRequestPaused); ok {
			s.answerBlank(listening, p, asked.RequestID)
		}
	})
	if err == nil {
		_, err = cdp.Call(ctx, p, fetch.Enable, fetch.EnableParams{})
	}
	if err == nil {
		_, err = cdp.Call(ctx, p, network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{Bypass: true})
	}
	if err != nil {
		return fmt.Errorf("prepare a page: %w", err)
	}
	for _, origin := range origins {
		_, err := cdp.Call(ctx, p, page.Navigate, page.NavigateParams{URL: origin + "/"})
		if refused := new(cdproto.Error); errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open a blank document: %w", err)
		}
		begun := time.Now()
		for there := false; !there && time.Since(begun) < blankTime; {
			there, err = f(p, origin)
			if isActionError(err) || errors.Is(err, chromedp.ErrTargetDetached) || err != nil && of.Err() != nil {
				return err
			}
			if !there && pause(ctx, pollPause) != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// answerBlank answers a request with an empty document. It does not block, and what it
// starts ends with ctx.
func (s *Session) answerBlank(ctx context.Context, p cdp.Session, id fetch.RequestID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.running.Go(func() {
		_, _ = cdp.Call(ctx, p, fetch.FulfillRequest, fetch.FulfillRequestParams{ // else the document does not come
			RequestID: id, ResponseCode: 200,
			ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html"}, {Name: "Cache-Control", Value: "no-store"}},
			Body:            []byte("<!doctype html>"),
		})
	})
}

// evaluateIn evaluates an expression of ours in a document.
func evaluateIn(ctx context.Context, p cdp.Session, world runtime.ExecutionContextID, expression string) (json.RawMessage, error) {
	yes := true
	done, err := cdp.Call(ctx, p, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ContextID: world, ReturnByValue: &yes})
	if err == nil {
		err = thrown(done.ExceptionDetails)
	}
	if err != nil {
		return nil, err
	}
	return json.RawMessage(done.Result.Value), nil
}
