package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite"
)

const (
	maxAppends  = 2_000_000 // of one case: what the disk and the check afterwards can bear
	benchClient = "bench"
	benchQueue  = "bench"
)

// runAppend measures the log without HTTP: store and service in this process.
func runAppend(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "append", Title: "events appended in the process, each waiting for its durable commit"}
	for _, n := range set.producers {
		r, err := appendCase(ctx, set, n)
		if err != nil {
			return out, fmt.Errorf("%d producers: %w", n, err)
		}
		out.Rows = append(out.Rows, r)
	}
	return out, nil
}

// appendCase runs over an empty data folder.
func appendCase(ctx context.Context, set *settings, producers int) (r row, err error) {
	dir, err := os.MkdirTemp(set.data, "jobcast-bench-")
	if err != nil {
		return r, fmt.Errorf("make data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var commits, events atomic.Int64
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(ctx, dir, sqlite.Options{Logger: quiet, Serving: true, OnBatch: func(rows int) {
		commits.Add(1)
		events.Add(int64(rows))
	}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	service := jobs.NewService(store, jobs.ServiceOptions{Logger: quiet})
	leases, err := claimJobs(ctx, service, producers)
	if err != nil {
		return r, err
	}
	commits.Store(0)
	events.Store(0)
	r.Case = fmt.Sprintf("%d producers", producers)
	var l *load
	m, err := set.measureSelf(r.Case, func() error {
		l, err = crowd{producers, set.span, maxAppends}.run(ctx, func(ctx context.Context, w int) error {
			return appendOne(ctx, service, leases[w], "one of many steps")
		})
		return err
	})
	if err != nil {
		return r, err
	}
	r.add("events", "1/s", l.rate())
	r.times("append", &l.latency)
	r.add("events per commit", "", float64(events.Load())/float64(max(commits.Load(), 1)))
	r.cost("CPU per event", m.own, float64(l.steps))
	// Each job has its job.created and job.started before what was appended.
	lost, doubled, err := checkLog(ctx, store, uint64(2*producers+l.steps))
	r.add("acknowledged", "", float64(l.steps))
	r.zero("lost", lost)
	r.zero("doubled", doubled)
	return r, err
}

// claimJobs makes n running jobs that report to nobody.
func claimJobs(ctx context.Context, service *jobs.Service, n int) ([]jobs.Lease, error) {
	for range n {
		_, _, err := service.Submit(ctx, benchClient, jobs.Spec{
			Queue: benchQueue, Payload: []byte("null"), MaxAttempts: 1, Timeout: time.Hour,
		}, jobs.Idempotency{})
		if err != nil {
			return nil, fmt.Errorf("submit job: %w", err)
		}
	}
	var leases []jobs.Lease
	for len(leases) < n {
		got, err := service.Claim(ctx, benchClient, jobs.ClaimRequest{
			Queues: []string{benchQueue}, Max: min(n-len(leases), jobs.MaxClaim), Lease: jobs.MaxLease,
		})
		if err != nil {
			return nil, fmt.Errorf("claim jobs: %w", err)
		}
		if len(got) == 0 {
			return nil, fmt.Errorf("only %d of %d jobs could be claimed", len(leases), n)
		}
		for _, l := range got {
			leases = append(leases, l.Lease)
		}
	}
	return leases, nil
}

// appendOne appends one progress event and returns once it is on disk.
func appendOne(ctx context.Context, service *jobs.Service, l jobs.Lease, message string) error {
	half := 50.0
	_, err := service.Progress(ctx, l, []jobs.Report{{Progress: &half, Message: message, Step: "bench"}})
	if err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	return nil
}

// checkLog reads the client's whole log, in which the events 1..want must stand.
// lost is how many numbers are missing, doubled how many are repeated, out of
// order or beyond want.
func checkLog(ctx context.Context, store *sqlite.Store, want uint64) (lost, doubled uint64, err error) {
	const pageEvents, pageBytes = 1000, 1 << 20
	last := uint64(0)
	for {
		page, err := store.Page(ctx, eventlog.Room{Client: benchClient}, last, pageEvents, pageBytes)
		if err != nil {
			return 0, 0, fmt.Errorf("read log: %w", err)
		}
		for _, e := range page.Events {
			switch {
			case e.Seq <= last || e.Seq > want:
				doubled++
			default:
				lost += e.Seq - last - 1
			}
			last = max(last, e.Seq)
		}
		if !page.More || len(page.Events) == 0 {
			break
		}
	}
	if last < want {
		lost += want - last
	}
	return lost, doubled, nil
}
