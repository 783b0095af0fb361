package browser

import (
	"errors"
	"maps"
	"sync"

	"github.com/jobcast/jobcast/jobs/action"
)

// reason is why a browser has ended.
type reason string

const (
	byItself     reason = "crashed" // or somebody has killed it
	unused       reason = "idle"
	oversized    reason = "memory"
	unresponsive reason = "unresponsive"
	stopping     reason = "stopped" // with the server
)

// Reasons returns all reasons for which browsers end, as Stats has them.
func Reasons() []string {
	return []string{string(byItself), string(unused), string(oversized), string(unresponsive), string(stopping)}
}

// Stats are figures of Browsers, the counts since New.
type Stats struct {
	Running       bool
	Contexts, Max int   // contexts open, and as many as may be
	Memory        int64 // bytes of the browser and all its pages, as it was watched last; 0: none runs
	MemoryLimit   int64

	Starts, Failures int64            // browsers that have started, and that have not
	Ends             map[string]int64 // by reason
	PagesEnded       int64            // because of the memory
	Refused          int64            // connections that pages wanted and were not allowed
}

// tally counts. It is safe for concurrent use.
type tally struct {
	mu  sync.Mutex // guards now
	now Stats
}

func (t *tally) count(f func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.now)
}

func (t *tally) ended(why reason) {
	t.count(func(s *Stats) {
		if s.Ends == nil {
			s.Ends = make(map[string]int64)
		}
		s.Ends[string(why)]++
	})
}

// refused counts err if it is a refusal.
func (t *tally) refused(err error) {
	if errors.Is(err, errTraffic) || action.Blocked("", err) != nil {
		t.count(func(s *Stats) { s.Refused++ })
	}
}

// Stats returns the figures as they are now.
func (b *Browsers) Stats() Stats {
	b.tally.mu.Lock()
	s := b.tally.now
	s.Ends = maps.Clone(s.Ends)
	b.tally.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Max, s.MemoryLimit = b.o.Contexts, b.o.MaxMemory
	if b.runs() {
		s.Running, s.Contexts, s.Memory = true, b.o.Contexts-len(b.free), b.now.bytes.Load()
	}
	return s
}
