package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The sizes of jobs.
const (
	maxJobs      = 100_000 // of one case: as many of one client may wait
	maxRunners   = 1000
	jobProducers = 64  // connections that submit
	jobBatch     = 100 // jobs in a request of batches
	jobRate      = 500 // jobs a second, paced

	gatheredFigure = "events per commit"
	remoteWorkers  = 16
	remoteJobs     = 20 // that a remote worker claims at once and ends at once
)

// jobsCase is one way in which jobs are submitted and run.
type jobsCase struct {
	name    string
	runners int // of the server
	remote  int // jobs that each remote worker has at a time; 0: the server's runners do the work
	batch   int // jobs in a request
	rate    int // jobs a second; 0: as fast as the server answers
	jobs    int
}

// jobsCases returns what jobs measures.
func jobsCases(set *settings) []jobsCase {
	var all []jobsCase
	for _, n := range set.runners {
		all = append(all, jobsCase{name: fmt.Sprintf("%d runners", n), runners: n, batch: 1, jobs: set.jobs})
	}
	for _, n := range set.runners {
		all = append(all, jobsCase{name: fmt.Sprintf("%d runners, batches of %d", n, jobBatch), runners: n, batch: jobBatch, jobs: set.jobs})
	}
	for _, n := range set.runners {
		all = append(all, jobsCase{
			name: fmt.Sprintf("%d runners, %d jobs/s", n, jobRate), runners: n, batch: 1, rate: jobRate,
			jobs: min(eventsOf(jobRate, set.span), set.jobs),
		})
	}
	first := set.runners[0]
	return append(all,
		jobsCase{name: fmt.Sprintf("%d remote workers by ones", remoteWorkers), runners: first, remote: 1, batch: 1, jobs: set.jobs},
		jobsCase{name: fmt.Sprintf("%d remote workers by %d", remoteWorkers, remoteJobs), runners: first, remote: remoteJobs, batch: 1, jobs: set.jobs})
}

// runJobs measures jobs from their submit to their end: all cases of jobcast in one table,
// and each that the peers which were asked for have too in another, one after the other.
func runJobs(ctx context.Context, set *settings) ([]outcome, error) {
	own := outcome{Scenario: "jobs", Title: fmt.Sprintf("%d jobs that do nothing, submitted by %d producers, from the first submit to the last end; every event is committed with fsync before it is told", set.jobs, jobProducers)}
	var compared []outcome
	for _, c := range jobsCases(set) {
		set.say("%s, jobcast", c.name)
		one := target{name: "jobcast", open: openJobcast(fmt.Sprintf("--concurrency=%d", c.runners), fmt.Sprintf("--max-running-per-client=%d", c.runners))}
		r, err := withSite(ctx, set, one, 0, func(s *site) (row, error) { return c.run(ctx, set, s) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		own.Rows = append(own.Rows, r)
		if c.remote > 0 || len(set.queues) == 0 {
			continue
		}
		table := comparison(set, c, len(compared) == 0)
		table.Rows = append(table.Rows, r.beside())
		for _, q := range set.queues {
			set.say("%s, %s", c.name, q.name)
			r, err := q.run(ctx, set, c)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.name, q.name, err)
			}
			table.Rows = append(table.Rows, r)
		}
		compared = append(compared, table)
	}
	return append([]outcome{own}, compared...), nil
}

// body returns a job, and the types of the events that it tells, in order.
func (c jobsCase) body() (job string, story []string) {
	if c.remote > 0 {
		return queueJob, []string{"job.created", "job.started", "job.completed"}
	}
	return waitJob, strings.Fields(wholeStory)
}

// run measures one case. Its remote workers, if it has any, are there from before the
// first job until after the last.
func (c jobsCase) run(ctx context.Context, set *settings, s *site) (row, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel(nil)
	if c.remote > 0 {
		for range remoteWorkers {
			workers.Go(func() {
				if err := s.work(ctx, c.remote); err != nil {
					cancel(err)
				}
			})
		}
	}
	return c.submitAll(ctx, set, s)
}

// submitAll submits the jobs of a case and waits for the end of the last one.
func (c jobsCase) submitAll(ctx context.Context, set *settings, s *site) (r row, err error) {
	r.Case, r.Target = c.name, "jobcast"
	job, story := c.body()
	log, err := s.watchJobs(ctx, story)
	if err != nil {
		return r, err
	}
	defer log.Close()
	conns, err := dialAll(ctx, s.addr.String(), jobProducers)
	if err != nil {
		return r, err
	}
	defer closeAll(conns)
	p := &submitters{jobsCase: c, site: s, job: job, conns: conns, made: make([][]submission, len(conns))}
	for w := range conns {
		if err := p.submit(w, 1, time.Time{}); err != nil { // warms the server up
			return r, err
		}
	}
	if err := log.await(ctx, p.acknowledged()); err != nil {
		return r, err
	}
	m, gathered, err := s.measure(ctx, set, strings.ReplaceAll(c.name, "/", " per "), func() error {
		if err := p.run(ctx); err != nil {
			return err
		}
		return log.await(ctx, p.acknowledged())
	})
	if err != nil {
		return r, err
	}
	if err := p.submit(0, 1, time.Time{}); err != nil { // when it has ended, all before it was told
		return r, err
	}
	if err := log.await(ctx, p.acknowledged()); err != nil {
		return r, err
	}
	log.Close()
	t := log.tally(p.made)
	r.add("jobs", "1/s", perSecond(float64(t.latency.total), t.took))
	r.cost("server CPU per job", m.server, float64(t.latency.total))
	r.times("ended", &t.latency)
	r.add(gatheredFigure, "", gathered)
	r.generator(m)
	r.add("acknowledged", "", float64(p.acknowledged()))
	r.zero("lost", t.lost)
	r.zero("doubled", t.doubled)
	return r, nil
}

// submission is a request that was acknowledged.
type submission struct {
	at  time.Time // right before it was sent; zero: it is not measured
	ids []string
}

// submitters submit the jobs of a case, each over a connection of its own.
type submitters struct {
	jobsCase
	site  *site
	job   string
	conns []*conn
	made  [][]submission // by submitter
}

// run submits all jobs: the next request is that of the submitter that is free.
func (p *submitters) run(ctx context.Context) error {
	requests := (p.jobs + p.batch - 1) / p.batch
	var begun atomic.Int64
	start := time.Now()
	_, err := crowd{len(p.conns), maxSpan, requests}.run(ctx, func(ctx context.Context, w int) error {
		i := int(begun.Add(1)) - 1
		if p.rate > 0 {
			sleepUntil(ctx, start.Add(time.Duration(i)*time.Second/time.Duration(p.rate)))
		}
		return p.submit(w, min(p.batch, p.jobs-i*p.batch), time.Now())
	})
	return err
}

// submit makes n jobs with one request of submitter w.
func (p *submitters) submit(w, n int, at time.Time) error {
	path, body := "/v1/jobs", p.job
	if p.batch > 1 {
		path, body = "/v1/jobs/batch", `{"jobs":[`+p.job+strings.Repeat(","+p.job, n-1)+`]}`
	}
	answer, err := p.conns[w].do(request("POST", path, p.site.addr.String(), p.site.key, body), http.StatusAccepted)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	made := submission{at: at}
	if p.batch == 1 {
		made.ids = []string{string(member(answer, idMember))}
	} else {
		var got struct{ Jobs []struct{ ID string } }
		if err := json.Unmarshal(answer, &got); err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		for _, j := range got.Jobs {
			made.ids = append(made.ids, j.ID)
		}
	}
	if len(made.ids) != n {
		return errors.New("submit: the answer has another number of jobs than the request")
	}
	p.made[w] = append(p.made[w], made)
	return nil
}

// acknowledged returns how many jobs were made.
func (p *submitters) acknowledged() (n int) {
	for _, made := range slices.Concat(p.made...) {
		n += len(made.ids)
	}
	return n
}

// sleepUntil returns at the time at, or with the end of ctx.
func sleepUntil(ctx context.Context, at time.Time) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
