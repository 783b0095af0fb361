package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sayTime  = 30 * time.Second // a server says its address, or answers a command, within this
	stopTime = 20 * time.Second // a server is gone this long after SIGTERM, or is killed

	// clockTick is the unit of CPU time in /proc/<pid>/stat: USER_HZ is 100 on
	// every Linux that Go supports.
	clockTick = 10 * time.Millisecond
)

// process is a server under measurement: a program of ours that was started
// here and prints lines.
type process struct {
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	lines    chan string   // its output; sent to and closed by the goroutine that reads it
	unread   chan struct{} // closed by stop and kill: nobody wants further lines
	stderr   *tailBuffer
	profiles bool // it can be profiled
}

// startProcess runs a program with the settings of this process's environment,
// except those that are jobcast's.
func startProcess(path string, args ...string) (*process, error) {
	p := &process{
		cmd:   exec.Command(path, args...), //nolint:gosec // our own binary, just built
		lines: make(chan string), unread: make(chan struct{}), stderr: &tailBuffer{},
	}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "JOBCAST_") && !strings.HasPrefix(kv, "MAX_CONNECTIONS_PER_KEY=") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	p.cmd.Stderr = p.stderr
	// Ctrl-C is for this process alone, which then stops the server in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make server's input: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make server's output: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	go p.read(out)
	return p, nil
}

func (p *process) read(out io.Reader) {
	defer close(p.lines)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		select {
		case p.lines <- lines.Text():
		case <-p.unread:
		}
	}
}

// line returns the next line that the process prints.
func (p *process) line(ctx context.Context) (string, error) { return p.lineWithin(ctx, sayTime) }

func (p *process) lineWithin(ctx context.Context, d time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return "", fmt.Errorf("the server ended: %s", p.stderr)
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the server to say something: %w", ctx.Err())
	}
}

// stop ends the process with SIGTERM and waits for it; if it does not end, it is
// killed. The error says how it ended unless with status 0.
func (p *process) stop() error {
	close(p.unread)
	signalled := p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.lines { // Wait closes the pipe, so all output is read first
	}
	err := p.cmd.Wait()
	if err != nil {
		return fmt.Errorf("stop server: %w: %s", errors.Join(err, signalled), p.stderr)
	}
	return nil
}

// kill ends the process as a crash does.
func (p *process) kill() error {
	close(p.unread)
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill server: %w", err)
	}
	for range p.lines {
	}
	_ = p.cmd.Wait() // says that it was killed
	return nil
}

// usage is what a process has taken of the machine.
type usage struct {
	cpu time.Duration // user and system

	ended  time.Duration // the same of its children that have ended, and of theirs
	parent int
	rss    int64 // bytes resident
}

// usage reads /proc.
func (p *process) usage() (usage, error) { return usageOf(p.cmd.Process.Pid) }

func usageOf(pid int) (usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return usage{}, fmt.Errorf("read CPU time of server: %w", err)
	}
	statm, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return usage{}, fmt.Errorf("read memory of server: %w", err)
	}
	return parseUsage(stat, statm)
}

// parseUsage reads /proc/<pid>/stat and statm, see proc_pid_stat(5).
func parseUsage(stat, statm []byte) (usage, error) {
	const ppid, utime, stime, cutime, cstime = 1, 11, 12, 13, 14 // fields after the name, which may hold anything and ends at the last bracket
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	pages := strings.Fields(string(statm))
	if len(fields) <= cstime || len(pages) < 2 {
		return usage{}, errors.New("/proc has another form than expected")
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	resident, err3 := strconv.ParseInt(pages[1], 10, 64)
	endedUser, err4 := strconv.ParseInt(fields[cutime], 10, 64)
	endedSystem, err5 := strconv.ParseInt(fields[cstime], 10, 64)
	parent, err6 := strconv.Atoi(fields[ppid])
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return usage{}, fmt.Errorf("read /proc: %w", err)
	}
	return usage{
		cpu: time.Duration(user+system) * clockTick, rss: resident * int64(os.Getpagesize()),
		ended: time.Duration(endedUser+endedSystem) * clockTick, parent: parent,
	}, nil
}

// treeOf returns processes and all that they started, such as the servers of
// PostgreSQL's connections, by their ids.
func treeOf(roots ...int) (map[int]usage, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make(map[int]usage)
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		u, err := usageOf(pid)
		if err != nil {
			continue // it has just ended; its time is its parent's then
		}
		all[pid] = u
	}
	for _, pid := range roots {
		if _, there := all[pid]; !there {
			return nil, fmt.Errorf("read CPU time of server: process %d is gone", pid)
		}
	}
	maps.DeleteFunc(all, func(pid int, _ usage) bool {
		at := pid
		for at > 1 && !slices.Contains(roots, at) {
			at = all[at].parent
		}
		return at <= 1
	})
	return all, nil
}

// treeCPU returns the CPU time of processes and of all that they started.
func treeCPU(roots ...int) (sum time.Duration, err error) {
	all, err := treeOf(roots...)
	for _, u := range all {
		sum += u.cpu + u.ended
	}
	return sum, err
}

// treeMemory returns the memory of a process and of all that it started: what each has of
// its own, and its part of what several share (PSS).
func treeMemory(root int) (sum int64, err error) {
	all, err := treeOf(root)
	if err != nil {
		return 0, err
	}
	for pid := range all {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, fs.ErrPermission) {
			return 0, fmt.Errorf("read memory of server, which only root may: %w", err)
		}
		_, rest, found := strings.Cut(string(raw), "\nPss:")
		if !found {
			continue // it has just ended
		}
		text, _, _ := strings.Cut(rest, "kB")
		kb, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory of server: %w", err)
		}
		sum += kb << 10
	}
	return sum, nil
}

// ownCPU returns the CPU time that this process has taken.
func ownCPU() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0 // cannot fail with these arguments
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// tailBuffer keeps the end of what a process logs.
type tailBuffer struct {
	mu   sync.Mutex // guards text
	text []byte
}

const maxTail = 4 << 10

// Write implements io.Writer.
func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-maxTail):]
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
