package browser

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

// TestStuck: a browser whose messages nobody reads any more ends when it does not answer, and
// is as dead as any when it is killed or ends by itself: its steps fail, the next job gets
// another one, and Close returns.
func TestStuck(t *testing.T) {
	for name, of := range map[string]struct {
		end    func(*chromium)
		reason reason
	}{
		"killed":          {func(c *chromium) { c.kill(nil, unresponsive) }, unresponsive},
		"ended":           {func(c *chromium) { _ = syscall.Kill(-c.pid, syscall.SIGKILL) }, byItself},
		"does not answer": {func(*chromium) {}, unresponsive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flood := make(chan struct{})
			w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/flood" {
					<-flood
				}
				showing(`<script>fetch("/flood").then(() => setInterval(() => { for (let i = 0; i < 500; i++) console.log("x".repeat(200)) }))</script>`).ServeHTTP(w, r)
			}), func(o *Options) {
				if name == "does not answer" {
					o.patience = 2 * time.Second
				}
			})
			a, b := w.attempt("a"), w.attempt("b")
			if err := a.navigate(t.Context(), "http://site.test/"); err != nil {
				t.Fatal(err)
			}
			c := w.now
			defer stick(t, c, flood)()
			of.end(c)
			until(t, "a browser that is gone is seen to be", func() bool { return !w.State().Running && !w.Stats().Running })
			class(t, a.navigate(t.Context(), "about:blank"), steps.ClassClosed, true, "browser")
			if err := b.navigate(t.Context(), "about:blank"); err != nil || w.now == c {
				t.Errorf("the next job: %v", err)
			}
			began := time.Now()
			a.scope.Close()
			b.scope.Close()
			w.Close()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it ended after %v", took)
			}
			if s := w.Stats(); s.Ends[string(of.reason)] != 1 || s.Starts != 2 {
				t.Errorf("stats are %+v", s)
			}
		})
	}
}

// stick attaches to a page once more and reads nothing of what comes, until chromedp reads
// nothing of any page either.
func stick(t *testing.T, c *chromium, flood chan struct{}) (leave context.CancelFunc) {
	t.Helper()
	var s *session
	for s = range c.open {
	}
	of := chromedp.FromContext(s.tab)
	ctx, leave := chromedp.NewContext(s.tab, chromedp.WithTargetID(of.Target.TargetID), chromedp.WithDetachOnCancel())
	reading, deaf := context.WithCancel(ctx)
	if err := chromedp.Do(reading); err != nil {
		t.Fatal(err)
	}
	deaf()
	close(flood)
	until(t, "chromedp is stuck", func() bool {
		ctx, cancel := context.WithTimeout(s.tab, time.Second)
		defer cancel()
		_, err := cdp.Call(ctx, of.Browser, target.GetTargets, target.GetTargetsParams{})
		return err != nil
	})
	return leave
}
