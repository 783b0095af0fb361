package jobs

import (
	"context"
	"fmt"
	"sync"
)

const (
	// throttleRows is how many event rows of one client may be on their way into the
	// log. The store commits one batch after the other, and what stands in front of
	// a command delays it; so a client that floods the log waits for itself. It is
	// more than one batch takes, so that one client alone can fill them all.
	throttleRows = 1000
	// throttleBytes weighs as much as a row.
	throttleBytes = 256
)

// throttle makes clients wait for themselves. It keeps the order of a client's calls.
type throttle struct {
	mu       sync.Mutex // guards what follows
	byClient map[string]*backlog
}

// backlog is what one client has on its way.
type backlog struct {
	rows    int
	waiting []*waiter
}

type waiter struct {
	rows  int
	ready chan struct{} // closed when its rows are counted
}

// weigh returns how many rows something counts for.
func weigh(rows, size int) int { return min(rows+size/throttleBytes, throttleRows) }

// enter waits until the client may have so many rows more on their way. Unless it
// fails with ErrNotTried, because ctx has ended, leave must follow.
func (t *throttle) enter(ctx context.Context, client string, rows int) error {
	t.mu.Lock()
	b := t.byClient[client]
	if b == nil {
		if t.byClient == nil {
			t.byClient = make(map[string]*backlog)
		}
		b = &backlog{}
		t.byClient[client] = b
	}
	if len(b.waiting) == 0 && b.rows+rows <= throttleRows {
		b.rows += rows
		t.mu.Unlock()
		return nil
	}
	w := &waiter{rows, make(chan struct{})}
	b.waiting = append(b.waiting, w)
	t.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
			t.admit(client, b) // those behind it may be smaller
			return fmt.Errorf("%w: %w", ErrNotTried, ctx.Err())
		}
	}
	b.rows -= rows // it was let in at the last moment
	t.admit(client, b)
	return fmt.Errorf("%w: %w", ErrNotTried, ctx.Err())
}

// leave ends what enter began.
func (t *throttle) leave(client string, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byClient[client]
	b.rows -= rows
	t.admit(client, b)
}

// admit lets in who fits, in order. It is called with mu held.
func (t *throttle) admit(client string, b *backlog) {
	for len(b.waiting) > 0 && b.rows+b.waiting[0].rows <= throttleRows {
		b.rows += b.waiting[0].rows
		close(b.waiting[0].ready)
		b.waiting = b.waiting[1:]
	}
	if b.rows == 0 && len(b.waiting) == 0 {
		delete(t.byClient, client)
	}
}
