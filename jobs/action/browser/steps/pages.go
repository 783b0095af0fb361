package steps

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// maxFollowed is how many pages and iframes are watched only for what they log.
const maxFollowed = 32

// listen begins to log what pages log, all of them, if anybody wants it.
func (s *Session) listen(page context.Context) error {
	var listening context.Context
	listening, s.unheard = context.WithCancel(page)
	if s.console == nil {
		return nil
	}
	s.running.Go(func() { s.console.run(listening) })
	return chromedp.ListenBrowser(listening, func(ev any) {
		switch ev := ev.(type) {
		case *target.EventTargetCreated:
			info := ev.TargetInfo
			if info.BrowserContextID == s.context && (info.Type == "page" || info.Type == "iframe") {
				s.open(info.TargetID, info.Type == "iframe", maxFollowed)
			}
		case *target.EventTargetDestroyed:
			s.closed(ev.TargetID)
		}
	})
}

// pages returns the first page, and those that are watched beside it.
func (s *Session) pages() []*tab {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []*tab{s.main}
	for _, o := range s.opened {
		if o.tab != nil {
			all = append(all, o.tab)
		}
	}
	return all
}

// closed forgets a page that is no more.
func (s *Session) closed(id target.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.opened[id]; o != nil && !s.over {
		delete(s.opened, id)
		if o.tab != nil {
			o.tab.breakOff(pageClosed(), true)
		}
		s.running.Go(o.leave)
	}
}

// pageFor returns the page that a step is about. One that is named by its URL is waited for.
func (s *Session) pageFor(ctx context.Context, step Step) (*tab, error) {
	if step.Target == "" || step.Target == "main" {
		return s.main, nil
	}
	limited, cancel := context.WithTimeout(ctx, step.limit())
	defer cancel()
	for {
		list, err := cdp.Call(limited, s.browser, target.GetTargets, target.GetTargetsParams{})
		for _, info := range list.TargetInfos {
			if info.BrowserContextID == s.context && info.Type == "page" && info.URL == step.Target {
				return s.join(ctx, info.TargetID, false)
			}
		}
		if err == nil {
			err = pause(limited, pollPause)
		}
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			err = timeout("Waiting for a page at %s failed: %dms exceeded", step.Target, step.limit().Milliseconds())
		}
		if err != nil {
			return nil, err
		}
	}
}

// opened is a page that was opened by another, or an iframe that has a process of its own,
// from when it begins to be watched.
type opened struct {
	leave context.CancelFunc // ends the watching, and the attachment
	done  chan struct{}      // closed when it is watched, or cannot be
	tab   *tab               // once it is done, unless it failed; like err guarded by the session's mu
	err   error
}

// open begins to watch a target, unless it is watched already, or most are; nil: then, or
// because the session is over. It does not block.
func (s *Session) open(id target.ID, inner bool, most int) *opened {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.opened[id]; o != nil || s.over || len(s.opened) >= most || id == s.main.target.TargetID {
		return o
	}
	p := s.newTab(inner)
	p.early = true
	of, leave := chromedp.NewContext(s.tab, chromedp.WithTargetID(id), chromedp.WithDetachOnCancel(), chromedp.WithListener(p.say))
	o := &opened{leave: leave, done: make(chan struct{})}
	s.opened[id] = o
	s.running.Go(func() {
		defer close(o.done)
		err := chromedp.Do(of)
		if err == nil {
			err = s.attach(of, p)
		}
		s.mu.Lock()
		if o.err = err; err == nil {
			o.tab = p
		} else if s.opened[id] == o {
			delete(s.opened, id)
		}
		headers := s.headers
		s.mu.Unlock()
		if err != nil {
			leave()
		} else if headers != nil {
			_, _ = cdp.Call(of, p.target, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers}) // it is gone
		}
	})
	return o
}

// join returns the page, or the iframe, of a target, watched from now on at the latest.
func (s *Session) join(ctx context.Context, id target.ID, inner bool) (*tab, error) {
	if id == s.main.target.TargetID {
		return s.main, nil
	}
	o := s.open(id, inner, maxRequests)
	if o == nil {
		return nil, pageClosed()
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return o.tab, o.err
}
