package jobs

import (
	"context"
	"fmt"
	"sync"
)

const (
	// paceRows is how many event rows of one client may be on their way into the
	// log. The store commits one batch after the other, and what stands in front of
	// a command delays it; so a client that floods the log waits for itself. It is
	// more than one batch takes, so that one client alone can fill them all.
	paceRows = 1000
	// paceBytes weighs as much as a row.
	paceBytes = 256
)

// pace makes clients wait for themselves. It keeps the order of a client's calls.
type pace struct {
	mu       sync.Mutex // guards what follows
	byClient map[string]*lane
}

// lane is what one client has on its way.
type lane struct {
	rows    int
	waiting []*toll
}

type toll struct {
	rows  int
	ready chan struct{} // closed when its rows are counted
}

// weigh returns how many rows something counts for.
func weigh(rows, size int) int { return min(rows+size/paceBytes, paceRows) }

// enter waits until the client may have so many rows more on their way. Unless it
// fails with ErrNotTried, because ctx has ended, leave must follow.
func (p *pace) enter(ctx context.Context, client string, rows int) error {
	p.mu.Lock()
	l := p.byClient[client]
	if l == nil {
		if p.byClient == nil {
			p.byClient = make(map[string]*lane)
		}
		l = &lane{}
		p.byClient[client] = l
	}
	if len(l.waiting) == 0 && l.rows+rows <= paceRows {
		l.rows += rows
		p.mu.Unlock()
		return nil
	}
	t := &toll{rows, make(chan struct{})}
	l.waiting = append(l.waiting, t)
	p.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range l.waiting {
		if other == t {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
			p.admit(client, l) // those behind it may be smaller
			return fmt.Errorf("%w: %w", ErrNotTried, ctx.Err())
		}
	}
	l.rows -= rows // it was let in at the last moment
	p.admit(client, l)
	return fmt.Errorf("%w: %w", ErrNotTried, ctx.Err())
}

// leave ends what enter began.
func (p *pace) leave(client string, rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byClient[client]
	l.rows -= rows
	p.admit(client, l)
}

// admit lets in who fits, in order. It is called with mu held.
func (p *pace) admit(client string, l *lane) {
	for len(l.waiting) > 0 && l.rows+l.waiting[0].rows <= paceRows {
		l.rows += l.waiting[0].rows
		close(l.waiting[0].ready)
		l.waiting = l.waiting[1:]
	}
	if l.rows == 0 && len(l.waiting) == 0 {
		delete(p.byClient, client)
	}
}
