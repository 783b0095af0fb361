package steps

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/jobs"
)

// browserName is Debian's headless Chromium, of the package chromium-headless-shell.
const browserName = "chromium-headless-shell"

// played has the types of steps that tests have carried out.
var played sync.Map

// chrome is the browser of all tests, nil if there is none.
var chrome *running

type running struct{ ctx context.Context }

func TestMain(m *testing.M) {
	code := withChrome(m)
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		for _, kind := range Types() {
			if _, ok := played.Load(kind); !ok {
				fmt.Fprintf(os.Stderr, "no test plays a step of type %s in a page\n", kind)
				code = 1
			}
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withChrome(m *testing.M) int {
	path, err := exec.LookPath(browserName)
	if err != nil {
		return m.Run() // the tests that need one fail, and say so
	}
	profile, err := os.MkdirTemp("", "steps")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(profile)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(profile))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, stop := chromedp.NewContext(allocator)
	defer stop()
	if err := chromedp.Do(ctx); err != nil {
		panic(err)
	}
	chrome = &running{ctx}
	return m.Run()
}

// site serves a test's pages.
type site struct {
	*httptest.Server
	mux *http.ServeMux
}

func newSite(t *testing.T) *site {
	s := &site{mux: http.NewServeMux()}
	s.Server = httptest.NewServer(s.mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// page serves a body at a path.
func (s *site) page(path, body string) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>%s</title><body>%s", path, body)
	})
}

// elsewhere is the site under another name, which is another site to the browser.
func (s *site) elsewhere() string { return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }

// player plays steps in a browser context of its own.
type player struct {
	t       *testing.T
	session *Session
	tab     context.Context
	secrets map[string]jobs.Secret

	mu    sync.Mutex
	data  map[string]string
	files map[string][]byte
}

func newPlayer(t *testing.T, c Config) *player {
	t.Helper()
	if chrome == nil {
		t.Fatal("missing: " + browserName + ", of the Debian package of that name; `make tools` installs it")
	}
	tab, cancel := chromedp.NewContext(chrome.ctx, chromedp.WithNewBrowserContext())
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	s, err := NewSession(tab, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		cancel()
	})
	return &player{t: t, session: s, tab: tab, data: make(map[string]string), files: make(map[string][]byte)}
}

func (p *player) env() jobs.Env {
	return jobs.Env{
		Secret: p.secret,
		Save: func(_ context.Context, name, contentType string, _ int64, r io.Reader) (jobs.Artifact, error) {
			b, err := io.ReadAll(r)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.files[name] = b
			return jobs.Artifact{Name: name, ContentType: contentType, Size: int64(len(b))}, err
		},
		Data: func(name string, value json.RawMessage) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.data[name] = string(value)
			return nil
		},
	}
}

// play runs steps until one fails.
func (p *player) play(steps ...string) (result string, _ error) {
	p.t.Helper()
	for _, raw := range steps {
		step, wrong := Parse(json.RawMessage(raw), Options{AllowEvaluate: true})
		if len(wrong) > 0 {
			p.t.Fatalf("%s: %v", raw, wrong)
		}
		played.Store(step.kind, true)
		played.Store(gjson.Get(raw, "type").String(), true)
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
		got, err := p.session.Run(ctx, step, p.env())
		cancel()
		if err != nil {
			return raw, err
		}
		out, err := json.Marshal(got)
		if err != nil {
			p.t.Fatal(err)
		}
		result = string(out)
	}
	return result, nil
}

// must runs steps that succeed.
func (p *player) must(steps ...string) string {
	p.t.Helper()
	result, err := p.play(steps...)
	if err != nil {
		p.t.Fatalf("%s: %v", result, errors.Join(err, errors.Unwrap(err)))
	}
	return result
}

// fails runs a step that fails as want says, class and message.
func (p *player) fails(step, want string) {
	p.t.Helper()
	_, err := p.play(step)
	if err == nil {
		p.t.Errorf("%s: no error, want %s", step, want)
	} else if err.Error() != want {
		p.t.Errorf("%s\n got %v\nwant %s", step, errors.Join(err, errors.Unwrap(err)), want)
	}
}

// text is what an expression says of the page.
func (p *player) text(expression string) string {
	p.t.Helper()
	raw, err := json.Marshal(map[string]string{"type": "evaluate", "name": "text", "expression": expression})
	if err != nil {
		p.t.Fatal(err)
	}
	p.must(string(raw))
	var s any
	if err := json.Unmarshal([]byte(p.data["text"]), &s); err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprint(s)
}

func (p *player) says(expression, want string) {
	p.t.Helper()
	if got := p.text(expression); got != want {
		p.t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

func open(url string) string { return `{"type":"navigate","url":"` + url + `"}` }

// crash ends the page's process.
func (p *player) crash() {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	go func() { _, _ = cdp.Call(ctx, p.session.main.target, page.Crash, cdp.Empty{}) }() // it has no answer
	for !p.session.main.gone() {
		if err := pause(ctx, pollPause); err != nil {
			p.t.Fatal(err)
		}
	}
}
