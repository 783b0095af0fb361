package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jobcast/jobcast/client"
)

const (
	// termTime lies between SIGTERM and SIGKILL of a command that must end.
	termTime = 5 * time.Second
	// pipeTime is how long output is still read once the command has ended,
	// should something that it started hold its output open.
	pipeTime = time.Second
	// maxOutputLine bounds a line of output. A result has at most 64 KiB.
	maxOutputLine = 128 << 10
	// maxTail is how much of standard error a failure tells.
	maxTail = 8 << 10
)

// execution is one command run for one attempt.
type execution struct {
	attempt *client.Attempt
	dir     string // for artifacts
	say     *talker

	commands *groups
	result   json.RawMessage // of the last line, if it set one
}

// run runs the command to its end. The error says why the attempt failed.
func (x *execution) run(ctx context.Context, command []string) error {
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec // it is what the caller of `work` wants
	cmd.Env = x.environ()
	if payload := x.attempt.Job.Payload; payload != nil {
		cmd.Stdin = bytes.NewReader(payload)
	}
	out := &lines{each: x.line}
	errs := &lines{each: x.complain}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = pipeTime
	// Should this process be killed, the command hears of it: the kernel tells it when
	// the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	group, err := x.commands.start(func() (int, error) {
		err := cmd.Start()
		if err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
	if err != nil {
		return &client.JobError{Class: "CommandError", Err: fmt.Errorf("start command: %w", err)}
	}
	stop := x.endWith(ctx, group)
	err = cmd.Wait()
	stop()
	x.commands.over(group)
	out.flush()
	errs.flush()
	if errors.Is(err, exec.ErrWaitDelay) { // the command itself ended well
		err = nil
	}
	if err != nil {
		text := strings.TrimSpace(errs.tail.String())
		if text != "" {
			text = "\n" + text
		}
		return fmt.Errorf("%w%s", err, text)
	}
	return nil
}

// endWith ends the command's process group when ctx ends. The returned function
// is called once the command has ended; it ends what the command left running.
func (x *execution) endWith(ctx context.Context, group int) (stop func()) {
	over, stopped := make(chan struct{}), make(chan struct{})
	signal := func(s syscall.Signal) { _ = syscall.Kill(-group, s) } // an error says that nobody is left
	go func() {
		defer close(stopped)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		signal(syscall.SIGTERM)
		kill := time.NewTimer(termTime)
		defer kill.Stop()
		select {
		case <-over:
		case <-kill.C:
			signal(syscall.SIGKILL)
		}
	}()
	return func() {
		close(over)
		<-stopped
		signal(syscall.SIGKILL)
	}
}

// environ is this process's environment without the key, which the command does
// not need, and with what it is told.
func (x *execution) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "JOBCAST_KEY=") || strings.HasPrefix(kv, "JOBCAST_KEY_FILE=")
	})
	return append(env, "JOBCAST_JOB_ID="+x.attempt.Job.ID, "JOBCAST_ATTEMPT="+strconv.Itoa(x.attempt.Job.Attempt),
		"JOBCAST_QUEUE="+x.attempt.Job.Queue, "JOBCAST_ARTIFACTS="+x.dir)
}

// line takes a line of standard output. A report that cannot be made means that
// the attempt is over, which ends the command by itself.
func (x *execution) line(text string) {
	x.result = nil
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "progress":
		number, message, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if percent, err := strconv.ParseFloat(number, 64); err == nil && percent >= 0 && percent <= 100 {
			_ = x.attempt.Progress(percent, message)
			return
		}
	case "log":
		text = rest
	case "result":
		if strings.HasPrefix(strings.TrimSpace(rest), "{") && json.Valid([]byte(rest)) {
			x.result = json.RawMessage(rest)
			return
		}
	}
	_ = x.attempt.Log(text)
}

// complain passes a line of standard error on.
func (x *execution) complain(text string) {
	fmt.Fprintf(x.say, "%s | %s\n", x.attempt.Job.ID, text)
}

// artifactName is what the server takes as a name.
var artifactName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// upload sends the files that the command left. What is no plain file with a
// plain name is not sent, and the job's log says so.
func (x *execution) upload() error {
	root, err := os.OpenRoot(x.dir)
	if errors.Is(err, os.ErrNotExist) { // the command has removed it
		return nil
	}
	if err != nil {
		return fmt.Errorf("open folder of artifacts: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return fmt.Errorf("read folder of artifacts: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !artifactName.MatchString(e.Name()) {
			_ = x.attempt.Log("not uploaded, because it is not a plain file with a plain name: " + e.Name())
			continue
		}
		f, err := root.Open(e.Name())
		if err != nil {
			return fmt.Errorf("open artifact: %w", err)
		}
		_, err = x.attempt.Artifact(e.Name(), f)
		_ = f.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// lines is a writer that gives out whole lines; the rest of one that is too
// long is dropped. It keeps the end of all that was written.
type lines struct {
	each func(string)
	part []byte
	tail tail
}

// Write implements io.Writer; it never fails, which would end the command.
func (l *lines) Write(p []byte) (int, error) {
	_, _ = l.tail.Write(p)
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxOutputLine-len(l.part))]...)
		if !found {
			return n, nil
		}
		l.emit()
		p = rest
	}
}

func (l *lines) emit() {
	l.each(string(bytes.TrimSuffix(l.part, []byte("\r"))))
	l.part = l.part[:0]
}

// flush gives out a last line without an end.
func (l *lines) flush() {
	if len(l.part) > 0 {
		l.emit()
	}
}

// tail keeps the last maxTail bytes.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - maxTail; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.kept), "") }
