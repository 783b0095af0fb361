package jobs

import (
	"maps"
	"sync"
)

// browsers counts the attempts of jobs that need a browser. One has its place from its
// claim to the end of its last action, also while it is parked, so a job that waits for a
// browser holds nobody's runner.
type browsers struct {
	share  int
	onFree func() // a place is free; must not block

	mu   sync.Mutex // guards what follows
	free int
	held map[string]int // by client
}

func newBrowsers(n int, onFree func()) *browsers {
	return &browsers{share: Share(n), onFree: onFree, free: n, held: make(map[string]int)}
}

// places returns what a claim may take. One claim follows the other.
func (b *browsers) places() Places {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Places{Max: b.free, Share: b.share, Held: maps.Clone(b.held)}
}

// gave says which jobs a claim has found.
func (b *browsers) gave(got []Leased) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range got {
		if l.Job.Browser {
			b.free--
			b.held[l.Lease.Client]++
		}
	}
}

// release gives a client's place back.
func (b *browsers) release(client string) {
	b.mu.Lock()
	b.free++
	if b.held[client]--; b.held[client] == 0 {
		delete(b.held, client)
	}
	b.mu.Unlock()
	b.onFree()
}
