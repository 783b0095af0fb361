package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
)

// waysOut is what a page does to reach TARGET, a host with a port, and UDP. The last part of
// each path names the way.
const waysOut = `<link rel=prefetch href=http://TARGET/prefetch><link rel=preconnect href=http://TARGET><link rel=dns-prefetch href=//dns.HOST>
<link rel=stylesheet href=http://TARGET/css><link rel=stylesheet media=print href=http://TARGET/print><link rel=preload as=font crossorigin href=http://TARGET/font>
<link rel=icon href=http://TARGET/icon><link rel=modulepreload href=http://TARGET/modulepreload><input type=image src=http://TARGET/input>
<img src=http://TARGET/img><iframe src=http://TARGET/iframe></iframe><iframe src="/redirect?http://TARGET/redirected"></iframe>
<script src=http://TARGET/script></script><script type=module src=http://TARGET/module></script><video src=http://TARGET/video></video>
<audio src=http://TARGET/audio></audio><object data=http://TARGET/object></object><embed src=http://TARGET/embed>
<embed type=application/pdf src=http://TARGET/pdf><svg><image href=http://TARGET/svg /></svg><p style="background:url(http://TARGET/background)">
<a id=ping href=#x ping=http://TARGET/ping></a><form id=form method=post action=http://TARGET/form target=f></form><iframe name=f></iframe>
<iframe srcdoc="<meta http-equiv=refresh content='0;url=http://TARGET/refresh'>"></iframe><iframe srcdoc="<a id=l download href=http://TARGET/download></a><script>l.click()</script>"></iframe>
<iframe src="data:text/html,<img src=http://TARGET/data>"></iframe>
<script>(host => {
  const quiet = f => { try { const p = f(); if (p && p.catch) p.catch(() => {}) } catch (e) {} };
  const bare = host.replace(/:\d+$/, '');
  quiet(() => fetch('http://' + host + '/fetch', {mode: 'no-cors'}));
  quiet(() => fetch('/redirect?http://' + host + '/fetched', {mode: 'no-cors'}));
  quiet(() => { const x = new XMLHttpRequest(); x.open('GET', 'http://' + host + '/xhr'); x.send() });
  quiet(() => navigator.sendBeacon('http://' + host + '/beacon', 'x'));
  quiet(() => new WebSocket('ws://' + host + '/ws'));
  quiet(() => new WebSocket('wss://' + host + '/wss'));
  quiet(() => new EventSource('http://' + host + '/sse'));
  const blob = (text, type) => URL.createObjectURL(new Blob([text], {type}));
  quiet(() => new Worker(blob("fetch('http://" + host + "/worker', {mode: 'no-cors'}).catch(() => {})")));
  quiet(() => new SharedWorker(blob("fetch('http://" + host + "/shared', {mode: 'no-cors'}).catch(() => {})")));
  quiet(() => navigator.serviceWorker.register('/sw.js?' + host, {scope: '/' + bare + '/'}));
  quiet(() => import('http://' + host + '/import'));
  quiet(() => document.getElementById('form').submit());
  quiet(() => document.getElementById('ping').click());
  quiet(() => window.open('http://' + host + '/popup'));
  quiet(() => { const f = document.createElement('iframe'); f.src = blob('<img src=http://' + host + '/blob>', 'text/html'); document.body.append(f) });
  quiet(() => { const t = new WebTransport('https://' + bare + ':UDP/'); t.ready.catch(() => {}); t.closed.catch(() => {}) });
  for (const url of ['file:///etc/passwd', 'chrome://version', 'view-source:http://' + host + '/source', 'ftp://' + host + '/ftp', 'filesystem:http://' + host + '/filesystem']) {
    quiet(() => fetch(url));
    quiet(() => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) });
    if (FIRST && /^file|^view/.test(url)) quiet(() => window.open(url));
  }
  quiet(() => {
    const pc = new RTCPeerConnection({iceServers: [{urls: 'stun:' + bare + ':UDP'}, {urls: 'turn:' + host + '?transport=tcp', username: 'a', credential: 'b'}]});
    pc.createDataChannel('x');
    return pc.createOffer().then(o => pc.setLocalDescription(o)).then(() =>
      pc.addIceCandidate({candidate: 'candidate:1 1 udp 2113937151 ' + bare.replace(/^\[|\]$/g, '') + ' UDP typ host', sdpMid: '0', sdpMLineIndex: 0}));
  });
  for (const id of ['form', 'ping']) document.getElementById(id).remove();
})('TARGET')</script>`

// mustHit are the ways that are open if nobody guards them: a trap that none of these
// reaches is none.
const mustHit = "audio background beacon blob css csp data download embed fetch fetched font form iframe img import input module navigate object " +
	"ping popup prefetch print redirected refresh script service-worker shared sse svg tls udp video worker ws xhr again"

// trapSite is the site from which pages try all ways to some targets each.
type trapSite struct {
	tr    *traps
	names *names
	pages [][]string
	pause time.Duration // that a page has after it has loaded
	done  chan struct{} // a page has had it
}

// host is a secure origin, with service workers and WebTransport, for one half of the pages.
func (s *trapSite) host(page int) string {
	if page%2 == 0 {
		return "site.localhost"
	}
	return siteHost
}

func (s *trapSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := 0
	w.Header().Set("Content-Type", "text/html")
	switch _, err := fmt.Sscanf(r.URL.Path, "/page%d", &n); {
	case strings.HasPrefix(r.Host, "rebind"):
		if r.URL.Path == "/iframe" {
			s.names.turn(r.Host)
		}
		_, _ = io.WriteString(w, `<script>setInterval(() => fetch('/again', {cache: 'no-store'}).catch(() => {}), 50)</script>`)
	case err == nil && n < len(s.pages):
		s.page(w, s.pages[n])
	case r.URL.Path == "/redirect":
		w.Header().Set("Location", r.URL.RawQuery)
		w.WriteHeader(http.StatusFound)
	case r.URL.Path == "/sw.js":
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = fmt.Fprintf(w, `oninstall = (e) => e.waitUntil(fetch('http://%s/service-worker', {mode: 'no-cors'}).catch(() => {}))`, r.URL.RawQuery)
	case r.URL.Path == "/done":
		s.done <- struct{}{}
	}
}

func (s *trapSite) page(w http.ResponseWriter, targets []string) {
	report := "style-src 'none'; report-uri"
	var b strings.Builder
	b.WriteString("<!doctype html><title>traps</title><body>")
	for i, host := range targets {
		b.WriteString(strings.NewReplacer("FIRST", fmt.Sprint(i == 0), "TARGET", host+":"+s.tr.tcp, "UDP", s.tr.udp, "HOST", strings.Trim(host, "[]")).Replace(waysOut))
		report += " http://" + host + ":" + s.tr.tcp + "/csp"
	}
	b.WriteString(strings.Replace("<script>addEventListener('load', () => setTimeout(() => fetch('/done'), PAUSE)); document.title = document.styleSheets.length</script>", "PAUSE", fmt.Sprint(s.pause.Milliseconds()), 1))
	w.Header().Set("Content-Security-Policy-Report-Only", report)
	_, _ = io.WriteString(w, b.String())
}

// trapGuard lets the site be reached under its names.
type trapGuard struct {
	Guard
	site site
}

func (g trapGuard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(address); host == siteHost || host == "site.localhost" {
		return new(net.Dialer).DialContext(ctx, network, g.site.Listener.Addr().String())
	}
	return g.Guard.Dial(ctx, network, address)
}

// tryAll has pages try everything, and returns the hits by way.
func tryAll(t *testing.T, program string, targets []string, perPage int, pause time.Duration, change func(*Options)) map[string]int {
	s := &trapSite{names: resolve(t), pause: pause, done: make(chan struct{}, 100)}
	s.tr = setTraps(t, s)
	for chunk := range slices.Chunk(targets, perPage) {
		s.pages = append(s.pages, chunk)
	}
	w := newWorld(t, s, func(o *Options) {
		o.Guard = trapGuard{o.Guard.(guard).Guard, o.Guard.(guard).site}
		o.Path = program
		change(o)
	})
	var running sync.WaitGroup
	next := make(chan int, len(s.pages))
	for i := range s.pages {
		next <- i
	}
	close(next)
	for range 2 {
		running.Go(func() {
			for i := range next {
				s.try(t, w, i)
			}
		})
	}
	running.Wait()
	folder, pids := w.now.folder.path, pidsOf(w.now.pid)
	w.Close()
	nothingLeft(t, folder, pids)
	return s.tr.caught()
}

// try has one page try everything, prints it, and then tries steps.
func (s *trapSite) try(t *testing.T, w *world, page int) {
	a := w.attempt(fmt.Sprint(page))
	defer a.scope.Close()
	a.env.Save = func(_ context.Context, name, _ string, _ int64, r io.Reader) (jobs.Artifact, error) {
		_, err := io.Copy(io.Discard, r)
		return jobs.Artifact{Name: name}, err
	}
	if err := a.navigate(t.Context(), fmt.Sprintf("http://%s/page%d", s.host(page), page)); err != nil {
		t.Errorf("page %d: %v", page, err)
		return
	}
	select {
	case <-s.done:
	case <-time.After(60 * time.Second):
		t.Errorf("page %d did not come to its end", page)
	}
	if err := a.step(t.Context(), `{"type":"pdf","name":"page"}`); err != nil {
		t.Errorf("page %d was not printed: %v", page, err)
	}
	for _, host := range s.pages[page] {
		for _, url := range []string{"http://" + host + ":" + s.tr.tcp + "/navigate", "http://site.test/redirect?http://" + host + ":" + s.tr.tcp + "/redirected"} {
			_ = a.navigate(t.Context(), url) // whatever it says: the traps say more
		}
	}
}

func (a *attempt) step(ctx context.Context, raw string) error {
	_, err := action.New(a.w.Actions()...).Run(ctx, json.RawMessage(raw), a.env)
	return err
}

// TestTraps: however a page tries, nothing of this machine or its network hears of it. With
// JOBCAST_TRAPS=all every target is tried, in every program that is there; else a few
// targets, in the program that is taken. Without a guard the traps catch what comes.
func TestTraps(t *testing.T) {
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	all, found, perPage := targets(), []string{Auto}, 8
	if len(all) < 150 {
		t.Errorf("%d targets", len(all))
	}
	if os.Getenv("JOBCAST_TRAPS") == "all" {
		found = slices.DeleteFunc(programs(), func(path string) bool { return CheckProgram(path) != nil })
	} else {
		all = all[:3]
	}
	for _, program := range found {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s without a jail %v", filepath.Base(program), bare), func(t *testing.T) {
				hits := tryAll(t, program, all, perPage, time.Second, func(o *Options) { o.NoJail = bare })
				if len(hits) > 0 {
					t.Errorf("hits: %v", hits)
				}
			})
		}
	}
	t.Run("without a guard", func(t *testing.T) {
		hits := tryAll(t, Auto, []string{"127.0.0.1", "rebind.trap.test"}, 2, 200*time.Millisecond, func(o *Options) {
			o.NoJail, o.leaky = true, true
			o.Guard = trapGuard{action.NewGuard(action.Options{AllowPrivateAddresses: true}), o.Guard.(trapGuard).site}
		})
		var missed []string
		for _, way := range strings.Fields(mustHit) {
			if hits[way] == 0 {
				missed = append(missed, way)
			}
		}
		t.Logf("caught: %v", slices.Sorted(maps.Keys(hits)))
		if len(missed) > 0 {
			t.Errorf("the traps do not catch %v", missed)
		}
	})
}
