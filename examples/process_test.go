package examples_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobcast/jobcast/e2e/program"
)

const (
	patience = 2 * time.Minute  // bounds every single waiting of these tests; a lease runs out in 30 s
	leaving  = 15 * time.Second // how long an end may take: less than a worker waits for a job
)

// example is one of the workers and what runs it.
type example struct{ file, interpreter string }

// process is a worker under way, in a process group of its own, as a shell
// starts it.
type process struct {
	cmd  *exec.Cmd
	key  string // it must never be printed
	text *output
	over chan struct{} // closed once the process has ended and err is set
	err  error
}

// start runs an example. Whatever it left running is killed when the test ends.
func start(t *testing.T, e example, queue, url, key string, env ...string) *process {
	t.Helper()
	p := &process{key: key, text: &output{grown: make(chan struct{})}, over: make(chan struct{})}
	p.cmd = exec.Command(e.interpreter, e.file, queue)
	p.cmd.Env = append(append(program.Environ(), "JOBCAST_URL="+url, "JOBCAST_KEY="+key, "TMPDIR="+t.TempDir()), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.text, p.text
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Who holds the output open after the worker's end was left behind by it:
	// Wait says so.
	p.cmd.WaitDelay = 5 * time.Second
	// A shell cannot trap what was ignored when it began. Tests in the
	// background may ignore SIGINT; a signal that is caught is at its default in
	// a child.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	err := p.cmd.Start()
	signal.Stop(interrupts)
	if err != nil {
		t.Fatalf("start %s: %v", e.file, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.over)
	}()
	t.Cleanup(func() {
		select {
		case <-p.over:
		default:
			p.kill(t)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", e.file, p.text)
		}
	})
	return p
}

// signal sends a signal to the worker alone, as a supervisor does, or with
// group to all its processes, as a terminal does.
func (p *process) signal(t *testing.T, s syscall.Signal, group bool) {
	t.Helper()
	pid := p.cmd.Process.Pid
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Errorf("signal worker: %v", err)
	}
}

// kill ends the worker and all its processes at once.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL, true)
	<-p.over
}

// stop ends a worker that has no job at hand.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM, false)
	p.ends(t, 0)
}

// ends waits for the worker's own end. Nothing of it may be left over.
func (p *process) ends(t *testing.T, code int) {
	t.Helper()
	select {
	case <-p.over:
	case <-time.After(leaving):
		t.Fatal("the worker does not end")
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) || p.cmd.ProcessState.ExitCode() != code {
		t.Errorf("the worker ended with %v (%v), want code %d", p.cmd.ProcessState, p.err, code)
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("processes of the worker are left (%v)", err)
	}
	if strings.Contains(p.text.String(), p.key) {
		t.Error("the worker printed its key")
	}
}

// says waits until the worker has printed text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		got, grown := p.text.now()
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-grown:
		case <-p.over:
			if !strings.Contains(p.text.String(), text) {
				t.Fatalf("the worker ended and never said %q", text)
			}
			return
		case <-late:
			t.Fatalf("the worker does not say %q", text)
		}
	}
}

// output is what a process printed so far.
type output struct {
	mu    sync.Mutex // guards text and grown
	text  strings.Builder
	grown chan struct{} // closed by Write at the next text
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) now() (text string, grown <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.grown
}

func (o *output) String() string {
	text, _ := o.now()
	return text
}
