package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// Worker runs jobs of queues. Its Client, Queues and Handle are required; of the
// other fields, zero means the default.
type Worker struct {
	Client      *Client
	Queues      []string // names; the jobs of all of them are taken
	Concurrency int      // jobs at the same time; 0: 1

	// Handle runs one attempt of a job. What it returns as result must encode
	// as a JSON object, or be nil; one that the server refuses fails the attempt
	// for good, with the class "InvalidResult". An error fails the attempt, and
	// the job is tried again while it has attempts left; see Final and JobError.
	// ctx ends when the attempt's time is over (ErrTimeout), when the job was
	// cancelled (ErrJobCancelled), when the lease is lost (ErrLeaseLost) or when
	// the worker stops (ErrStopped): context.Cause says which. That a job was
	// cancelled is heard with the next report, or after a third of Lease.
	Handle func(ctx context.Context, a *Attempt) (result any, err error)

	Name   string        // what queues tell of it: 1 to 64 of A-Z, a-z, 0-9, dot, underscore, hyphen; empty: it has none
	Lease  time.Duration // how long a job stays ours when we fall silent, 5 s to 10 min; 0: 30 s
	Grace  time.Duration // how long handlers may go on once Run's ctx has ended; 0: 25 s, negative: not at all
	GiveUp time.Duration // Run ends with a *LostError after so long without the server; 0 or negative: [Forever]
	Log    *slog.Logger  // nil: nothing is logged
}

// Why the context of a handler ended; see context.Cause. The causes ErrLeaseLost
// and ErrJobCancelled mean that the job is no longer the worker's: what the
// handler returns is dropped.
var (
	ErrTimeout      = errors.New("the attempt took longer than the job allows")
	ErrJobCancelled = errors.New("the job was cancelled")
	ErrStopped      = errors.New("the worker stops")
)

// JobError is an error of a handler that says more than its text.
type JobError struct {
	Class string // what kind of error, e.g. "NoSuchFile"; empty: "WorkerError"
	Final bool   // trying again would not help
	Err   error  // what happened; nil: Class says it all
}

// Error implements error.
func (e *JobError) Error() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Class != "":
		return e.Class
	}
	return classOther
}

// Unwrap returns Err.
func (e *JobError) Unwrap() error { return e.Err }

// Final marks an error after which trying again would not help. Of nil it makes
// nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &JobError{Final: true, Err: err}
}

const (
	defaultLease = 30 * time.Second
	defaultGrace = 25 * time.Second
	claimWait    = 30 * time.Second // of one claim; see pollWait
	maxClaim     = 100              // jobs that one claim may bring
)

// workerName is what servers take for a name. It is looked at here, because a server that
// refuses one is taken for an older one, which knows no names.
var workerName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Run claims and runs jobs until ctx ends; then it takes no more, lets the
// handlers finish within Grace, and returns nil. Before that it returns only
// when the server refuses the claim or is lost.
func (w Worker) Run(ctx context.Context) error {
	if w.Client == nil || w.Handle == nil || len(w.Queues) == 0 || w.Concurrency < 0 || w.Lease < 0 {
		return errors.New("worker: needs a client, queues, a handler, and no negative concurrency or lease")
	}
	if w.Name != "" && !workerName.MatchString(w.Name) || w.Name == "." || w.Name == ".." {
		return errors.New("worker: the name must be 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen, and neither one dot nor two")
	}
	if w.Concurrency == 0 {
		w.Concurrency = 1
	}
	w.Lease = orDefault(w.Lease, defaultLease)
	w.Grace = orDefault(w.Grace, defaultGrace)
	w.GiveUp = orDefault(w.GiveUp, Forever)
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	handlers, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s := &workerRun{Worker: w, taking: ctx, handlers: handlers, slots: make(chan struct{}, w.Concurrency)}
	err := s.takeJobs(ctx)
	s.drain(cancel)
	return wrap("claim jobs", err)
}

// workerRun is one Run.
type workerRun struct {
	Worker
	taking   context.Context // while it lasts jobs are taken
	handlers context.Context // of all handlers
	slots    chan struct{}   // holds one item for each job at hand; sent by takeJobs, received by whoever gives a slot back
	running  sync.WaitGroup

	nameless atomic.Bool // the server is older and takes no name of a worker
	single   atomic.Bool // the server is older and takes no claim with the end of an attempt
}

// takeJobs claims jobs and starts them until ctx ends (nil) or the server
// refuses.
func (s *workerRun) takeJobs(ctx context.Context) error {
	lull := newPatience(Forever)
	for {
		free := s.take(ctx)
		if free == 0 {
			return nil
		}
		began := time.Now()
		jobs, err := s.claim(ctx, free)
		if ctx.Err() != nil {
			err = nil // it is the end that was wanted
		}
		for range free - len(jobs) {
			<-s.slots
		}
		for _, j := range jobs {
			s.running.Go(func() {
				defer func() { <-s.slots }()
				for j := j; j != nil; {
					j = s.run(j)
				}
			})
		}
		switch {
		case err != nil || ctx.Err() != nil:
			return err
		case len(jobs) == 0 && time.Since(began) < time.Second:
			// The server did not wait: it drains, or is of another mind.
			wait, _ := lull.next(nil, 0) // without a limit it never gives up
			_ = pause(ctx, wait)         // take notices the end of ctx
		default:
			lull.success()
		}
	}
}

// take waits for a free slot and returns how many it took, 0 once ctx has ended.
func (s *workerRun) take(ctx context.Context) int {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; n < maxClaim; n++ {
		select {
		case s.slots <- struct{}{}:
		default:
			return n
		}
	}
	return maxClaim
}

// claimed is a job and the proof that it is ours.
type claimed struct {
	Job   *Job
	Lease struct {
		Token string `json:"token"`
	}
	at time.Time // the lease is at least this young
}

// UnmarshalJSON reads the job, and the member beside the job's own.
func (c *claimed) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &c.Job); err != nil {
		return err
	}
	var beside struct {
		Lease any `json:"lease"`
	}
	beside.Lease = &c.Lease
	return json.Unmarshal(data, &beside)
}

func (s *workerRun) claim(ctx context.Context, most int) ([]*claimed, error) {
	body, err := json.Marshal(struct {
		Queues  []string `json:"queues"`
		Max     int      `json:"max"`
		Wait    int      `json:"wait"` // seconds
		LeaseMs int64    `json:"leaseMs"`
		Worker  string   `json:"worker,omitempty"`
	}{s.Queues, most, int(claimWait / time.Second), milliseconds(s.Lease), s.name()})
	if err != nil {
		return nil, fmt.Errorf("encode claim: %w", err)
	}
	var answer struct {
		Jobs []*claimed `json:"jobs"`
	}
	_, err = s.Client.do(ctx, call{
		method: http.MethodPost, path: "/v1/workers/claim", body: body,
		timeout: claimWait + s.Client.opt.Timeout, giveUp: s.GiveUp,
	}, &answer)
	if s.name() != "" && refuses(err, "/worker") {
		s.nameless.Store(true)
		return s.claim(ctx, most)
	}
	if err != nil {
		return nil, err
	}
	if len(answer.Jobs) > most {
		return nil, fmt.Errorf("the server gave %d jobs where at most %d were asked for", len(answer.Jobs), most)
	}
	now := time.Now()
	for _, c := range answer.Jobs {
		c.at = now
	}
	return answer.Jobs, nil
}

// name is what the server is told of who claims.
func (s *workerRun) name() string {
	if s.nameless.Load() {
		return ""
	}
	return s.Name
}

// claimNext is the member of an attempt's end that claims the next job for its slot.
func (s *workerRun) claimNext() []byte { return s.claimWith(nil) }

// handBack is claimNext for who wants no job any more: what the same call has claimed before
// goes back, and its attempt is not counted.
func (s *workerRun) handBack() []byte { return s.claimWith(new(int)) }

// claimWith is the member claim; most is how many jobs it is for, nil: one.
func (s *workerRun) claimWith(most *int) []byte {
	text, _ := json.Marshal(struct { // strings and numbers always encode
		Queues  []string `json:"queues"`
		Max     *int     `json:"max,omitempty"`
		LeaseMs int64    `json:"leaseMs"`
		Worker  string   `json:"worker,omitempty"`
	}{s.Queues, most, milliseconds(s.Lease), s.name()})
	return append([]byte(`"claim":`), text...)
}

// drain waits for the handlers, at first as long as Grace, then after telling
// them to stop.
func (s *workerRun) drain(cancel context.CancelCauseFunc) {
	timer := time.AfterFunc(max(s.Grace, 0), func() { cancel(ErrStopped) })
	defer timer.Stop()
	s.running.Wait()
}
