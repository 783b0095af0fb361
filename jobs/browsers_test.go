package jobs_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

type closer func()

func (c closer) Close() error { c(); return nil }

// TestBrowserPlaces: of jobs that need a browser no more run than there are places, and of
// one client no more than its share; others go on meanwhile.
func TestBrowserPlaces(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var ran sink
		r.start(t, jobs.ProcessorOptions{Concurrency: 10, PerClient: 10, Browsers: 3}, func(_ context.Context, kind string, env jobs.Env) (any, error) {
			fmt.Fprint(&ran, env.Client, kind, " ")
			time.Sleep(time.Minute)
			return nil, nil
		})
		page := actions("*")
		page.Browser = true
		for range 4 {
			r.submit(t, "a", page)
			settle()
		}
		r.submit(t, "a", actions("-"))
		settle()
		r.submit(t, "b", page)
		settle()
		if got := ran.String(); got != "a* a* a- b* " {
			t.Errorf("began: %s", got)
		}
		time.Sleep(10 * time.Minute)
		if got := strings.Count(ran.String(), "a*"); got != 4 {
			t.Errorf("%d of 4 jobs with a browser ran", got)
		}
	})
}

// TestNoFault: an attempt that was stopped through no fault of its job is not counted, and
// what its actions had in common is closed with each attempt, once.
func TestNoFault(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		opened, closed := 0, 0
		r.start(t, jobs.ProcessorOptions{}, func(_ context.Context, kind string, env jobs.Env) (any, error) {
			_, err := env.Scope.Keep(t, func() (io.Closer, error) {
				opened++
				return closer(func() { closed++ }), nil
			})
			if err == nil && kind == "second" && opened == 1 {
				err = fmt.Errorf("%w: it is gone", jobs.ErrNoFault)
			}
			return nil, err
		})
		spec := actions("first", "second")
		spec.MaxAttempts = 1
		id := r.submit(t, "a", spec)
		settle()
		if got := r.story(id); got != "created started progress progress retrying started progress progress completed" {
			t.Error(got)
		}
		if got := r.data(t, id, eventlog.TypeRetrying)[0]["error"]; got != jobs.ClassInterrupted {
			t.Errorf("it went back as %v", got)
		}
		if j := r.get(t, "a", id); j.Attempt != 1 || opened != 2 || closed != 2 {
			t.Errorf("attempt %d, %d opened, %d closed", j.Attempt, opened, closed)
		}
	})
}

func TestHosts(t *testing.T) {
	list := func(texts ...string) []string {
		out, err := jobs.ParseHosts(texts)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	h := jobs.Hosts{Allow: list("Shop.test.", " *.cdn.test", "10.0.0.1", "[2001:DB8::1]"), Deny: list("bad.cdn.test")}
	for host, want := range map[string]bool{
		"shop.test": true, "SHOP.test.": true, "a.shop.test": false, "cdn.test": false, "a.b.cdn.test": true, "xcdn.test": false,
		"bad.cdn.test": false, "bad.cdn.test.": false, "10.0.0.1": true, "::ffff:10.0.0.1": true, "10.0.0.2": false,
		"[2001:db8:0::1]": true, "2001:db8::2": false, "": false,
	} {
		if got := h.Permits(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if !(jobs.Hosts{}).Permits("any.test") || (jobs.Hosts{Deny: list("*.test")}).Permits("any.test") {
		t.Error("no list allows all, and a denied name is denied")
	}
	for _, bad := range []string{"", "*", "*.", "a..b", "http://a.test", "a.test:80", "a b", "ä.test", "*.*.test", "a*.test", strings.Repeat("a", 64) + ".test"} {
		if _, err := jobs.ParseHosts([]string{bad}); err == nil {
			t.Errorf("%q is taken for a host", bad)
		}
	}
	if _, err := jobs.ParseHosts(make([]string, jobs.MaxHosts+1)); err == nil {
		t.Error("too many hosts are taken")
	}
}
