package steps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// Pages are opened, waited for, gone back from; what does not load says why.
func TestNavigation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<h1>one</h1><a id=go href="/two">go</a><a id=dead href="http://127.0.0.1:1/">dead</a><a id=frag href="#x">frag</a>
		<a id=mail href="mailto:a@b.test">mail</a><button id=push onclick="history.pushState(0, '', '/pushed')">push</button>
		<form action="/two"><button id=form>form</button></form><button id=late onclick="setTimeout(() => location = '/two', 30)">late</button>`)
	s.mux.HandleFunc("/two", func(w http.ResponseWriter, r *http.Request) {
		wait(r, 150*time.Millisecond) // meanwhile the page is still the one before
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<h1>two</h1><img src="/slow">`)
	})
	s.mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { wait(r, 100*time.Millisecond) })
	s.mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s.mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/two", http.StatusFound) })
	s.mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) })
	s.mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	p := newPlayer(t, Config{})

	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	want(p.must(open(s.URL+"/moved")), `{"type":"navigate","url":"`+s.URL+`/two","status":200}`)
	want(p.must(`{"type":"navigate","url":"`+s.URL+`/gone","expectStatus":[410]}`), `{"type":"navigate","url":"`+s.URL+`/gone","status":410}`)
	p.fails(`{"type":"navigate","url":"`+s.URL+`/gone","expectStatus":200}`, "NavigationError: 410 at "+s.URL+"/gone")
	p.fails(open("http://127.0.0.1:1/"), "NavigationError: net::ERR_UNSAFE_PORT at http://127.0.0.1:1/")
	p.fails(open("http://nowhere.invalid/"), "NavigationError: net::ERR_NAME_NOT_RESOLVED at http://nowhere.invalid/")
	p.fails(`{"type":"navigate","url":"`+s.URL+`/never","timeout":500}`, "TimeoutError: Navigation timeout after 500ms")

	// What a click leads to is there when its step has ended.
	for _, id := range []string{"go", "form"} {
		p.must(open(s.URL), `{"type":"click","selector":"#`+id+`"}`)
		p.says("document.querySelector('h1').textContent", "two")
	}
	p.must(open(s.URL), `{"type":"click","selector":"#late","assertedEvents":[{"type":"navigation"}]}`)
	p.says("document.readyState + document.querySelector('h1').textContent", "completetwo")
	want(p.must(`{"type":"goBack"}`), `{"type":"goBack","url":"`+s.URL+`/","status":200}`)
	p.must(`{"type":"click","selector":"#push","assertedEvents":[{"type":"navigation"}]}`, `{"type":"click","selector":"#frag"}`)
	want(p.must(`{"type":"waitForUrl","pattern":"*/pushed#x"}`), `{"type":"waitForUrl","url":"`+s.URL+`/pushed#x","status":200}`)
	p.fails(`{"type":"waitForUrl","pattern":"https://*","timeout":100}`,
		`TimeoutError: Waiting for URL "https://*" failed: 100ms exceeded (the page is at `+s.URL+`/pushed#x)`)
	p.must(open(s.URL), `{"type":"click","selector":"#mail"}`, `{"type":"reload"}`)
	p.fails(`{"type":"click","selector":"h1","timeout":700,"assertedEvents":[{"type":"navigation"}]}`, "TimeoutError: Navigation timeout after 700ms")
	p.fails(`{"type":"click","selector":"#dead","assertedEvents":[{"type":"navigation"}]}`, "NavigationError: net::ERR_UNSAFE_PORT at http://127.0.0.1:1/")
}

// What the browser shows of a page that did not load is there when its step has failed, so
// that no later step takes it for its own.
func TestFailedPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.mux.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	p := newPlayer(t, Config{})
	for n := range 3 {
		p.fails(open(s.URL+"/cut"), "NavigationError: net::ERR_EMPTY_RESPONSE at "+s.URL+"/cut")
		if now := p.session.main.now(); now.commits != n+1 || now.failed == "" {
			t.Errorf("after %d failures the page is %+v", n+1, now)
		}
	}
}

func wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// A guard refuses URLs, before they are opened and when a page has come to one, and says
// in its own words why a page did not load.
func TestGuard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<a id=away href="/secret">away</a>`)
	s.page("/secret", `secret`)
	refusal := &jobs.ActionError{Class: ClassBlocked, Message: "no"}
	p := newPlayer(t, Config{
		Check: func(url string) error {
			if strings.HasSuffix(url, "/secret") {
				return refusal
			}
			return nil
		},
		Refused: func(url string) error {
			return &jobs.ActionError{Class: ClassBlocked, Message: url}
		},
	})
	p.must(open(s.URL))
	p.fails(open(s.URL+"/secret"), "BlockedAddress: no")
	p.fails(`{"type":"click","selector":"#away"}`, "BlockedAddress: no")
	p.must(`{"type":"waitForUrl","pattern":"about:blank"}`, open(s.URL))
	p.fails(open("http://nowhere.invalid/"), "BlockedAddress: http://nowhere.invalid/")
}

// Dialogs do not hold a page up, and a page that would not be left is left.
func TestDialogs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<button id=b onclick="alert(1); log.push(confirm('sure?'), prompt('name?', 'x'))">ask</button>
		<script>log = []; onbeforeunload = (e) => { e.preventDefault(); return '' }</script>`)
	s.page("/two", "two")
	p := newPlayer(t, Config{})
	p.must(open(s.URL), `{"type":"click","selector":"#b"}`)
	p.says("JSON.stringify(log)", "[false,null]")
	p.must(open(s.URL + "/two"))
	p.says("document.title", "/two")
}

// Steps go into pages that a page has opened, and close them.
func TestPopups(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<button id=b onclick="window.open('/popup', '', 'width=300')">open</button>`)
	s.page("/popup", `<button id=c onclick="document.title = 'clicked'; alert(1); opener.document.title = 'told'">x</button>`)
	p := newPlayer(t, Config{})
	popup := `"target":"` + s.URL + `/popup"`
	p.must(open(s.URL), `{"type":"click","selector":"#b"}`, `{"type":"click","selector":"#c",`+popup+`}`,
		`{"type":"setHeaders","headers":{"X-Test":"a"}}`, `{"type":"screenshot","name":"popup",`+popup+`}`, `{"type":"close",`+popup+`}`)
	p.says("document.title", "told")
	if len(p.files["popup.png"]) == 0 {
		t.Error("no picture of the popup")
	}
	p.fails(`{"type":"close",`+popup[:len(popup)-1]+`","timeout":300}`, "TimeoutError: Waiting for a page at "+s.URL+"/popup failed: 300ms exceeded")
	p.must(`{"type":"close","target":"main"}`)
	p.fails(`{"type":"scroll"}`, "BrowserClosed: the page was closed")
}

// A renderer that dies or hangs ends the step, and no other page's.
func TestBrokenPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.page("/", `<button id=b onclick="const r = new XMLHttpRequest(); r.open('GET', '/hung', false); r.send(); for (;;);">hang</button>`)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the job was cancelled")
	s.mux.HandleFunc("/hung", func(http.ResponseWriter, *http.Request) { cancel(gone) })
	other := newPlayer(t, Config{})
	other.must(open(s.URL))
	p := newPlayer(t, Config{})
	p.must(open(s.URL))
	step, _ := Parse([]byte(`{"type":"click","selector":"#b","timeout":30000}`), Options{})
	if _, err := p.session.Run(ctx, step, p.env()); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
	p.fails(`{"type":"hover","selector":"#b","timeout":700}`, `TimeoutError: Waiting for selector "#b" failed: 700ms exceeded (the page does not answer)`)
	other.must(`{"type":"hover","selector":"#b"}`)

	p = newPlayer(t, Config{})
	p.must(open(s.URL))
	p.crash()
	p.fails(`{"type":"hover","selector":"#b"}`, "PageCrashed: the page's process has ended")
	other.must(`{"type":"hover","selector":"#b"}`)
}
