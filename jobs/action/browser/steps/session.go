package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/redact"
)

// Config is what a session needs of its surroundings.
type Config struct {
	// Check is asked before a page is opened at a URL and of each URL that a page has
	// come to; its error, a *jobs.ActionError, ends the step. Nil: any URL will do.
	Check func(url string) error
	// Refused is asked when a page did not load: the refusal by what stands between the
	// browser and the network, or nil. url is what was asked for last. Nil: nothing does.
	Refused func(url string) error
	// Folder is a folder of this attempt alone, for uploads and downloads, and Inside the
	// same folder as the browser sees it. Empty: there are none.
	Folder, Inside string
	// Artifact opens an artifact of the job, and Fetch what a URL answers, for uploads.
	// Nil: there is none. Their errors are the step's.
	Artifact, Fetch func(ctx context.Context, what string) (io.ReadCloser, error)
	// Console is from which level of jobs.LogLevels on pages log, and Log what they log to;
	// see jobs.Env.
	Console string
	Log     func(context.Context, []jobs.LogLine) error
	// Secrets are taken out of all texts that leave the session; those that steps use are
	// added. Nil: there are no others.
	Secrets *redact.Redactor
}

// Session is the pages of one attempt, from its first step to its last. Its methods are
// called by one goroutine.
type Session struct {
	config  Config
	tab     context.Context // the first page's
	browser cdp.Session
	context cdp.BrowserContextID
	main    *tab
	held    kb.Modifier // keys that are down
	down    *downloads
	history history
	about   *tab          // that the newest step is about
	soon    time.Duration // what keeping a failure may take: saveTime
	late    time.Duration // lateTime
	screen  *Screen
	secrets *redact.Redactor   // of all texts that leave the session
	console *console           // nil: nobody wants what pages log
	unheard context.CancelFunc // ends the listening to the browser

	mu      sync.Mutex // guards what follows
	over    bool
	opened  map[target.ID]*opened // by the pages themselves
	headers network.Headers       // added to every request; nil: none
	visited []string              // origins that pages were at
	running sync.WaitGroup        // what events have started
}

// NewSession begins a session on a page. page is a chromedp context, of a browser context
// that is the attempt's alone, in which something has run already; it must last until
// Close has returned.
func NewSession(page context.Context, c Config) (*Session, error) {
	of := chromedp.FromContext(page)
	if of == nil || of.Target == nil {
		return nil, errors.New("the context has no page")
	}
	s := &Session{
		config: c, tab: page, secrets: c.Secrets, browser: of.Browser, context: of.BrowserContextID,
		console: newConsole(c), screen: newScreen(page), soon: saveTime, late: lateTime, opened: make(map[target.ID]*opened),
	}
	if s.secrets == nil {
		s.secrets = new(redact.Redactor)
	}
	var err error
	if s.down, err = s.watchDownloads(page); err != nil {
		return nil, err
	}
	s.main = s.newTab(false)
	if err = s.attach(page, s.main); err == nil {
		err = s.listen(page)
	}
	if err != nil {
		s.down.stop()
		return nil, err
	}
	s.about = s.main
	s.screen.turnTo(s.main)
	return s, nil
}

// Close ends the session. The first page stays open, because its context is the caller's.
func (s *Session) Close() {
	s.screen.close()
	s.mu.Lock()
	s.over = true
	var leave []context.CancelFunc
	for _, o := range s.opened {
		if o.tab != nil {
			leave = append(leave, func() { s.detach(o.tab) })
		}
		leave = append(leave, o.leave)
	}
	s.mu.Unlock()
	for _, f := range leave {
		f()
	}
	s.main.leave()
	s.unheard()
	s.down.stop()
	s.running.Wait()
	if s.console != nil {
		s.console.end()
	}
}

// detach ends the messages of a page before its reader goes: what comes for one without a
// reader holds up what comes for all others.
func (s *Session) detach(p *tab) {
	ctx, cancel := context.WithTimeout(s.tab, time.Second)
	defer cancel()
	_, _ = cdp.Call(ctx, s.browser, target.DetachFromTarget, target.DetachFromTargetParams{SessionID: p.target.SessionID}) // it may be gone
}

// Screen returns the live picture of the session's pages.
func (s *Session) Screen() *Screen { return s.screen }

// Run carries out a step and returns its result. ctx bounds it; env is its action's. The
// error is a *jobs.ActionError, or the cause of ctx's end.
func (s *Session) Run(ctx context.Context, step Step, env jobs.Env) (any, error) {
	if step.run == nil {
		return nil, &jobs.ActionError{Class: classInternal, Message: "the step cannot be run"}
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{Session: s, Step: step, env: env}
	s.history.add(record{Type: "step", Action: env.Index + 1, Step: step.kind})
	var err error
	if r.page, err = s.pageFor(within, step); err == nil {
		s.about = r.page
		s.screen.turnTo(r.page)
		stop := r.page.watch(cancel)
		defer stop()
		r.result.Type = step.kind
		err = r.do(within)
	}
	if s.console != nil && ctx.Err() == nil {
		s.console.send(ctx) // before the progress of what comes next
	}
	switch {
	case ctx.Err() != nil && err != nil: // the attempt ended, not the step
		return nil, context.Cause(ctx)
	case ctx.Err() == nil && within.Err() != nil: // the page ended it
		err = context.Cause(within)
	}
	if err != nil {
		return nil, s.discreet(actionError(err, step))
	}
	if r.result.URL != nil {
		*r.result.URL = s.secrets.Text(*r.result.URL)
	}
	return r.result, nil
}

// discreet is a failure that tells no secret, neither its client nor the log.
func (s *Session) discreet(e *jobs.ActionError) error {
	told := *e
	told.Message = s.secrets.Text(told.Message)
	if told.Err != nil {
		if text := told.Err.Error(); s.secrets.Text(text) != text {
			told.Err = errors.New(s.secrets.Text(text))
		}
	}
	return &told
}

// actionError gives an error the words that a client reads.
func actionError(err error, of Step) *jobs.ActionError {
	var known *jobs.ActionError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, chromedp.ErrTargetDetached):
		return pageClosed()
	case errors.Is(err, context.Canceled):
		return browserEnded(err)
	}
	told := "the browser refused the step"
	if len(of.alternatives) > 0 {
		told += fmt.Sprintf(" at %q", of.first())
	}
	return &jobs.ActionError{Class: classInternal, Message: told, Retryable: true, Err: err}
}

func browserEnded(err error) *jobs.ActionError {
	return &jobs.ActionError{Class: ClassClosed, Message: "the browser has ended", Retryable: true, Err: err}
}

// result is what a step gives that gives nothing else.
type result struct {
	Type     string  `json:"type"`
	URL      *string `json:"url,omitempty"`      // of the page, if the step is about pages
	Status   int64   `json:"status,omitempty"`   // of the answer that the page came with
	Name     string  `json:"name,omitempty"`     // in result.data
	Artifact string  `json:"artifact,omitempty"` // that the step has made

	Downloads []string `json:"downloads,omitempty"` // artifacts that the page's downloads became
}

// run is one step that is carried out.
type run struct {
	*Session
	Step
	page   *tab
	env    jobs.Env
	result result
	loads  bool // what was clicked begins a download
	acted  bool // it has done something to the page
	ctx    context.Context
}

// do carries out the step, and what it brings about.
func (r *run) do(ctx context.Context) error {
	before, begun := r.page.now(), r.down.count()
	limited, cancel := context.WithTimeoutCause(ctx, r.limit(), errLimit)
	r.ctx = limited
	err := r.carryOut()
	cancel()
	if err != nil {
		return r.inTime(ctx, err, r.late)
	}
	limited, cancel = context.WithTimeoutCause(ctx, r.pageLimit(), errLimit)
	defer cancel()
	r.ctx = limited
	if len(r.AssertedEvents) > 0 {
		err = r.page.await(limited, func(p *progress) bool {
			return p.loaded && p.commits > before.commits || p.moves > before.moves
		})
	} else {
		err = r.page.await(limited, func(p *progress) bool { return !p.pending && !p.asking })
	}
	if err == nil {
		err = r.arrived(before)
	}
	if err == nil {
		r.awaitDownload(before, begun)
		err = r.keepDownloads()
	}
	return r.inTime(ctx, err, r.astray)
}

// carryOut does what the step is to do to an element, once more if the page has gone
// elsewhere before anything was done to it.
func (r *run) carryOut() error {
	for {
		err := r.definition.run(r)
		var absent absentError
		if r.acted || len(r.alternatives) == 0 || r.ctx.Err() != nil || !errors.As(err, &absent) && !isGone(err) {
			return err
		}
		r.forget()
		if pause(r.ctx, maxPollPause) != nil {
			return r.elsewhere()
		}
	}
}

// errLimit ends what a step waits for.
var errLimit = errors.New("the step took too long")

// inTime turns the end of the step's time into a failure that says what it was spent on.
func (r *run) inTime(ctx context.Context, err error, spent func() error) error {
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(r.ctx), errLimit) && !isActionError(err) {
		return spent()
	}
	return err
}

// astray is the failure of a page that did not come.
func (r *run) astray() error {
	return timeout("Navigation timeout after %dms", r.pageLimit().Milliseconds())
}

// late is the failure of a step that the page did not take in time.
func (r *run) late() error {
	switch {
	case r.kind == "navigate" || r.kind == "goBack" || r.kind == "reload":
		return r.astray()
	case len(r.alternatives) > 0:
		return timeout(waitingFailed, r.first(), r.limit().Milliseconds(), noAnswer)
	}
	return timeout("Waiting for %s failed: %dms exceeded (%s)", r.kind, r.limit().Milliseconds(), noAnswer)
}

func isActionError(err error) bool {
	var known *jobs.ActionError
	return errors.As(err, &known)
}

// arrived refuses a page that the step has led to and that did not load.
func (r *run) arrived(before progress) error {
	now := r.page.now()
	if now.commits == before.commits || now.failed == "" {
		return nil
	}
	return r.unreached(now.failed, now.url)
}

// unreached is the failure of a page that did not load.
func (r *run) unreached(text, url string) error {
	if r.config.Refused != nil {
		if err := r.config.Refused(r.page.now().asked); err != nil {
			return err
		}
	}
	return &jobs.ActionError{Class: ClassNavigation, Message: text + " at " + url, Retryable: true}
}

// call sends a command to the step's page.
func call[P, R any](r *run, c cdp.Command[P, R], params P) (R, error) {
	return cdp.Call(r.ctx, r.page.target, c, params)
}
