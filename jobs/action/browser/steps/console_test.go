package steps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// lines collects what pages log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) write(_ context.Context, some []jobs.LogLine) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range some {
		l.all = append(l.all, one.Level+" "+one.Line)
	}
	return nil
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Join(l.all, "\n")
	l.all = nil
	return all
}

// until waits for something that the browser does.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: " + what)
		}
	}
}

// What pages log, throw and do not find stands in the log, with its place, from a level
// on: also of pages that others open, from their beginning, and of iframes elsewhere.
func TestConsole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<script>console.info('info'); console.debug('debug')
console.log('%s is %d%%', 'tea', 3, {a: 1, b: 'x', c: [1, null]}, [1, 'two'], null, undefined, NaN, new Error('e').message, '%s')
console.warn('warn: tea & biscuits'); console.error('x'.repeat(3000))
console.assert(false, 'why'); console.clear(); console.table([])
Promise.reject(new TypeError('rejected')); queueMicrotask(() => { throw 'thrown' })
</script>`)
	s.page("/leaf", `<script>console.error('leaf')</script>`)
	s.page("/popup", `<script>console.error('popup')</script><iframe src="`+s.elsewhere()+`/leaf"></iframe><p id=p>`)
	s.mux.HandleFunc("/none", http.NotFound)
	var got lines
	p := newPlayer(t, Config{Console: "info", Log: got.write})
	p.session.secrets.Add("tea & biscuits")
	p.must(open(s.URL + "/"))
	at := " (" + s.URL + "/:"
	want := []string{
		"info info" + at + "1:", `info tea is 3% {a: 1, b: "x", c: Array(2)} [1, "two"] null undefined NaN e %s` + at + "2:9)",
		"warn warn: ***" + at + "3:9)", "error " + strings.Repeat("x", maxLine) + "…" + at + "3:", "error why" + at + "4:9)", "info []" + at + "4:",
		"error Uncaught thrown" + at + "5:", "error Uncaught (in promise) TypeError: rejected" + at + "5:",
	}
	all := strings.Split(got.take(), "\n")
	if len(all) < len(want) {
		t.Fatalf("%q", all)
	}
	for i := range want {
		if !strings.HasPrefix(all[i], want[i]) {
			t.Errorf("%q, want %q", all[i], want[i])
		}
	}
	p.must(`{"type":"evaluate","expression":"fetch('/none')"}`)
	heard := func(want ...string) {
		t.Helper()
		until(t, fmt.Sprintf("%q is heard", want), func() bool {
			got.mu.Lock()
			defer got.mu.Unlock()
			all := strings.Join(got.all, "\n")
			return !slices.ContainsFunc(want, func(one string) bool { return !strings.Contains(all, one) })
		})
		got.take()
	}
	heard("error Failed to load resource: the server responded with a status of 404 (Not Found) (" + s.URL + "/none)")
	p.must(`{"type":"evaluate","expression":"open('/popup') && 0"}`, `{"type":"waitForElement","selector":"#p","target":"`+s.URL+`/popup"}`)
	heard("error popup ("+s.URL, "error leaf ("+s.elsewhere())
	p.must(`{"type":"evaluate","expression":"setTimeout(() => console.error('late')) && 0"}`)
	heard("error late")
	p.session.secrets.Add("pa%düss")
	p.must(`{"type":"evaluate","expression":"console.error('pa%düss', 7, '50%ü'), console.error('50%ü'), 0"}`)
	heard("error *** 7 50%ü", "error 50%ü")
	long := strings.Repeat("4f7a", 40)
	p.session.secrets.Add(long)
	p.must(`{"type":"evaluate","expression":"console.error({s: '` + long + `', r: /` + long + `/, e: new RangeError('` + strings.Repeat("x", 60) + long + `')}), 0"}`)
	heard(`error {s: "…", r: …, e: …}`)
	p.must(`{"type":"evaluate","expression":"Array.from({length: 1500}, (_, i) => console.error('line ' + i)).length"}`)
	p.session.Close() // which writes what is left
	told, rest := 0, got.take()
	for line := range strings.SplitSeq(rest, "\n") {
		var n int
		if _, err := fmt.Sscanf(line, "warn jobcast left out %d lines", &n); err == nil {
			told += n
		} else if strings.HasPrefix(line, "error line ") {
			told++
		}
	}
	if told != 1500 || strings.Count(rest, "\n") > 1000 {
		t.Errorf("of 1500 lines %d are told of: %s", told, rest)
	}
}

// Of a page that logs without end, so many lines a second stand in the log and so many in
// all, and how many do not.
func TestConsoleBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got lines
		refusal := errors.New("storage is full")
		c := newConsole(Config{Console: "warn", Log: func(ctx context.Context, some []jobs.LogLine) error {
			return errors.Join(refusal, got.write(ctx, some))
		}})
		if newConsole(Config{}) != nil {
			t.Error("somebody wants what nobody asked for")
		}
		flood := func() []string {
			for range 2 * windowLines {
				c.add(message{Level: "error", Text: "e"})
				c.add(message{Level: "info", Text: "i"})
			}
			c.send(t.Context())
			return strings.Split(got.take(), "\n")
		}
		if all := flood(); len(all) != windowLines || all[windowLines-1] != "error e" {
			t.Errorf("%d lines, %q", len(all), all)
		}
		for range attemptLines/windowLines - 1 {
			time.Sleep(lineWindow)
			if all := flood(); len(all) != windowLines+1 || all[0] != "warn jobcast left out 100 lines of the console" {
				t.Fatalf("%d lines, %q", len(all), all[0])
			}
		}
		time.Sleep(lineWindow)
		if all := flood(); len(all) != 1 || all[0] != "" {
			t.Errorf("%q", all)
		}
		c.end()
		if all := got.take(); all != "warn jobcast left out 300 lines of the console" {
			t.Errorf("%q", all)
		}
	})
}
