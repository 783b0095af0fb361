// Package load submits jobs to a queue and counts what becomes of them. ../../README.md
// tells what it says and reads.
package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long jobs may be silent: what has not ended then is lost.
const patience = time.Minute

// Plan is what is submitted.
type Plan struct {
	Jobs      int
	Producers int // loops that wait for the answer before their next request
	Batch     int // jobs in a request
	Rate      int // jobs a second; 0: as fast as the queue answers
}

// Flags adds the flags of a plan to the command line.
func (p *Plan) Flags(flags *flag.FlagSet) {
	flags.IntVar(&p.Jobs, "jobs", 20_000, "how many jobs are submitted")
	flags.IntVar(&p.Producers, "producers", 64, "loops that submit")
	flags.IntVar(&p.Batch, "batch", 1, "jobs in a request")
	flags.IntVar(&p.Rate, "rate", 0, "jobs a second; 0: as fast as the queue answers")
}

// Queue is where jobs go: it makes n of them in one request and returns their ids.
type Queue func(ctx context.Context, n int) (ids []string, err error)

// Run submits one job for each producer, says "ready" when they have ended, submits the
// others after a line on standard input, and prints what came of them.
func (p *Plan) Run(ctx context.Context, queue Queue, t *Tally) error {
	submit := func(ctx context.Context, n int) error {
		at := time.Now()
		ids, err := queue(ctx, n)
		if err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		if len(ids) != n {
			return fmt.Errorf("submit: %d jobs for %d", len(ids), n)
		}
		t.submitted(at, ids)
		return nil
	}
	err := crowd(ctx, p.Producers, func(ctx context.Context) error { return submit(ctx, 1) })
	if err = errors.Join(err, t.settle(ctx)); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the word to begin: %w", err)
	}
	var begun atomic.Int64 // jobs
	first := time.Now()
	err = crowd(ctx, p.Producers, func(ctx context.Context) error {
		for {
			i := int(begun.Add(int64(p.Batch))) - p.Batch
			if i >= p.Jobs {
				return nil
			}
			if p.Rate > 0 {
				time.Sleep(time.Until(first.Add(time.Duration(i) * time.Second / time.Duration(p.Rate))))
			}
			if err := submit(ctx, min(p.Batch, p.Jobs-i)); err != nil {
				return err
			}
		}
	})
	if err = errors.Join(err, t.settle(ctx)); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(t.result(first))
}

// crowd runs f n times at once. The first error ends all.
func crowd(ctx context.Context, n int, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// Step is what a job tells.
type Step int

// A job tells Begun and then Ended. It tells Failed if it did not end as it should.
const (
	Begun Step = iota
	Ended
	Failed
)

const steps = 2 // of a job's story

// Tally counts. Make it with NewTally; it is safe for concurrent use.
type Tally struct {
	mu            sync.Mutex // guards the rest
	jobs          map[string]*job
	acknowledged  int
	ended         int
	lost, doubled int
}

type job struct {
	sent time.Time // right before its request; zero: it is not acknowledged
	told int       // steps of its story
	end  time.Time
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{jobs: make(map[string]*job)} }

// Told counts what a job told. What it told before, or out of order, is doubled; what it
// left out is lost.
func (t *Tally) Told(id string, step Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.job(id)
	if int(step) < j.told || step == Failed {
		t.doubled++
		return
	}
	t.lost += int(step) - j.told
	j.told = int(step) + 1
	if step == Ended {
		j.end = time.Now()
		t.ended++
	}
}

// job returns the job of that id: its first step may come before its acknowledgement.
func (t *Tally) job(id string) *job {
	j := t.jobs[id]
	if j == nil {
		j = &job{}
		t.jobs[id] = j
	}
	return j
}

func (t *Tally) submitted(at time.Time, ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		j := t.job(id)
		if !j.sent.IsZero() {
			t.doubled++
		}
		j.sent = at
		t.acknowledged++
	}
}

// settle waits until all jobs have ended, or none has for a while.
func (t *Tally) settle(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	was, since := -1, time.Now()
	for {
		t.mu.Lock()
		ended, all := t.ended, t.acknowledged
		t.mu.Unlock()
		if ended >= all || time.Since(since) > patience {
			return nil
		}
		if ended != was {
			was, since = ended, time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

type result struct {
	Acknowledged int     `json:"acknowledged"`
	Ended        int     `json:"ended"`
	TookMs       float64 `json:"tookMs"`
	P50Ms        float64 `json:"p50Ms"`
	P99Ms        float64 `json:"p99Ms"`
	Lost         int     `json:"lost"`
	Doubled      int     `json:"doubled"`
}

// result tells of the jobs since first, and what was lost or doubled of all.
func (t *Tally) result(first time.Time) result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := result{Acknowledged: t.acknowledged, Lost: t.lost, Doubled: t.doubled}
	last := first
	var times []float64
	for _, j := range t.jobs {
		if j.sent.IsZero() { // nobody submitted it
			r.Doubled++
			continue
		}
		r.Lost += steps - j.told
		if j.told < steps || j.sent.Before(first) {
			continue
		}
		times = append(times, millis(j.end.Sub(j.sent)))
		if j.end.After(last) {
			last = j.end
		}
	}
	slices.Sort(times)
	r.Ended, r.TookMs = len(times), millis(last.Sub(first))
	if len(times) > 0 {
		r.P50Ms, r.P99Ms = times[rank(len(times), 0.5)], times[rank(len(times), 0.99)]
	}
	return r
}

// rank is the index of a quantile (nearest rank).
func rank(n int, q float64) int { return max(int(math.Ceil(q*float64(n)))-1, 0) }

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
