package client_test

import (
	"bufio"
	"context"
	"errors"
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
	cmd, err := serveExamples(dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "the examples' server: %v\n", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// serveExamples starts the server that the examples share, and names it where they
// look: in the environment.
func serveExamples(dir string) (*exec.Cmd, error) {
	key, err := makeKey(dir)
	if err != nil {
		return nil, err
	}
	cmd, addr, _, err := launch(dir)
	if err != nil {
		return nil, err
	}
	return cmd, errors.Join(os.Setenv("JOBCAST_URL", "http://"+addr), os.Setenv("JOBCAST_KEY", key))
}

// makeKey makes a key that may do everything.
func makeKey(dir string) (string, error) {
	out, err := exec.Command(program, "keys", "create", "--client=acme",
		"--scope=submit,watch,work,admin", "--max-connections=1000", "--data="+dir).Output()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// launch starts a server over a folder. What it prints behind the first line, which
// says where it listens, is left in out.
func launch(dir string) (cmd *exec.Cmd, addr string, out io.Reader, err error) {
	cmd = exec.Command(program, "serve", "--addr=127.0.0.1:0", "--data="+dir, "--log-level=error", "--shutdown-grace=1s")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("start server: %w", err)
	}
	lines := bufio.NewReader(pipe)
	first, err := lines.ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on http://")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		return nil, "", nil, fmt.Errorf("the server's first line is %q, %w", first, err)
	}
	return cmd, addr, lines, nil
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
	var err error
	if s.key, err = makeKey(s.dir); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	cmd, addr, out, err := launch(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	s.output.Go(func() { _, _ = io.Copy(io.Discard, out) })
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
