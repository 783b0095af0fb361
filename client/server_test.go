package client_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/client"
)

// program is the path of the built server, for all tests.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "jobcast-client-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "jobcast")
	build := exec.Command("go", "build", "-cover=false", "-o", program, "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the server: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// server is a real jobcast over a folder of its own. It can be ended and
// started again; then it has another address and the same folder.
type server struct {
	t   *testing.T
	dir string
	key string

	cmd    *exec.Cmd
	output sync.WaitGroup

	mu   sync.Mutex // guards addr
	addr string
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	made := exec.CommandContext(t.Context(), program, "keys", "create", "--client=acme",
		"--scope=submit,watch,work,admin", "--max-connections=1000", "--data="+s.dir)
	out, err := made.Output()
	if err != nil {
		t.Fatalf("make key: %v", err)
	}
	s.key = strings.TrimSpace(string(out))
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(program, "serve", "--addr=127.0.0.1:0", "--data="+s.dir, "--log-level=error", "--shutdown-grace=1s")
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatalf("start server: %v", err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	s.output.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	addr, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on http://")
	if err != nil || !ok {
		s.t.Fatalf("the server's first line is %q, %v", first, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = addr
}

// kill ends the server without a word.
func (s *server) kill() { s.end(syscall.SIGKILL) }

// stop lets the server drain.
func (s *server) stop() { s.end(syscall.SIGTERM) }

func (s *server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	s.output.Wait()
	_ = s.cmd.Wait() // killed, or drained
	s.cmd = nil
}

func (s *server) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// client returns a client that speaks with addr, or with the server itself if
// addr is empty.
func (s *server) client(addr string, o client.Options) *client.Client {
	s.t.Helper()
	if addr == "" {
		addr = s.address()
	}
	o.URL = "http://" + addr
	if o.Key == "" {
		o.Key = s.key
	}
	c, err := client.New(o)
	if err != nil {
		s.t.Fatalf("client: %v", err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// proxy passes TCP connections on to a server, as long as it likes.
type proxy struct {
	ln      net.Listener
	to      func() string
	cut     func(n int) int                                     // bytes that connection n (0, 1, …) may bring back to the client; negative: all
	meddle  func(n int, client, server net.Conn) (handled bool) // takes over a connection; nil: none
	running sync.WaitGroup

	mu    sync.Mutex // guards what follows
	count int
	open  map[net.Conn]struct{}
}

func startProxy(t *testing.T, to func() string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: to, cut: func(int) int { return -1 }, open: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		_ = ln.Close()
		p.cutAll()
		p.running.Wait()
	})
	return p
}

// serve begins to accept; the fields are set by then.
func (p *proxy) serve() string {
	p.running.Go(func() {
		for {
			nc, err := p.ln.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.pass(nc) })
		}
	})
	return p.ln.Addr().String()
}

// cutAll ends every connection now.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for nc := range p.open {
		_ = nc.Close()
	}
}

func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *proxy) pass(down net.Conn) {
	defer down.Close()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	up, err := d.DialContext(ctx, "tcp", p.to())
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	n := p.count
	p.count++
	p.open[down], p.open[up] = struct{}{}, struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.open, down)
		delete(p.open, up)
		p.mu.Unlock()
	}()
	if p.meddle != nil && p.meddle(n, down, up) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	})
	var from io.Reader = up
	if limit := p.cut(n); limit >= 0 {
		from = io.LimitReader(up, int64(limit))
	}
	_, _ = io.Copy(down, from)
	_ = down.Close()
	wg.Wait()
}
