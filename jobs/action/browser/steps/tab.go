package steps

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/jobcast/jobcast/jobs"
)

const (
	maxRequests = 10_000      // open ones of a page that are known
	askPatience = time.Second // between a script's wish for another document and its beginning
)

// tab is a page that steps are about.
type tab struct {
	session *Session
	ctx     context.Context // its chromedp context
	target  *chromedp.Target
	inner   bool               // it is an iframe that has a process of its own
	leave   context.CancelFunc // ends the listening
	fields  fields             // of steps' goroutine
	early   bool               // its console is heard elsewhere, from before it is watched

	mu      sync.Mutex // guards what follows
	at      progress
	changed chan struct{} // closed at the next change of progress
	open    map[network.RequestID]request
	answers map[cdp.LoaderID]int64  // statuses of documents to come
	errors  map[cdp.LoaderID]string // failures of such
	worlds  map[cdp.FrameID]runtime.ExecutionContextID
	broken  error                   // why no step can go on here
	login   *login                  // for documents that ask; nil: none
	hearing context.Context         // ends with the listening; nil: it has not begun
	said    float64                 // messages in the console that were more than saidRate
	heard   time.Time               // the newest of them
	mute    bool                    // nobody listens to it any more
	stop    context.CancelCauseFunc // of the step that is about this page; nil: none is
}

// progress is what is known of a page's main frame.
type progress struct {
	commits int          // documents that it has come to
	moves   int          // changes of its URL without a new document
	loader  cdp.LoaderID // of its document
	url     string
	loaded  bool
	pending bool   // it is about to come to another document
	status  int64  // that its document came with; 0: not known
	failed  string // why its document is an error page, e.g. net::ERR_ABORTED
	asked   string // what was requested last for a document
	quiet   time.Time
	files   int  // documents that were answered and became none, but a download maybe
	asking  bool // its script has asked for another document, and nothing has begun yet
}

// newTab returns a page that is not watched yet.
func (s *Session) newTab(inner bool) *tab {
	return &tab{
		session: s, inner: inner, leave: func() {},
		changed: make(chan struct{}), open: make(map[network.RequestID]request),
		answers: make(map[cdp.LoaderID]int64), errors: make(map[cdp.LoaderID]string),
		worlds: make(map[cdp.FrameID]runtime.ExecutionContextID), fields: make(fields), at: progress{quiet: time.Now()},
	}
}

// attach begins to watch a page; ctx is its chromedp context, in which something has run.
func (s *Session) attach(ctx context.Context, p *tab) error {
	listening, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	p.ctx, p.target, p.leave, p.hearing = ctx, chromedp.FromContext(ctx).Target, cancel, listening
	mute := p.mute
	p.mu.Unlock()
	if mute {
		p.later(listening, p.silence)
	}
	s.down.from(cdp.FrameID(p.target.TargetID))
	if err := chromedp.Listen(listening, func(ev any) { p.hear(listening, ev) }); err != nil {
		cancel()
		return fmt.Errorf("listen to page: %w", err)
	}
	context.AfterFunc(ctx, func() { p.breakOff(browserEnded(nil), true) }) // nothing else tells a step that only waits
	// Without it a page that lies behind another has no focus, and no keys.
	_, err := cdp.Call(ctx, p.target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	// chromedp has had the page report each change of its document, and asks for all of it
	// at each. Of a page that changes without end it would come to read nothing any more.
	if err == nil {
		_, err = cdp.Call(ctx, p.target, css.Disable, cdp.Empty{})
	}
	if err == nil {
		_, err = cdp.Call(ctx, p.target, dom.Disable, cdp.Empty{})
	}
	var tree page.GetFrameTreeResult
	if err == nil {
		tree, err = cdp.Call(ctx, p.target, page.GetFrameTree, cdp.Empty{})
	}
	if err != nil {
		cancel()
		return fmt.Errorf("watch page: %w", err)
	}
	p.change(func() {
		if p.at.commits == 0 {
			p.at.loader, p.at.url, p.at.loaded = tree.FrameTree.Frame.LoaderID, tree.FrameTree.Frame.URL, true
		}
	})
	return nil
}

// watch lets the page's end end a step too, until stop is called.
func (p *tab) watch(cancel context.CancelCauseFunc) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		cancel(p.broken)
	}
	p.stop = cancel
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stop = nil
	}
}

// breakOff ends the step that is about the page, and those to come if for good.
func (p *tab) breakOff(err error, forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if forGood {
		p.broken = err
	}
	if p.stop != nil {
		p.stop(err)
	}
}

// gone reports whether the page is no more.
func (p *tab) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken != nil
}

// change changes what is known of the page and wakes who waits for it.
func (p *tab) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *tab) now() progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// await waits until done, which must not keep what it is given.
func (p *tab) await(ctx context.Context, done func(*progress) bool) error {
	for {
		p.mu.Lock()
		ok, changed := done(&p.at), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hear takes an event of the page. It runs where the page's messages are read: it must
// neither block nor send a command.
func (p *tab) hear(ctx context.Context, ev any) {
	switch ev := ev.(type) {
	case *page.EventJavascriptDialogOpening:
		p.later(ctx, func(ctx context.Context) error {
			// As people expect of an unattended browser: what only tells is taken note of, a
			// page may be left, and nothing is confirmed.
			accept := ev.Type == page.DialogTypeAlert || ev.Type == page.DialogTypeBeforeunload
			_, err := cdp.Call(ctx, p.target, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: accept})
			return err
		})
	case *page.EventFrameNavigated:
		p.mu.Lock()
		clear(p.worlds) // of a page that is mute nothing else says so
		p.mu.Unlock()
		p.navigated(ctx, ev.Frame)
	case *page.EventScreencastFrame:
		p.session.screen.heard(p, ev)
	case *page.EventFrameAttached:
		p.session.down.from(ev.FrameID)
	case *inspector.EventTargetCrashed:
		p.breakOff(&jobs.ActionError{Class: ClassCrashed, Message: "the page's process has ended", Retryable: true}, true)
	case *inspector.EventDetached:
		p.breakOff(pageClosed(), true)
	case *runtime.EventExecutionContextDestroyed, *runtime.EventExecutionContextsCleared, *page.EventFrameDetached:
		p.mu.Lock()
		clear(p.worlds)
		p.mu.Unlock()
	default:
		p.progressed(ctx, ev)
		p.requested(ev)
		p.asked(ctx, ev)
		if !p.early {
			p.say(ev)
		}
	}
}

// say takes what an event says in the console.
func (p *tab) say(ev any) {
	m, ok := spoken(ev)
	if !ok {
		return
	}
	if p.loud() || !p.session.history.listens() || !p.session.history.seek(func() { p.understand(&m, ev) }) {
		if p.session.console != nil {
			p.session.console.miss(m)
		}
		return
	}
	p.session.history.add(record{Type: m.Kind, message: &m})
	if p.session.console != nil {
		p.session.console.add(m)
	}
}

// main reports whether a frame is the page's own. A page's target has its main frame's id.
func (p *tab) main(id cdp.FrameID) bool { return string(id) == string(p.target.TargetID) }

// navigated takes the news that a frame has come to another document.
func (p *tab) navigated(ctx context.Context, f *cdp.Frame) {
	if f.ParentID != "" || !p.main(f.ID) {
		return
	}
	var refusal error
	if check := p.session.config.Check; check != nil && !p.inner && f.UnreachableURL == "" {
		refusal = check(f.URL)
	}
	if refusal == nil && !p.inner && f.UnreachableURL == "" {
		p.session.visit(f.URL)
	}
	if refusal != nil { // before a step learns that it has arrived
		p.breakOff(refusal, false)
	}
	p.change(func() {
		p.at.commits++
		p.at.loader, p.at.url, p.at.loaded = f.LoaderID, discreetURL(f.URL+f.URLFragment), false
		p.at.pending, p.at.asking = false, false
		p.at.status, p.at.failed = p.answers[f.LoaderID], ""
		if f.UnreachableURL != "" {
			p.at.url, p.at.failed = discreetURL(f.UnreachableURL), p.errors[f.LoaderID]
			if p.at.failed == "" {
				p.at.failed = "net::ERR_FAILED"
			}
		}
		clear(p.answers)
		clear(p.errors)
		for id, one := range p.open { // of the document before: nobody says what became of them
			if one.loader != f.LoaderID {
				delete(p.open, id)
			}
		}
		p.came(p.at)
	})
	if refusal != nil {
		p.later(ctx, func(ctx context.Context) error {
			_, err := cdp.Call(ctx, p.target, page.Navigate, page.NavigateParams{URL: "about:blank"})
			return err
		})
	}
}

// progressed takes what an event says of the main frame's way to its next document.
func (p *tab) progressed(ctx context.Context, ev any) {
	switch ev := ev.(type) {
	case *page.EventLifecycleEvent:
		if p.main(ev.FrameID) && ev.Name == "load" {
			p.change(func() { p.at.loaded = p.at.loaded || ev.LoaderID == p.at.loader })
		}
	case *page.EventNavigatedWithinDocument:
		if p.main(ev.FrameID) {
			p.change(func() {
				p.at.moves++
				p.at.url, p.at.pending, p.at.asking = discreetURL(ev.URL), false, false
			})
		}
	case *page.EventFrameRequestedNavigation:
		if p.main(ev.FrameID) && ev.Disposition == page.ClientNavigationDispositionCurrentTab {
			p.change(func() { p.at.asking = true })
			p.later(ctx, func(ctx context.Context) error { // the browser may not want to
				err := pause(ctx, askPatience)
				p.change(func() { p.at.asking = false })
				return err
			})
		}
	case *page.EventFrameStartedNavigating:
		if p.main(ev.FrameID) {
			p.change(func() { p.at.pending, p.at.asking = true, false })
		}
	case *page.EventFrameStoppedLoading:
		if p.main(ev.FrameID) {
			p.change(func() { p.at.pending, p.at.asking = false, false })
		}
	}
}

// requested takes what an event says of the page's requests.
func (p *tab) requested(ev any) {
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		p.change(func() {
			if ev.Type == network.ResourceTypeDocument && p.main(ev.FrameID) {
				p.at.asked = ev.Request.URL
			}
			if ev.Type != network.ResourceTypeEventSource && len(p.open) < maxRequests {
				p.open[ev.RequestID] = p.sent(ev)
			}
		})
	case *network.EventResponseReceived:
		p.refused(ev)
		if ev.Type == network.ResourceTypeDocument && p.main(ev.FrameID) {
			p.change(func() {
				if len(p.answers) >= maxRequests {
					return
				}
				if p.answers[ev.LoaderID] = ev.Response.Status; ev.LoaderID == p.at.loader {
					p.at.status = ev.Response.Status
				}
			})
		}
	case *network.EventLoadingFinished:
		p.closed(ev.RequestID, "")
	case *network.EventLoadingFailed:
		p.lost(ev)
		p.change(func() {
			status := p.answers[cdp.LoaderID(ev.RequestID)]
			if status != 0 && cdp.LoaderID(ev.RequestID) != p.at.loader && status != http.StatusNoContent && status != http.StatusResetContent {
				p.at.files++
			}
		})
		p.closed(ev.RequestID, ev.ErrorText)
	}
}

// closed takes the end of a request, and why it failed if it did. The request of a
// document has the id of the document's loader.
func (p *tab) closed(id network.RequestID, failed string) {
	p.change(func() {
		if failed != "" && len(p.errors) < maxRequests {
			p.errors[cdp.LoaderID(id)] = failed
		}
		if _, known := p.open[id]; known {
			delete(p.open, id)
			p.at.quiet = time.Now()
		}
	})
}

// later does something that an event asks for. It ends with the session.
func (p *tab) later(ctx context.Context, f func(context.Context) error) {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.running.Go(func() {
			_ = f(ctx) // what it was about is gone
		})
	}
}

// pause waits for a moment.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func pageClosed() *jobs.ActionError {
	return &jobs.ActionError{Class: ClassClosed, Message: "the page was closed", Retryable: true}
}

// timeout is the failure of something that did not come about in time.
func timeout(format string, args ...any) error {
	return &jobs.ActionError{Class: classTimeout, Message: fmt.Sprintf(format, args...), Retryable: true}
}
