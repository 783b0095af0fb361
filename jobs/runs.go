package jobs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrTimedOut is the cause of the end of an attempt's context that took too long.
var ErrTimedOut = errors.New("the attempt took too long")

// Why else a run's context ended, besides ErrLeaseLost.
var (
	errCancelled   = errors.New("the job was cancelled")
	errInterrupted = errors.New("the server is shutting down")
)

// runs knows the jobs that run in this process.
type runs struct {
	mu      sync.Mutex // guards what follows
	byToken map[string]run
	byJob   map[string][]string // tokens
	claimed uint64

	claims int              // claims under way, whose jobs nobody knows yet
	early  map[string]error // jobs that were cancelled meanwhile, and why
}

type run struct {
	job    string
	start  time.Time
	cancel context.CancelCauseFunc
}

// add registers a run. Its key is the lease, not the job: after a lost lease
// the next run of a job may begin before the last one is gone.
func (r *runs) add(token string, one run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byToken == nil {
		r.byToken, r.byJob = make(map[string]run), make(map[string][]string)
	}
	r.byToken[token] = one
	r.byJob[one.job] = append(r.byJob[one.job], token)
	r.claimed++
	if cause := r.early[one.job]; cause != nil {
		one.cancel(cause)
	}
}

// expect says that a claim is sent. Until arrived is called, what it has claimed is
// added, and a job that was cancelled in between is cancelled then.
func (r *runs) expect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims++
}

func (r *runs) arrived() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims--; r.claims == 0 {
		r.early = nil
	}
}

func (r *runs) remove(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	job := r.byToken[token].job
	delete(r.byToken, token)
	r.byJob[job] = slices.DeleteFunc(r.byJob[job], func(t string) bool { return t == token })
	if len(r.byJob[job]) == 0 {
		delete(r.byJob, job)
	}
}

// cancel ends the runs of a job, if there are any. A CancelCauseFunc does not
// block: it runs no callback of ours.
func (r *runs) cancel(job string, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, token := range r.byJob[job] {
		r.byToken[token].cancel(cause)
	}
	if r.claims > 0 {
		if r.early == nil {
			r.early = make(map[string]error)
		}
		r.early[job] = cause
	}
}

// Stats is what the processor is doing, for metrics.
type Stats struct {
	Running       int       // attempts in progress
	Parked        int       // those of them that hold no runner, because they wait
	Claimed       uint64    // attempts begun since the start
	OldestRunning time.Time // start of the longest running attempt; zero: none
	Abandoned     int       // actions that go on although their attempt has ended
	Expired       int64     // jobs since the start that nobody began in time
}

func (r *runs) stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Running: len(r.byToken), Claimed: r.claimed}
	for _, one := range r.byToken {
		if s.OldestRunning.IsZero() || one.start.Before(s.OldestRunning) {
			s.OldestRunning = one.start
		}
	}
	return s
}
