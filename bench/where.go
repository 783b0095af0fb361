package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// group is a part of what a program does. A sample belongs to the first group of
// which one of its functions is.
type group struct {
	name  string
	marks []string // parts of functions' names
}

// groups, the telling ones first: a commit also allocates, and a write also locks.
var groups = []group{
	{"SQLite commit", []string{"sqlite.(*committer)"}},
	{"SQLite read", []string{"store/sqlite.", "go-sqlite3"}},
	{"GC", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{"write(2)", []string{"transport/wire.write", "unix.Write", "unix.write", "syscall.write", "syscall.Write"}},
	{"other system calls", []string{"unix.", "syscall.", "runtime.netpoll", "runtime/syscall.EpollWait"}},
	{"hub, frames", []string{"jobcast/hub.", "transport/wire.(*Conn)", "transport/wire.(*Pool)", "transport/wire/", "transport/sse.", "transport/ws.", "transport/poll.", "transport/engineio", "transport/socketio"}},
	{"HTTP, jobs", []string{"fasthttp", "gofiber", "jobcast/transport", "jobcast/jobs", "jobcast/auth", "encoding/json"}},
	{"scheduler", []string{"runtime.schedule", "runtime.park_m", "runtime.mcall", "runtime.mstart", "runtime.findRunnable", "runtime.goexit0", "runtime.morestack"}},
}

// groupOf returns the index in groups; len(groups) is the rest.
func groupOf(stack []string) int {
	for i, g := range groups {
		for _, mark := range g.marks {
			for _, function := range stack {
				if strings.Contains(function, mark) {
					return i
				}
			}
		}
	}
	return len(groups)
}

// sumUp says where the time of each profile went.
func (p *profiles) sumUp(ctx context.Context) (outcome, error) {
	out := outcome{Scenario: "profile", Title: "where the CPU time under load goes"}
	for _, name := range p.names {
		text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", p.file(name)).Output() //nolint:gosec // our own file
		if err != nil {
			return out, fmt.Errorf("read profile %s: %w", name, err)
		}
		r := row{Case: name}
		spent, all := where(string(text))
		for i, t := range spent {
			label := "other"
			if i < len(groups) {
				label = groups[i].name
			}
			r.add(label, "%", 100*t.Seconds()/max(all.Seconds(), 1e-9))
		}
		out.Rows = append(out.Rows, r)
	}
	return out, nil
}

// where reads what `go tool pprof -traces` prints: after each line of dashes a
// sample's time and its functions, the innermost first.
func where(traces string) (spent []time.Duration, all time.Duration) {
	spent = make([]time.Duration, len(groups)+1)
	for i, block := range strings.Split(traces, "\n-----------+") {
		if i == 0 {
			continue // what the profile is of
		}
		lines := strings.Split(block, "\n")[1:]
		if len(lines) == 0 {
			continue
		}
		words := strings.Fields(lines[0])
		if len(words) == 0 {
			continue
		}
		took, err := time.ParseDuration(words[0])
		if err != nil {
			continue
		}
		spent[groupOf(lines)] += took
		all += took
	}
	return spent, all
}
