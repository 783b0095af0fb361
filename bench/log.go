package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite"
)

const (
	firstClient = "demo"           // to which the key belongs that the server makes at its first start
	storyEvents = 10               // of each job that fills the log
	fillers     = 256              // that do so at a time
	fillTime    = 20 * time.Minute // at most, of one step
	logSteps    = 2000             // of each kind of work in one case: few beside what is stored
	logWorkers  = 16
	nearEnd     = 100 // events that a reader near the end has missed
)

// runLog measures the same work over a log that grows from case to case.
func runLog(ctx context.Context, set *settings) (out outcome, err error) {
	out = outcome{Scenario: "log", Title: fmt.Sprintf("work over a log that holds more and more; %d events for each job", storyEvents)}
	s := &site{}
	if s.data, err = os.MkdirTemp(set.data, "jobcast-bench-"); err != nil {
		return out, fmt.Errorf("make data folder: %w", err)
	}
	s.clean = func() error { return os.RemoveAll(s.data) }
	defer func() { err = errors.Join(err, s.close()) }()
	if err := errors.Join(s.begin(ctx, set), s.end(false)); err != nil { // makes the key
		return out, err
	}
	for _, n := range set.events {
		set.say("fill up to %d events", n)
		r, err := logCase(ctx, set, s, n)
		if err != nil {
			return out, fmt.Errorf("%d events: %w", n, err)
		}
		out.Rows = append(out.Rows, r)
	}
	return out, nil
}

// logCase fills the log up to n events, starts the server and measures.
func logCase(ctx context.Context, set *settings, s *site, n int) (row, error) {
	r := row{Case: fmt.Sprintf("%d events", n), Series: "jobcast", X: float64(n)}
	began := time.Now()
	middle, err := fill(ctx, s.data, n)
	if err != nil {
		return r, fmt.Errorf("fill log: %w", err)
	}
	filled := time.Since(began)
	ready, err := s.beginReady(ctx, set)
	if err != nil {
		return r, err
	}
	if err := s.end(true); err != nil {
		return r, err
	}
	recovered, err := s.beginReady(ctx, set)
	if err != nil {
		return r, err
	}
	size, err := folderSize(s.data)
	if err != nil {
		return r, err
	}
	r.add("filled in", "s", filled.Seconds())
	r.add("folder", "MB", float64(size)/1e6)
	r.add("start", "ms", millis(ready))
	r.add("start after kill", "ms", millis(recovered))
	w, err := newLogWork(ctx, s, middle)
	if err != nil {
		return r, err
	}
	defer closeAll(w.conns)
	for _, k := range w.kinds() {
		if err := k.step(ctx, 0); err != nil { // warms up
			return r, fmt.Errorf("%s: %w", k.name, err)
		}
		var l *load
		m, err := set.measure(s.process, r.Case+" "+k.name, func() error {
			l, err = crowd{logWorkers, set.span, logSteps}.run(ctx, k.step)
			return err
		})
		if err != nil {
			return r, fmt.Errorf("%s: %w", k.name, err)
		}
		r.cost(k.name+" CPU", m.server, float64(l.steps))
		r.add(k.name+" p99", "ms", millis(l.latency.quantile(0.99)))
	}
	lost, doubled, err := s.checkRooms(ctx, w.counts)
	r.zero("lost", lost)
	r.zero("doubled", doubled)
	return r, errors.Join(err, s.end(false))
}

// beginReady starts the server and returns how long it takes until it says that it is
// ready.
func (s *site) beginReady(ctx context.Context, set *settings) (time.Duration, error) {
	began := time.Now()
	if err := s.begin(ctx, set); err != nil {
		return 0, err
	}
	c, err := dial(ctx, s.addr.String())
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	_, err = c.do(request("GET", "/readyz", s.addr.String(), s.key, ""), http.StatusOK)
	return time.Since(began), err
}

// fill brings the log up to n events, with jobs that were submitted, worked on and
// completed in the ordinary way, many at a time. It returns a job in the middle.
func fill(ctx context.Context, dir string, n int) (middle string, err error) {
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(ctx, dir, sqlite.Options{Logger: quiet, Serving: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	room := eventlog.Room{Client: firstClient}
	state, err := store.Open(ctx, room, nil)
	if err != nil {
		return "", err
	}
	if left := n - int(state.Head); left >= storyEvents {
		service := jobs.NewService(store, jobs.ServiceOptions{Logger: quiet})
		l, err := crowd{fillers, fillTime, left / storyEvents}.run(ctx, func(ctx context.Context, w int) error {
			return wholeJob(ctx, service, fmt.Sprintf("fill-%d", w))
		})
		if err != nil {
			return "", err
		}
		if l.steps < left/storyEvents {
			return "", fmt.Errorf("only %d of %d jobs were made in %v", l.steps, left/storyEvents, fillTime)
		}
	}
	page, err := store.Page(ctx, room, uint64(n/2), 1, maxPending)
	if err != nil || len(page.Events) == 0 {
		return "", fmt.Errorf("the log has no middle: %w", err)
	}
	return page.Events[0].JobID, nil
}

// wholeJob makes a job of storyEvents events.
func wholeJob(ctx context.Context, service *jobs.Service, queue string) error {
	_, _, err := service.Submit(ctx, firstClient, jobs.Spec{
		Queue: queue, Payload: []byte("null"), MaxAttempts: 1, Timeout: time.Hour,
	}, jobs.Idempotency{})
	if err != nil {
		return err
	}
	got, err := service.Claim(ctx, firstClient, jobs.ClaimRequest{Queues: []string{queue}, Max: 1, Lease: jobs.MaxLease})
	if err != nil || len(got) != 1 {
		return fmt.Errorf("claimed %d jobs: %w", len(got), err)
	}
	half := 50.0
	steps := make([]jobs.Report, storyEvents-3) // beside created, started, completed
	for i := range steps {
		steps[i] = jobs.Report{Progress: &half, Message: "one of several steps", Step: "bench"}
	}
	if _, err := service.Progress(ctx, got[0].Lease, steps); err != nil {
		return err
	}
	_, _, err = service.End(ctx, jobs.End{Lease: got[0].Lease}, nil)
	return err
}

func folderSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
