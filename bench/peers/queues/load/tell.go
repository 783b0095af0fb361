package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Teller sends what jobs tell over a unix socket to the one process that listens. Lines
// that come together are sent together.
type Teller struct {
	mu    sync.Mutex // guards lines
	lines []byte
	more  chan struct{} // there are lines; one is enough
}

// NewTeller listens on the socket at path until ctx ends.
func NewTeller(ctx context.Context, path string) (*Teller, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	t := &Teller{more: make(chan struct{}, 1)}
	go t.serve(ctx, l)
	return t, nil
}

func (t *Teller) serve(ctx context.Context, l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		return // ctx has ended
	}
	defer func() { _ = conn.Close() }()
	for {
		select {
		case <-t.more:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		lines := t.lines
		t.lines = nil
		t.mu.Unlock()
		if _, err := conn.Write(lines); err != nil {
			return // nobody listens any longer
		}
	}
}

// Told tells a step of a job.
func (t *Teller) Told(id string, step Step) {
	t.mu.Lock()
	t.lines = append(append(append(t.lines, '0'+byte(step)), id...), '\n')
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// Listen counts what the teller at path tells, from when it is there; it returns once it
// is, and counts until the teller is gone.
func Listen(ctx context.Context, path string, t *Tally) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			go read(conn, t)
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for the worker: %w", err)
		}
	}
}

func read(conn net.Conn, t *Tally) {
	defer func() { _ = conn.Close() }()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if line := lines.Text(); len(line) > 1 {
			t.Told(line[1:], Step(line[0]-'0'))
		}
	}
}
