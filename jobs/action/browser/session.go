package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

const (
	openTime  = 10 * time.Second // after which a context that does not stand is given up
	closeTime = 5 * time.Second  // after which a browser that does not close a context is ended
	lostTime  = 2 * time.Second  // between a page's news that its browser is gone and the browser's
)

// session is what one attempt has of the browser: a context with its page.
type session struct {
	b      *Browsers
	c      *chromium
	port   *port
	proxy  *proxy
	tab    context.Context
	end    context.CancelFunc // of tab; waits
	job    string
	folder string   // for files, of the host
	opened *os.File // the folder, whatever the browser does to its path
	steps  *steps.Session

	closing sync.Once
}

// open makes a session for an attempt. ctx is the action's.
func (b *Browsers) open(ctx context.Context, env jobs.Env) (_ *session, err error) {
	c, p, err := b.take(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{b: b, c: c, port: p, job: env.JobID, proxy: newProxy(b.o.Guard, env.Hosts, &b.tally)}
	p.hand(s.proxy)
	c.mu.Lock()
	c.open[s] = struct{}{}
	c.mu.Unlock()
	s.tab, s.end = chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext(func(q *target.CreateBrowserContextParams) {
		q.ProxyServer, q.ProxyBypassList = p.server(), "<-loopback>"
	}))
	stands := make(chan error, 1)
	go func() { stands <- s.prepare(env) }()
	limit := time.NewTimer(openTime)
	defer limit.Stop()
	select { // also if ctx ends: a context that is being made cannot be let go of
	case err = <-stands:
	case <-limit.C:
		c.kill(nil, unresponsive) // it answers nobody
		err = <-stands
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && env.State != nil {
		err = s.bring(ctx, env)
	}
	if err != nil {
		err = s.explain(ctx, err)
		_ = s.Close() // always nil
		return nil, err
	}
	return s, nil
}

// bring restores the state that the job begins with, and sees to the one that it leaves.
func (s *session) bring(ctx context.Context, env jobs.Env) error {
	of := env.State
	raw, err := of.Load(ctx)
	if err == nil && raw != nil {
		err = s.steps.Restore(ctx, raw, of.Origins)
	}
	if err != nil || of.Keep == nil {
		return err
	}
	env.Scope.Last(func(ctx context.Context) error {
		raw, origins, err := s.steps.State(ctx, of.Origins)
		if err != nil {
			return s.explain(ctx, err)
		}
		return of.Keep(origins, raw)
	})
	return nil
}

// prepare opens the page.
func (s *session) prepare(env jobs.Env) (err error) {
	if err := s.makeFolder(env.JobID); err != nil {
		return err
	}
	if err := chromedp.Do(s.tab); err != nil {
		return err
	}
	_, err = chromedp.CallBrowser(s.tab, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorDeny, BrowserContextID: s.context(),
	})
	if err != nil {
		return err
	}
	s.steps, err = steps.NewSession(s.tab, steps.Config{
		Check: checkURL, Refused: s.proxy.fault, Artifact: env.Open, Fetch: s.proxy.fetch, Console: env.Console, Log: env.Log, Secrets: env.Redactor,
		Folder: fmt.Sprintf("/proc/self/fd/%d", s.opened.Fd()), Inside: filepath.Join(s.c.inside, filepath.Base(s.folder)),
	})
	if err == nil {
		s.b.screens.add(s.job, s.steps.Screen())
	}
	return err
}

// makeFolder makes the folder of the attempt, which is the browser's.
func (s *session) makeFolder(job string) (err error) {
	if s.folder, err = os.MkdirTemp(s.c.files, "attempt-"); err != nil {
		return fmt.Errorf("make a folder for job %s: %w", job, err)
	}
	if s.opened, err = os.OpenFile(s.folder, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0); err != nil {
		return fmt.Errorf("open the folder of job %s: %w", job, err)
	}
	if os.Getuid() == 0 {
		err = s.opened.Chown(browserUser, browserUser)
	}
	return err
}

func (s *session) context() cdp.BrowserContextID { return chromedp.FromContext(s.tab).BrowserContextID }

// Close closes the context, and everything of it is gone. If the browser does not do so
// soon, it has come to its end.
func (s *session) Close() error {
	s.closing.Do(s.close)
	return nil
}

func (s *session) close() {
	s.port.hand(nil)
	s.proxy.close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if s.steps != nil {
			s.b.screens.remove(s.job, s.steps.Screen())
			s.steps.Close()
		}
		if id := s.context(); id != "" && s.c.ctx.Err() == nil {
			_, err := chromedp.CallBrowser(s.c.ctx, target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: id})
			if err != nil && s.c.ctx.Err() == nil { // its pages would go on, by a port that the next attempt gets
				s.b.o.Logger.Warn("the browser refused to close a context and is ended", "jobId", s.job, "error", err)
				s.c.kill(s, unresponsive)
			}
		}
		s.end()
	}()
	limit := time.NewTimer(closeTime)
	defer limit.Stop()
	select {
	case <-closed:
	case <-limit.C:
		s.b.o.Logger.Warn("the browser did not close a context and is ended", "jobId", s.job)
		s.c.kill(s, unresponsive)
	}
	if s.opened != nil {
		_ = s.opened.Close() // it was only read
	}
	if s.folder != "" {
		if err := os.RemoveAll(s.folder); err != nil {
			s.b.o.Logger.Warn("the folder of an attempt was not removed", "folder", s.folder, "error", err)
		}
	}
	s.c.mu.Lock()
	delete(s.c.open, s)
	s.c.mu.Unlock()
	if s.c.ctx.Err() == nil {
		s.b.unspare(s.job)
	}
	s.b.put(s.c, s.port)
}

// explain says why something failed in this session. ctx is the action's. A page that has
// lost its browser may learn of it first.
func (s *session) explain(ctx context.Context, err error) error {
	var known *jobs.ActionError
	errors.As(err, &known)
	if known != nil && known.Class == steps.ClassClosed {
		limit := time.NewTimer(lostTime)
		defer limit.Stop()
		select {
		case <-s.c.lost:
		case <-ctx.Done():
		case <-limit.C:
		}
	}
	if !s.c.dead() {
		if known != nil && known.Class == steps.ClassCrashed && s.c.starving() {
			return &jobs.ActionError{Class: steps.ClassCrashed, Retryable: true, Err: err,
				Message: "the page was ended because the browser took more memory than it may (--browser-max-memory)"}
		}
		return err
	}
	if ctx.Err() != nil { // the attempt is over for another reason
		return err
	}
	culprit, crowd := s.c.death()
	if s.b.stopped() || culprit != nil && culprit != s || culprit == nil && crowd > 1 && s.b.spare(s.job) {
		return fmt.Errorf("%w: the browser is gone", jobs.ErrNoFault)
	}
	return &jobs.ActionError{Class: steps.ClassClosed, Message: "the browser ended while the job was using it", Retryable: true, Err: err}
}

func (b *Browsers) stopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// checkURL returns an error if a page may not be at a URL, whatever its host. Only what
// goes through the proxy of its context, or shows nothing, is allowed.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err == nil {
		switch u.Scheme {
		case "http", "https":
			return nil
		case "blob":
			if inner, err := url.Parse(u.Opaque); err == nil && (inner.Scheme == "http" || inner.Scheme == "https") {
				return nil
			}
		case "about":
			if u.Opaque == "blank" || u.Opaque == "srcdoc" {
				return nil
			}
		}
	}
	scheme := "that"
	if err == nil {
		scheme = u.Scheme + ":"
	}
	return &jobs.ActionError{Class: action.ClassBlocked, Message: "a page may be at http, https and about:blank only, not at " + scheme}
}

var _ io.Closer = (*session)(nil)
