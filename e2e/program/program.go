// Package program builds the real jobcast binary and runs its server for tests
// that drive it from outside.
package program

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobcast/jobcast/docs/contract"
)

// startTimeout is how long a server may take to say its address: building is
// not included, migrating an empty folder is.
const startTimeout = 2 * time.Minute

// stopTimeout is how long a server may take to go down after SIGTERM before
// the test fails. It is longer than the server's own grace of one second.
const stopTimeout = 2 * time.Minute

// Server is a running `jobcast serve` on a free port, over an empty data folder
// of its own.
type Server struct {
	URL  string // http://<address>:<port>; loopback unless a flag says otherwise
	Key  string // the key that a first start makes and prints
	Data string // the folder
	PID  int

	binary string
	log    *transcript
}

// Build builds the binary into a folder of the test and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "jobcast")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build jobcast: %v\n%s", err, out)
	}
	return binary
}

// Start is Unwatched behind a proxy, which holds all that goes over it to the documents of
// the interface.
func Start(t testing.TB, binary string, flags ...string) *Server {
	t.Helper()
	watch := contract.New(t, "")
	s := Unwatched(t, binary, flags...)
	s.URL = watch.Proxy(t, s.URL)
	return s
}

// Unwatched runs the server of a built binary, with more flags, and waits until it
// has said its address and key. It stops it with SIGTERM when the test ends, and
// fails the test if that does not end it with status 0.
func Unwatched(t testing.TB, binary string, flags ...string) *Server {
	t.Helper()
	s := &Server{Data: t.TempDir(), binary: binary, log: &transcript{found: make(chan struct{})}}
	args := []string{"serve", "--addr=127.0.0.1:0", "--data=" + s.Data, "--shutdown-grace=1s", "--log-level=warn"}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, append(args, flags...)...)
	cmd.Env = Environ()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("server output: %v", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatalf("start server: %v", err)
	}
	s.PID = cmd.Process.Pid
	read := make(chan struct{}) // closed by the reader below when the output ends
	go func() {
		defer close(read)
		s.log.readFrom(out)
	}()
	t.Cleanup(func() { s.stop(t, cmd, read) })

	select {
	case <-s.log.found:
	case <-read:
		t.Fatalf("server ended before it said its address and key:\n%s", s.log)
	case <-time.After(startTimeout):
		t.Fatalf("server did not say its address and key:\n%s", s.log)
	}
	s.URL, s.Key = s.log.address()
	return s
}

func (s *Server) stop(t testing.TB, cmd *exec.Cmd, read <-chan struct{}) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop server: %v", err)
	}
	kill := time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	<-read // Wait closes the pipe, so all output is read first
	if err := cmd.Wait(); err != nil {
		t.Errorf("server did not end cleanly: %v\n%s", err, s.log)
	}
	if t.Failed() {
		t.Logf("server output:\n%s", s.log)
	}
}

// transcript is what the server printed.
type transcript struct {
	mu       sync.Mutex // guards text, url, key
	text     strings.Builder
	url, key string

	found chan struct{} // closed by readFrom once url and key are known
}

var (
	urlPattern = regexp.MustCompile(`http://[0-9.]+:\d+`)
	keyPattern = regexp.MustCompile(`jc_[0-9A-Za-z]+_[0-9A-Za-z_-]+`)
)

func (l *transcript) readFrom(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		l.add(lines.Text())
	}
}

func (l *transcript) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.url != "" && l.key != ""
	l.text.WriteString(line + "\n")
	if l.url == "" {
		l.url = urlPattern.FindString(line)
	}
	if l.key == "" {
		l.key = keyPattern.FindString(line)
	}
	if !known && l.url != "" && l.key != "" {
		close(l.found)
	}
}

func (l *transcript) address() (url, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.url, l.key
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// root is the folder of go.mod: this file lies two levels below it.
func root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no source path in this binary")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Environ is the environment without the settings of a jobcast that the
// developer may be running.
func Environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "JOBCAST_") && !strings.HasPrefix(kv, "MAX_CONNECTIONS_PER_KEY=") {
			env = append(env, kv)
		}
	}
	return env
}
