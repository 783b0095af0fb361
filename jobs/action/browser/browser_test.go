package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == JailCommand {
		fmt.Fprintln(os.Stderr, Inside(os.Args[2:]))
		os.Exit(1)
	}
	if how := os.Getenv(orphanMode); how != "" {
		orphan(how)
	}
	goleak.VerifyTestMain(m)
}

// site is the one host that tests' pages come from; guard lets it be reached and asks the
// real guard about everything else.
type site struct{ *httptest.Server }

const siteHost = "site.test"

func newSite(t *testing.T, pages http.Handler) site {
	s := site{httptest.NewServer(pages)}
	t.Cleanup(s.Close)
	return s
}

type guard struct {
	*action.Guard
	site site
}

func (g guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(address); host == siteHost {
		return new(net.Dialer).DialContext(ctx, network, g.site.Listener.Addr().String())
	}
	return g.Guard.Dial(ctx, network, address)
}

// world is Browsers with a site.
type world struct {
	*testing.T
	*Browsers
}

func newWorld(t *testing.T, pages http.Handler, change func(*Options)) *world {
	t.Helper()
	o := Options{
		Path: Auto, Contexts: 2, Guard: guard{action.NewGuard(action.Options{}), newSite(t, pages)},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	w := &world{t, New(o)}
	t.Cleanup(w.Close)
	return w
}

// attempt is one of a job: its steps are run one after the other.
type attempt struct {
	w     *world
	env   jobs.Env
	scope jobs.Scope
}

func (w *world) attempt(job string) *attempt {
	a := &attempt{w: w, env: jobs.Env{Client: "a", JobID: job}}
	a.env.Scope = &a.scope
	w.Cleanup(a.scope.Close)
	return a
}

func (a *attempt) navigate(ctx context.Context, url string) error {
	raw, _ := json.Marshal(map[string]string{"type": "navigate", "url": url})
	return a.run(ctx, string(raw))
}

func (a *attempt) run(ctx context.Context, step string) error {
	_, err := action.New(a.w.Actions()...).Run(ctx, json.RawMessage(step), a.env)
	return err
}

// class checks that an error is of a class, retried or not, and says what is wanted.
func class(t *testing.T, err error, want string, retried bool, says string) {
	t.Helper()
	var e *jobs.ActionError
	if !errors.As(err, &e) || e.Class != want || e.Retryable != retried || !strings.Contains(e.Message, says) {
		t.Errorf("error %v, want %s, retried %v, with %q", err, want, retried, says)
	}
}

func showing(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, text)
	})
}

// until waits for something that other processes do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: " + what)
		}
	}
}

// TestNavigate: pages load in a jail, errors say why they did not, attempts share nothing
// but the browser, and nothing is left of it.
func TestNavigate(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, showing(`<h1>hello</h1>`), nil)
	a := w.attempt("1")
	if err := a.navigate(t.Context(), "http://site.test/"); err != nil {
		t.Fatal(err)
	}
	if err := a.navigate(t.Context(), "about:blank"); err != nil {
		t.Error(err)
	}
	class(t, a.navigate(t.Context(), "http://127.0.0.1:8080/"), action.ClassBlocked, false, "127.0.0.1")
	class(t, a.navigate(t.Context(), "https://localhost/"), action.ClassBlocked, false, "localhost")
	for _, url := range strings.Fields("file:///etc/passwd chrome://version view-source:http://site.test/ data:text/html,x blob:null/x blob:file:///x javascript:1 " +
		"ftp://site.test/ about:version devtools://devtools/ filesystem:http://site.test/temporary/x FILE:///etc/passwd") {
		class(t, a.navigate(t.Context(), url), action.ClassInvalid, false, "must be an http or https URL")
		class(t, checkURL(url), action.ClassBlocked, false, "http, https and about:blank only") // if a page comes to it
	}
	class(t, a.navigate(t.Context(), "http://nowhere.invalid/x?secret"), steps.ClassNavigation, true, "net::ERR_NAME_NOT_RESOLVED at http://nowhere.invalid/x")
	a.env.Hosts = jobs.Hosts{Allow: []string{"other.test"}}
	b := w.attempt("2")
	b.env.Hosts = a.env.Hosts
	class(t, b.navigate(t.Context(), "http://site.test/"), action.ClassBlocked, false, "not among those")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("cancelled")
	time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
	if err := a.navigate(ctx, "http://site.test/slow"); !errors.Is(err, gone) {
		t.Errorf("a cancelled step: %v", err)
	}
	if s := w.Stats(); !s.Running || s.Contexts != 2 || s.Refused != 3 || s.Starts != 1 {
		t.Errorf("stats are %+v", s)
	}
	if s := w.State(); !s.Available || !s.Running || s.Contexts != 2 || s.Jail != "bubblewrap" || !s.Sandbox {
		t.Errorf("state is %+v", s)
	}
	jailed(t, w.now.pid, outside)
	folder, pids := w.now.folder.path, pidsOf(w.now.pid)
	w.Close()
	nothingLeft(t, folder, pids)
}

func pidsOf(pid int) (pids []int) {
	for _, p := range processes(pid) {
		pids = append(pids, p.pid)
	}
	return pids
}

// jailed checks every process of a browser from outside.
func jailed(t *testing.T, pid int, outside string) {
	t.Helper()
	ln, err := net.Listen("unix", fmt.Sprintf("@jobcast-%d", os.Getpid())) // without a file
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if sockets, err := os.ReadFile("/proc/self/net/unix"); err != nil || !strings.Contains(string(sockets), ln.Addr().String()) {
		t.Errorf("the socket is not there: %v", err)
	}
	host, _ := os.Readlink("/proc/self/ns/net")
	renderers := 0
	for _, p := range processes(pid)[1:] { // the first one makes the jail
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		if err != nil {
			continue // it has just ended
		}
		status := string(raw)
		if os.Getuid() == 0 {
			root := fmt.Sprintf("/proc/%d/root", p.pid)
			for _, path := range []string{outside, "/run", "/home", "/root", "/var", "/etc/passwd", "/etc/hostname", "/usr/bin"} {
				if _, err := os.Stat(root + path); err == nil {
					t.Errorf("process %d sees %s", p.pid, path)
				}
			}
			if net, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.pid)); (err != nil || net == host) && lives(p.pid) {
				t.Errorf("process %d is in the network %s of the host, %v", p.pid, net, err)
			}
			if sockets, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", p.pid)); err == nil && strings.Contains(string(sockets), ln.Addr().String()) {
				t.Errorf("process %d sees the host's sockets", p.pid)
			}
			if strings.Contains(status, "Uid:\t0") {
				t.Errorf("process %d is root", p.pid)
			}
		}
		if p.renderer {
			renderers++
			for _, want := range []string{"Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"} {
				until(t, fmt.Sprintf("renderer %d gets %s", p.pid, want), func() bool { // before it has a page
					raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
					return err != nil || strings.Contains(string(raw), want)
				})
			}
		}
	}
	if renderers == 0 {
		t.Error("no renderer was found")
	}
}

func nothingLeft(t *testing.T, folder string, pids []int) {
	t.Helper()
	until(t, "its folder goes", func() bool {
		_, err := os.Stat(folder)
		return err != nil
	})
	until(t, "the browser's processes end", func() bool {
		return !slices.ContainsFunc(pids, lives)
	})
}

// lives reports whether a process has not ended. The system's first process may take its
// time to hear that it has.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " Z")
}

// TestDeaths: a page that crashes takes nobody along; a browser that dies is replaced, and
// counts against a job only if that was alone in it, or died with too many.
func TestDeaths(t *testing.T) {
	asked := make(chan struct{}, 10) // for what does not come
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			asked <- struct{}{}
		case "/half": // whose document is there
			showing(`<img src=/slow>`).ServeHTTP(w, r)
			return
		}
		showing(`<h1>hello</h1>`).ServeHTTP(w, r)
	}), func(o *Options) { o.Idle = 50 * time.Millisecond })
	a, b := w.attempt("a"), w.attempt("b")
	load := func(attempts ...*attempt) {
		t.Helper()
		for _, one := range attempts {
			if err := one.navigate(t.Context(), "http://site.test/"); err != nil {
				t.Fatal(err)
			}
		}
	}
	during := func(attempts []*attempt, do func()) []error {
		errs := make([]error, len(attempts))
		var running sync.WaitGroup
		for i, one := range attempts {
			running.Go(func() {
				errs[i] = one.navigate(t.Context(), []string{"http://site.test/half", "http://site.test/slow"}[i])
			})
		}
		for range attempts {
			<-asked
		}
		do()
		began := time.Now()
		running.Wait()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("steps ended %v after their browser", took)
		}
		return errs
	}
	load(a)
	for _, p := range processes(w.now.pid) {
		if p.renderer {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	until(t, "the crash is noticed", func() bool {
		err := a.navigate(t.Context(), "about:blank")
		if err != nil {
			class(t, err, steps.ClassCrashed, true, "")
		}
		return err != nil
	})
	load(b)
	first, pids := w.now, pidsOf(w.now.pid)
	a.scope.Close()
	class(t, during([]*attempt{b}, func() { _ = syscall.Kill(-first.pid, syscall.SIGKILL) })[0], steps.ClassClosed, true, "browser")
	b.scope.Close()
	nothingLeft(t, first.folder.path, pids)
	for _, counts := range []bool{false, true} {
		a, b = w.attempt("a"), w.attempt(fmt.Sprint("b", counts))
		load(a, b)
		errs := during([]*attempt{a, b}, func() { w.now.kill(nil, unresponsive) })
		if !errors.Is(errs[1], jobs.ErrNoFault) {
			t.Errorf("a job whose browser died with another: %v", errs[1])
		}
		if spared := errors.Is(errs[0], jobs.ErrNoFault); spared == counts {
			t.Errorf("it counts %v: %v", counts, errs[0])
		}
		a.scope.Close()
		b.scope.Close()
		for !counts && w.spare("a") { // as if it had happened as often as it may
		}
	}
	a = w.attempt("c")
	load(a)
	a.scope.Close()
	until(t, "the idle browser ends", func() bool { return !w.State().Running && w.Stats().Ends["idle"] == 1 })
	if s := w.Stats(); s.Starts != 4 || s.Ends["crashed"] != 1 || s.Ends["unresponsive"] != 2 || s.Contexts+int(s.Memory) != 0 {
		t.Errorf("stats are %+v", s)
	}
}

// TestMemory: a page that eats memory is ended, and says why; another one goes on.
func TestMemory(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/eats" {
			_, _ = io.WriteString(w, `<script>const all = []; for (;;) all.push(new Uint8Array(8 << 20).fill(1))</script>`)
		}
	}), func(o *Options) { o.MaxMemory = 400 << 20 })
	a, b := w.attempt("a"), w.attempt("b")
	if err := a.navigate(t.Context(), "http://site.test/"); err != nil {
		t.Fatal(err)
	}
	class(t, b.navigate(t.Context(), "http://site.test/eats"), steps.ClassCrashed, true, "--browser-max-memory")
	if err := a.navigate(t.Context(), "http://site.test/again"); err != nil {
		t.Errorf("another page: %v", err)
	}
	if s := w.Stats(); s.PagesEnded == 0 || s.Memory == 0 || s.MemoryLimit != 400<<20 {
		t.Errorf("stats are %+v", s)
	}
}

// TestMissing: without Chromium or a jail a step is refused, and says what to install; a
// program that does not become a browser says so when it is needed.
func TestMissing(t *testing.T) {
	raw := json.RawMessage(`{"type":"navigate","url":"http://a.test/"}`)
	faults := func(o Options) (says string) {
		for _, f := range action.New(New(o).Actions()...).ValidateAction(raw) {
			says += f.Pointer + f.Detail
		}
		return says
	}
	script := filepath.Join(t.TempDir(), "chromium")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for says, o := range map[string]Options{
		"": {Path: Auto}, "--browser=off": {Path: Off}, "script": {Path: script}, "cannot be opened": {Path: "/nowhere/chromium"},
	} {
		if got := faults(o); !strings.Contains(got, says) || (says == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", o, got, says)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if got := faults(Options{Path: Auto}); !strings.Contains(got, "install bubblewrap") {
		t.Errorf("without a jail: %q", got)
	}
	if got := faults(Options{Path: Auto, NoJail: true}); got != "" {
		t.Errorf("without need of a jail: %q", got)
	}
	w := newWorld(t, showing(""), func(o *Options) { o.Path, o.NoJail = "/bin/true", true })
	class(t, w.attempt("1").navigate(t.Context(), "about:blank"), ClassUnavailable, true, "did not start")
	if s := w.Stats(); s.Failures != 1 {
		t.Errorf("stats are %+v", s)
	}
	if s := w.State(); s.Available || s.Detail == "" {
		t.Errorf("state is %+v", s)
	}
	for from, says := range map[string]string{
		"chrome failed to start:\nbwrap: setting up uid map: Permission denied\n":                                       "setting up uid map",
		"chrome failed to start:\n[1:1:FATAL:zygote_host_impl_linux.cc(128)] No usable sandbox! /home/x\n":              "--browser-no-sandbox",
		"chrome failed to start:\n/home/x/secret: error while loading shared libraries: libx.so: no such file":          "the server's log",
		"chrome failed to start:\nbwrap: Can't find source path /home/x/jobcast-browser-1/jobcast: Permission denied\n": "TMPDIR",
		"chrome failed to start:\nbwrap: loopback: Failed RTM_NEWADDR: Operation not permitted\nmore of the inside":     "--browser-no-jail",
	} {
		if got := explainStart(errors.New(from)).Error(); !strings.Contains(got, says) || strings.Contains(got, "/home") || strings.Contains(got, "inside") {
			t.Errorf("%q is explained as %q", from, got)
		}
	}
}

// TestSocks: whatever a browser that was broken into says to its proxy, it gets nowhere.
func TestSocks(t *testing.T) {
	p := newProxy(action.NewGuard(action.Options{}), jobs.Hosts{}, new(tally))
	defer p.close()
	connect := func(kind byte, address string) string {
		return "\x05\x01\x00\x05\x01\x00" + string(kind) + address + "\x00\x50"
	}
	for _, said := range []string{
		"", "\x05", "\x04\x01", "\x05\x00", "GET / HTTP/1.1\r\n\r\n", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50",
		"\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50", connect(9, "x"), connect(socksName, "\x00"),
		connect(socksName, "\x09a b\r\n.test"), connect(socksIPv4, "\x7f\x00\x00\x01"), connect(socksName, "\x090x7f.0.0.1"),
		connect(socksIPv6, strings.Repeat("\x00", 10)+"\xff\xff\x7f\x00\x00\x01"), connect(socksIPv6, strings.Repeat("\x00", 15)+"\x01"),
		connect(socksName, "\x09localhost"), connect(socksName, "\x09127.0.0.1"),
	} {
		ours, theirs := net.Pipe()
		var served sync.WaitGroup
		served.Go(func() {
			p.serve(theirs)
			theirs.Close()
		})
		go func() {
			_, _ = io.WriteString(ours, said)
			if len(said) < 7 { // it would wait for more
				ours.Close()
			}
		}()
		answer, _ := io.ReadAll(ours)
		if len(answer) > 3 && answer[3] == 0 {
			t.Errorf("%q: %q", said, answer)
		}
		served.Wait()
		ours.Close()
	}
}
