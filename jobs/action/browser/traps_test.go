package browser

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs/action"
)

// traps count what reaches this machine from a page: TCP and UDP, IPv4 and IPv6, on
// loopback and on the addresses of its network.
type traps struct {
	tcp, udp string // ports

	mu   sync.Mutex // guards hits
	hits []string
}

func setTraps(t *testing.T) *traps {
	t.Helper()
	tr := &traps{}
	ln, err := net.Listen("tcp", ":0") // both families
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_, tr.tcp, _ = net.SplitHostPort(ln.Addr().String())
	_, tr.udp, _ = net.SplitHostPort(pc.LocalAddr().String())
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		pc.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			line := make([]byte, 64)
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			n, _ := c.Read(line)
			tr.hit(fmt.Sprintf("tcp from %v: %q", c.RemoteAddr(), line[:n]))
			c.Close()
		}
	})
	running.Go(func() {
		packet := make([]byte, 64)
		for {
			n, from, err := pc.ReadFrom(packet)
			if err != nil {
				return
			}
			tr.hit(fmt.Sprintf("udp from %v: %q", from, packet[:n]))
		}
	})
	return tr
}

func (tr *traps) hit(what string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.hits = append(tr.hits, what)
}

// targets are hosts that must not be reached from a page: of all kinds, and those on which
// the traps listen.
func targets() []string {
	all := []string{
		"127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0.0.0.0", "[::]", "0",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "sub.localhost", "127.0.0.1.", "localhost.",
		"169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[2002:7f00:1::]",
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			all = append(all, n.IP.String())
		}
	}
	return all
}

// waysOut is what a page does to reach TARGET, a host with a port, and UDP.
const waysOut = `<link rel=prefetch href=http://TARGET/prefetch><link rel=preconnect href=http://TARGET><link rel=dns-prefetch href=//TARGET>
<link rel=stylesheet href=http://TARGET/css><link rel=preload as=font crossorigin href=http://TARGET/font><link rel=icon href=http://TARGET/icon>
<img src=http://TARGET/img><iframe src=http://TARGET/iframe></iframe><iframe src="/redirect?http://TARGET/redirected"></iframe>
<script src=http://TARGET/script></script><script type=module src=http://TARGET/module></script><video src=http://TARGET/video></video>
<audio src=http://TARGET/audio></audio><object data=http://TARGET/object></object><embed src=http://TARGET/embed>
<a id=ping href=#x ping=http://TARGET/ping></a><form id=form method=post action=http://TARGET/form target=f></form><iframe name=f></iframe>
<iframe srcdoc="<meta http-equiv=refresh content='0;url=http://TARGET/refresh'>"></iframe>
<script>(host => {
  const quiet = f => { try { const p = f(); if (p && p.catch) p.catch(() => {}) } catch (e) {} };
  quiet(() => fetch('http://' + host + '/fetch', {mode: 'no-cors'}));
  quiet(() => fetch('/redirect?http://' + host + '/fetched', {mode: 'no-cors'}));
  quiet(() => { const x = new XMLHttpRequest(); x.open('GET', 'http://' + host + '/xhr'); x.send() });
  quiet(() => navigator.sendBeacon('http://' + host + '/beacon', 'x'));
  quiet(() => new WebSocket('ws://' + host + '/ws'));
  quiet(() => new WebSocket('wss://' + host + '/wss'));
  quiet(() => new EventSource('http://' + host + '/sse'));
  quiet(() => new Worker(URL.createObjectURL(new Blob(["fetch('http://" + host + "/worker', {mode: 'no-cors'}).catch(() => {})"]))));
  quiet(() => new SharedWorker('http://' + host + '/shared'));
  quiet(() => import('http://' + host + '/import'));
  quiet(() => document.getElementById('form').submit());
  quiet(() => document.getElementById('ping').click());
  quiet(() => window.open('http://' + host + '/popup'));
  quiet(() => { const t = new WebTransport('https://' + host.replace(/:\d+$/, '') + ':UDP/'); t.ready.catch(() => {}); t.closed.catch(() => {}) });
  for (const url of ['file:///etc/passwd', 'chrome://version', 'view-source:http://' + host + '/source', 'ftp://' + host + '/', 'filesystem:http://' + host + '/x']) {
    quiet(() => fetch(url));
    quiet(() => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) });
    if (/^file|^view/.test(url)) quiet(() => window.open(url));
  }
  quiet(() => {
    const ice = host.replace(/:\d+$/, '') + ':UDP';
    const pc = new RTCPeerConnection({iceServers: [{urls: 'stun:' + ice}, {urls: 'turn:' + host + '?transport=tcp', username: 'a', credential: 'b'}]});
    pc.createDataChannel('x');
    return pc.createOffer().then(o => pc.setLocalDescription(o)).then(() =>
      pc.addIceCandidate({candidate: 'candidate:1 1 udp 2113937151 ' + host.replace(/:\d+$/, '') + ' UDP typ host', sdpMid: '0', sdpMLineIndex: 0}));
  });
})('TARGET')</script>`

// trapPage tries all ways to each of some targets, and says when it has had its time.
func trapPage(tr *traps, targets []string) string {
	var b strings.Builder
	b.WriteString("<!doctype html><title>traps</title><body>")
	for _, host := range targets {
		b.WriteString(strings.NewReplacer("TARGET", host+":"+tr.tcp, "UDP", tr.udp).Replace(waysOut))
	}
	b.WriteString("<script>addEventListener('load', () => setTimeout(() => fetch('/done'), 1000))</script>")
	return b.String()
}

// TestTraps: however a page tries, nothing of this machine or its network hears of it. With
// JOBCAST_TRAPS=all every target is tried, in every program that is there; else a few
// targets, in the program that is taken.
func TestTraps(t *testing.T) {
	all, found := targets(), []string{Auto}
	if os.Getenv("JOBCAST_TRAPS") == "all" {
		found = slices.DeleteFunc(programs(), func(path string) bool { return CheckProgram(path) != nil })
	} else {
		all = append(all[:2:2], all[len(all)-1])
	}
	const perPage = 4
	for _, program := range found {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s without a jail %v", filepath.Base(program), bare), func(t *testing.T) {
				tr := setTraps(t)
				done := make(chan struct{}, 100)
				var pages []string
				for rest := all; len(rest) > 0; rest = rest[min(perPage, len(rest)):] {
					pages = append(pages, trapPage(tr, rest[:min(perPage, len(rest))]))
				}
				w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n := 0
					switch _, err := fmt.Sscanf(r.URL.Path, "/page%d", &n); {
					case err == nil && n < len(pages):
						w.Header().Set("Content-Type", "text/html")
						_, _ = io.WriteString(w, pages[n])
					case r.URL.Path == "/redirect":
						w.Header().Set("Location", r.URL.RawQuery)
						w.WriteHeader(http.StatusFound)
					case r.URL.Path == "/done":
						done <- struct{}{}
					}
				}), func(o *Options) { o.Path, o.NoJail = program, bare })
				a := w.attempt("1")
				for i := range pages {
					if err := a.navigate(t.Context(), fmt.Sprintf("http://site.test/page%d", i)); err != nil {
						t.Fatal(err)
					}
					select {
					case <-done:
					case <-time.After(30 * time.Second):
						t.Fatal("the page did not come to its end")
					}
				}
				class(t, a.navigate(t.Context(), "http://127.0.0.1:"+tr.tcp+"/navigate"), action.ClassBlocked, false, "127.0.0.1")
				class(t, a.navigate(t.Context(), "http://site.test/redirect?http://localhost:"+tr.tcp+"/redirected"), action.ClassBlocked, false, "localhost")
				folder, pids := w.now.folder, pidsOf(w.now.pid)
				w.Close()
				nothingLeft(t, folder, pids)
				tr.mu.Lock()
				defer tr.mu.Unlock()
				if len(tr.hits) > 0 {
					t.Errorf("%d hits: %.600s", len(tr.hits), tr.hits)
				}
			})
		}
	}
}
