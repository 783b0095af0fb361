package cmd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary returns the path of the program as users run it. It is built once, by the
// first test that needs it; TestMain removes it.
func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(binaryDir, "jobcast")
	build := exec.Command("go", "build", "-cover=false", "-o", path, ".")
	build.Dir = ".." // the main package
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// binaryDir is a folder for built.
var binaryDir string

// process is a running `jobcast serve`.
type process struct {
	cmd    *exec.Cmd
	first  string // its first line
	addr   string
	stderr bytes.Buffer // read only after it has ended
	drain  sync.WaitGroup
}

// serve starts the program on dir and waits for its first line. It is killed
// when the test ends, if it still runs.
func serve(t *testing.T, binary, dir string, more ...string) *process {
	t.Helper()
	args := append([]string{"serve", "--addr=127.0.0.1:0", "--data=" + dir, "--log-level=warn", "--shutdown-grace=2s"}, more...)
	p := &process{cmd: exec.Command(binary, args...)}
	for _, kv := range os.Environ() { // settings of a program the developer may be running
		if !strings.HasPrefix(kv, "JOBCAST_") && !strings.HasPrefix(kv, "MAX_CONNECTIONS_PER_KEY=") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.kill()
		}
	})
	lines := bufio.NewReader(out)
	p.first, err = lines.ReadString('\n')
	p.drain.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	if err != nil {
		p.kill()
		t.Fatalf("the first line: %v; %s", err, &p.stderr)
	}
	p.addr = strings.TrimPrefix(strings.TrimSpace(p.first), "listening on http://")
	return p
}

// kill ends the process as a power cut of the program would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.drain.Wait()
	_ = p.cmd.Wait() // the error says that it was killed
}

// TestProcess: what a person or a supervisor sees of the program.
func TestProcess(t *testing.T) {
	bin, dir := binary(t), t.TempDir()
	p := serve(t, bin, dir)
	if !strings.HasPrefix(p.first, "listening on http://127.0.0.1:") {
		t.Errorf("the first line is %q", p.first)
	}
	second := exec.CommandContext(t.Context(), bin, "serve", "--addr=127.0.0.1:0", "--data="+dir)
	var out, errOut bytes.Buffer
	second.Stdout, second.Stderr = &out, &errOut
	err := second.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		t.Errorf("a second server on the folder: %v", err)
	}
	if out.Len() > 0 || strings.Count(errOut.String(), "\n") != 1 || !strings.Contains(errOut.String(), dir) {
		t.Errorf("a second server says %q and %q, want one line that names the folder", &out, &errOut)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.drain.Wait()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v; %s", err, &p.stderr)
	}
}

// crashRounds is how often the program is killed; JOBCAST_CRASH_ROUNDS sets it.
func crashRounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("JOBCAST_CRASH_ROUNDS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("JOBCAST_CRASH_ROUNDS=%q is no number of rounds", text)
	}
	return n
}

// TestKill kills the program again and again under load. Nothing that was
// acknowledged may be lost: no job whose 202 arrived, no event that any reader
// got; no log may have a gap, no job a second end.
func TestKill(t *testing.T) {
	t.Parallel()
	bin, dir := binary(t), t.TempDir()
	made := mustKeys(t, "", "create", "--client", "acme", "--data", dir)
	l := newCrashRecorder(t, strings.TrimSpace(made.out))
	for round := range crashRounds(t) {
		p := serve(t, bin, dir)
		l.at(p.addr)
		enough := l.load(60) // acknowledged jobs per round
		select {
		case <-enough:
		case <-time.After(time.Minute):
			t.Fatalf("round %d: the load does not come through; %s", round, &p.stderr)
		}
		p.kill() // while everything goes on
		l.stopLoad()
		if t.Failed() {
			return
		}
	}
	p := serve(t, bin, dir)
	l.at(p.addr)
	l.settle()
	l.check()
}
