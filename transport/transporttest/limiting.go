package transporttest

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// limiting: slots are exact, and come back whatever way a client leaves.
func limiting() []scenario {
	return []scenario{
		{name: "connection limit", opts: Options{MaxConnections: 10}, miss: true, run: connectionLimit},
		{name: "limit on the way back", opts: Options{MaxConnections: 1}, on: eventSource, run: limitedBack},
		{name: "gone clients", run: gone},
		{name: "churn", opts: Options{MaxConnections: 10_000}, miss: true, run: churn},
	}
}

// goneTime is how soon a client that has left is noticed: by a reader on its
// connection, not by a later write.
const goneTime = time.Second

// missTime is how soon one is missed that left without that; see scenario.miss.
const missTime = 4 * time.Second

// left is how soon a client that has left at any moment is known to be gone.
func (s *stage) left() time.Duration {
	if missed(s.tr) {
		return missTime + goneTime
	}
	return goneTime
}

// connectionLimit: of 100 at once exactly 10 get in.
func connectionLimit(s *stage) {
	const all, limit = 100, 10
	start := make(chan struct{})
	var refusals, inside atomic.Int64
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range all {
		readers.Go(func() {
			<-start
			err := s.hold(done, &inside)
			var r *Refusal
			if errors.As(err, &r) && r.Status == http.StatusTooManyRequests && (s.tr.Inside || r.Header.Get("Retry-After") != "") {
				refusals.Add(1)
			} else if err != nil {
				s.Errorf("refused by %v", err)
			}
		})
	}
	close(start)
	s.settle(30*time.Second, "all but ten are refused", func() bool { return refusals.Load() == all-limit })
	if n := s.Live(s.key); n != limit {
		s.Errorf("%d streams are live", n)
	}
	close(done)
	readers.Wait()
	if n := refusals.Load(); n != all-limit {
		s.Errorf("%d were refused", n)
	}
	s.settle(s.left(), "all slots are free", func() bool { return s.Live(s.key) == 0 })
}

// limitedBack: an EventSource that comes back dies for ever of a 429, so it is
// told to wait by a stream that ends.
func limitedBack(s *stage) {
	w := s.log.Begin(s)
	s.until(s.open(Opening{Job: w.Job}), "live")
	r := s.open(Opening{Job: w.Job, Cursor: s.log.Head()})
	if wait, err := r.Next(); err != nil || wait.Name != Retry {
		s.Errorf("it begins with %+v, %v", wait, err)
	}
	problem, _ := s.until(r, "problem")
	if p := s.problem(problem.Data); p.Status != http.StatusTooManyRequests || p.Code != "connection_limit" {
		s.Errorf("problem %s", problem.Data)
	}
	if it, err := r.Next(); !errors.Is(err, io.EOF) {
		s.Errorf("after the problem: %+v, %v", it, err)
	}
	if n := s.Live(s.key); n != 1 {
		s.Errorf("%d slots are held", n)
	}
}

// hold keeps a reader open until done. It returns why it was refused.
func (s *stage) hold(done <-chan struct{}, inside *atomic.Int64) error {
	r, err := s.tr.Open(s.ctx, s.caller(), Opening{})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		for {
			it, err := r.Next()
			if it.Name == "problem" { // a later request of a long-poll was refused
				_, err = r.Next()
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	inside.Add(1)
	select {
	case <-done:
		r.Close()
		<-ended
		return nil
	case err := <-ended:
		r.Close()
		return err
	}
}

// gone: a client that leaves frees its slot at once.
func gone(s *stage) {
	w := s.log.Begin(s)
	for _, job := range []string{w.Job, ""} {
		r, first := s.waiting(s.caller(), s.key, Opening{Job: job, From: "now"})
		start := time.Now()
		r.Close()
		<-first
		s.settle(goneTime, "the slot is free", func() bool { return s.Live(s.key) == 0 })
		s.settle(goneTime, "the connection is closed", func() bool { return s.Owned() == 0 })
		if took := time.Since(start); s.fake && took > goneTime/10 {
			s.Errorf("it took %v", took)
		}
	}
}

// churns is how many readers come and go in each telling: 2,000 in all, and 10,000
// with `make chaos`.
func churns() int { return 150 * Chaos() }

// churn: readers come and leave in every way, while events flow.
func churn(s *stage) {
	const workers = 10
	w := s.log.Begin(s)
	w.Emit(s, 30, 30)
	var left atomic.Int64
	left.Store(int64(churns()))
	var readers sync.WaitGroup
	for range workers {
		readers.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				if !s.visit(w, int(n)) {
					return
				}
			}
		})
	}
	readers.Wait()
	s.settle(5*s.left(), "all slots are free", func() bool { return s.Live(s.key) == 0 })
	s.settle(5*goneTime, "all connections are closed", func() bool { return s.Owned() == 0 })
}

// visit opens a reader and leaves it: at once, in the middle of history, or
// while there is nothing to read. n picks the way.
func (s *stage) visit(w *Work, n int) bool {
	if n%40 == 0 { // enough to meet readers, not so much that history grows long
		if err := w.TryEmit(s, 2); err != nil {
			s.Errorf("emit: %v", err)
		}
	}
	o, items := Opening{Job: w.Job}, n%5*3
	if n%2 == 1 {
		o, items = Opening{From: "now"}, 0
	}
	r, err := s.tr.Open(s.ctx, s.caller(), o)
	if err != nil {
		s.Errorf("open: %v", err)
		return false
	}
	defer r.Close()
	for range items {
		if _, err := r.Next(); err != nil {
			s.Errorf("read: %v", err)
			return false
		}
	}
	return true
}
