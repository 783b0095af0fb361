package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/jobcast/jobcast/bench/profiler"
)

// stretch is what a stretch of work took.
type stretch struct {
	took   time.Duration
	server time.Duration // CPU time of the server
	own    time.Duration // of this process
	before usage         // of the server
	after  usage
}

// measure runs f, in which p is under load. With -profile it also takes a profile of
// a server that can give one.
func (s *settings) measure(p *process, name string, f func() error) (m stretch, err error) {
	if m.before, err = p.usage(); err != nil {
		return m, err
	}
	own, start := ownCPU(), time.Now()
	if s.profiles == nil || !p.profiles {
		err = f()
	} else {
		err = p.profiled(s.profiles.path(name), f)
	}
	if err != nil {
		return m, err
	}
	m.took, m.own = time.Since(start), ownCPU()-own
	m.after, err = p.usage()
	m.server = m.after.cpu - m.before.cpu
	return m, err
}

// generator adds how many cores the generator itself took.
func (r *row) generator(m stretch) { r.add("generator", "cores", m.own.Seconds()/m.took.Seconds()) }

// profiles are the CPU profiles of a run.
type profiles struct {
	folder string
	prefix string // the scenario
	names  []string
}

// path returns the file for a new profile. Of cases with one name the last counts.
func (p *profiles) path(name string) string {
	name = p.prefix + " " + name
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	return p.file(name)
}

func (p *profiles) file(name string) string { return filepath.Join(p.folder, name+".pprof") }

// profiled runs f while the server writes a CPU profile, and moves that to path.
func (p *process) profiled(path string, f func() error) error {
	pid := p.cmd.Process.Pid
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return fmt.Errorf("begin profile: %w", err)
	}
	if err := f(); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		return fmt.Errorf("end profile: %w", err)
	}
	left := profiler.Path(pid)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(sayTime); ; <-tick.C {
		_, err := os.Stat(left)
		if err == nil {
			return move(left, path)
		}
		if time.Now().After(end) {
			return fmt.Errorf("the server left no profile: %w", err)
		}
	}
}

// move moves a file, also to another file system.
func move(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	defer func() { err = errors.Join(err, in.Close(), os.Remove(from)) }()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// profileSelf runs f with a CPU profile of this process in the file path.
func profileSelf(path string, f func() error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return fmt.Errorf("start profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return f()
}

// measureSelf is measure for work that this process does itself.
func (s *settings) measureSelf(name string, f func() error) (m stretch, err error) {
	own, start := ownCPU(), time.Now()
	if s.profiles == nil {
		err = f()
	} else {
		err = profileSelf(s.profiles.path(name), f)
	}
	m.took, m.own = time.Since(start), ownCPU()-own
	return m, err
}

// makeProfiler writes what a server that can be profiled is built with, and returns
// the argument for that.
func makeProfiler(dir, root string) (string, error) {
	source, overlay := filepath.Join(dir, "profiler.go"), filepath.Join(dir, "overlay.json")
	text := fmt.Sprintf(`{"Replace":{%q:%q}}`, filepath.Join(root, "profiler.go"), source)
	err := errors.Join(os.WriteFile(source, []byte(profiler.Source), 0o600), os.WriteFile(overlay, []byte(text), 0o600))
	if err != nil {
		return "", fmt.Errorf("prepare profiler: %w", err)
	}
	return "-overlay=" + overlay, nil
}
