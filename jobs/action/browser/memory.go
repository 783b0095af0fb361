package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const watchTime = 250 * time.Millisecond

// watch keeps the memory of the browser within bounds: the largest renderer dies first, and
// if there is none the browser.
func (c *chromium) watch() {
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	var looked time.Time
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		if c.unused() && time.Since(looked) < time.Second {
			continue // nobody's page can grow
		}
		looked = time.Now()
		all := processes(c.pid)
		total, largest := int64(0), process{}
		for _, p := range all {
			total += p.bytes
			if p.renderer && p.bytes > largest.bytes {
				largest = p
			}
		}
		c.bytes.Store(total)
		if total <= c.o.MaxMemory {
			continue
		}
		c.o.Logger.Warn("the browser takes too much memory", "bytes", total, "limit", c.o.MaxMemory, "renderer", largest.bytes)
		c.mu.Lock()
		c.starved = time.Now()
		c.mu.Unlock()
		if largest.pid == 0 {
			c.kill(nil, oversized)
			return
		}
		c.tally.count(func(s *Stats) { s.PagesEnded++ })
		_ = syscall.Kill(largest.pid, syscall.SIGKILL) // it may be gone by now
	}
}

// unused reports whether no session is open.
func (c *chromium) unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) == 0
}

// starving reports whether a renderer has just been killed because of its memory.
func (c *chromium) starving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.starved.IsZero() && time.Since(c.starved) < 2*time.Second
}

// process is one of the browser's.
type process struct {
	pid      int
	bytes    int64 // of memory of its own, and shared memory
	renderer bool
}

// processes returns a process and all below it.
func processes(pid int) (all []process) {
	all = append(all, look(pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is right
	for _, path := range tasks {
		raw, _ := os.ReadFile(path) // it may be gone by now
		for _, text := range strings.Fields(string(raw)) {
			if child, err := strconv.Atoi(text); err == nil {
				all = append(all, processes(child)...)
			}
		}
	}
	return all
}

func look(pid int) process {
	p := process{pid: pid}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may be gone by now
	for line := range strings.SplitSeq(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // the kernel wrote it
		p.bytes += kib << 10
	}
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	p.renderer = strings.Contains(string(args), "--type=renderer")
	return p
}
