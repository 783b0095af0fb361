package jobs

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Scope holds what the actions of one attempt have in common, such as the page that they
// work on. It is safe for concurrent use: an abandoned action may still ask for something.
type Scope struct {
	mu     sync.Mutex // guards what follows
	kept   map[any]io.Closer
	ends   []func(context.Context) error
	closed bool
}

// errScopeClosed is for actions that outlive their attempt.
var errScopeClosed = errors.New("the attempt is over")

// Keep returns what is kept under key. If there is nothing, it is what open returns, unless
// that fails. It is closed with the attempt, after its last action.
func (s *Scope) Keep(key any, open func() (io.Closer, error)) (io.Closer, error) {
	s.mu.Lock()
	c, closed := s.kept[key], s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, errScopeClosed
	case c != nil:
		return c, nil
	}
	c, err := open() // actions come one after the other
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close() // it was of no use
		return nil, errScopeClosed
	}
	if s.kept == nil {
		s.kept = make(map[any]io.Closer)
	}
	s.kept[key] = c
	return c, nil
}

// Last has f called after the last action, unless one of them fails or f before it. Its
// error is that of the attempt, as if an action had returned it.
func (s *Scope) Last(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, f)
}

// last returns what was left for the end.
func (s *Scope) last() []func(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends
}

// Close closes what is kept; nothing is kept any more.
func (s *Scope) Close() {
	s.mu.Lock()
	kept := s.kept
	s.kept, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range kept {
		_ = c.Close() // nobody is left to hear of it
	}
}
