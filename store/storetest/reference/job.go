package reference

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// job is a job as Get returns it, but for its artifacts, and what only the store knows.
type job struct {
	jobs.Job
	row  int // the order in which jobs came
	idem jobs.Idempotency
	gone bool // it is being pruned: nobody but Prune sees it

	runAt     time.Time     // when it can be claimed, on the wall's clock; zero: it waits for no such time
	retryAt   time.Time     // when its back-off is over; zero: there is none
	expiresIn time.Duration // how long it waits to be begun; 0: for ever
	expires   time.Time     // when that is over; zero: it has not begun to wait

	lease     lease
	last      string // the token whose holder ended the newest attempt
	completed bool   // and how: with success
	next      string // the job that was claimed then; empty: none was
	artifacts []jobs.StoredArtifact
}

// ready reports whether the job can be claimed.
func (j *job) ready() bool {
	return !j.gone && j.Status == jobs.Pending && j.runAt.IsZero() && j.retryAt.IsZero()
}

// open reports whether the job counts against its client's bound.
func (j *job) open() bool { return !j.gone && !j.Status.Terminal() }

func (j *job) queue() string {
	if j.Queue == nil {
		return ""
	}
	return *j.Queue
}

// whole is the job with its artifacts.
func (j *job) whole() jobs.Job {
	out := j.Job
	out.Artifacts = make([]jobs.Artifact, len(j.artifacts))
	for i, a := range j.artifacts {
		out.Artifacts[i] = a.Artifact
	}
	return out
}

func (j *job) brief() jobs.Job { return j.abridged(jobs.MaxBriefBytes) }

func (j *job) abridged(limit int) jobs.Job {
	out := j.whole()
	out.AbridgeTo(limit, jobs.Unread{})
	return out
}

// find returns a client's job.
func (s *Store) find(client, id string) (job, error) {
	j, ok := s.tables.jobs[id]
	if !ok || j.gone || j.ClientID != client {
		return job{}, jobs.ErrNotFound
	}
	return j, nil
}

// sorted returns the jobs that want wants, oldest first.
func (s *Store) sorted(want func(*job) bool) []job {
	var found []job
	for _, j := range s.tables.jobs {
		if want(&j) {
			found = append(found, j)
		}
	}
	slices.SortFunc(found, func(x, y job) int { return x.row - y.row })
	return found
}

// submitted is what Submit and Retry return.
type submitted struct {
	job      jobs.Job
	replayed bool
}

// Submit implements jobs.Store.
func (s *Store) Submit(ctx context.Context, client, id string, spec jobs.Spec, idem jobs.Idempotency) (jobs.Job, bool, error) {
	out, err := write(ctx, s, func() (submitted, error) {
		if out, err := s.replay(client, idem); err != nil || out.replayed {
			return out, err
		}
		j, err := s.submit(client, id, spec, idem)
		if err != nil {
			return submitted{}, err
		}
		return submitted{job: j.whole()}, nil
	})
	return out.job, out.replayed, err
}

// Retry implements jobs.Store.
func (s *Store) Retry(ctx context.Context, client, of, id string, idem jobs.Idempotency) (jobs.Job, bool, error) {
	out, err := write(ctx, s, func() (submitted, error) {
		if out, err := s.replay(client, idem); err != nil || out.replayed {
			return out, err
		}
		old, err := s.find(client, of)
		if err != nil {
			return submitted{}, err
		}
		if old.Status != jobs.Failed && old.Status != jobs.Cancelled {
			return submitted{}, &jobs.ConflictError{Job: old.brief(),
				Detail: fmt.Sprintf("only a failed or cancelled job can be retried; this one is %s", old.Status)}
		}
		title, console := "", ""
		if old.Title != nil {
			title = *old.Title
		}
		if old.Console != nil {
			console = *old.Console
		}
		j, err := s.submit(client, id, jobs.Spec{
			Title: title, Console: console, State: old.State,
			Actions: old.Actions, Browser: old.Browser, Hosts: old.Hosts, Queue: old.queue(), Payload: old.Payload, Metadata: old.Metadata, MaxAttempts: old.MaxAttempts,
			Timeout: time.Duration(old.TimeoutMs) * time.Millisecond, ExpiresIn: old.expiresIn, Priority: old.Priority, RetryOf: of,
		}, idem)
		if err != nil {
			return submitted{}, err
		}
		return submitted{job: j.brief()}, nil
	})
	return out.job, out.replayed, err
}

// replay answers a submit whose key was used before.
func (s *Store) replay(client string, idem jobs.Idempotency) (submitted, error) {
	if _, ok := s.batch(client, idem.Key); ok {
		return submitted{}, jobs.ErrIdempotencyMismatch
	}
	for _, j := range s.tables.jobs {
		switch {
		case idem.Key == "" || j.gone || j.ClientID != client || j.idem.Key != idem.Key:
		case j.idem.Hash != idem.Hash:
			return submitted{}, jobs.ErrIdempotencyMismatch
		default:
			return submitted{job: j.brief(), replayed: true}, nil
		}
	}
	return submitted{}, nil
}

func (s *Store) submit(client, id string, spec jobs.Spec, idem jobs.Idempotency) (job, error) {
	if err := s.admit(client, 1, spec.Size()); err != nil {
		return job{}, err
	}
	return s.insert(client, id, spec, idem), nil
}

// admit refuses n jobs of so many bytes that the client or the folder has no room for.
func (s *Store) admit(client string, n, bytes int) error {
	limit, used := s.opts.Limits.JobsPerClient, s.usage(client).Jobs
	if limit > 0 && used+int64(n) > limit {
		return &jobs.LimitError{What: jobs.LimitJobs, Max: limit, Used: used, Asked: int64(n)}
	}
	return s.room(int64(bytes + n*rowBytes))
}

func (s *Store) insert(client, id string, spec jobs.Spec, idem jobs.Idempotency) job {
	s.client(client)
	s.tables.rows++
	now := s.now()
	j := job{row: s.tables.rows, idem: idem, Job: jobs.Job{
		ID: id, ClientID: client, Status: jobs.Pending, Actions: spec.Actions, Browser: spec.Browser, Hosts: spec.Hosts, Metadata: spec.Metadata,
		MaxAttempts: spec.MaxAttempts, TimeoutMs: spec.Timeout.Milliseconds(), Priority: spec.Priority, CreatedAt: jobs.At(now),
	}}
	if spec.Queue != "" {
		j.Queue, j.Payload = &spec.Queue, spec.Payload
	}
	if spec.RetryOf != "" {
		j.RetryOf = &spec.RetryOf
	}
	if spec.Title != "" {
		j.Title = &spec.Title
	}
	j.State = spec.State
	if spec.Console != "" {
		j.Console = &spec.Console
	}
	if !spec.RunAt.IsZero() {
		j.RunAt = at(spec.RunAt)
	}
	if j.RunAt != nil && j.RunAt.After(now) {
		j.runAt = j.RunAt.Time
	}
	if j.expiresIn = spec.ExpiresIn; j.expiresIn == 0 && spec.Queue != "" {
		j.expiresIn = s.opts.Limits.QueueTTL
	}
	switch {
	case j.expiresIn == 0:
	case j.runAt.IsZero():
		j.ExpiresAt, j.expires = at(now.Add(j.expiresIn)), time.Now().Add(j.expiresIn)
	default:
		j.ExpiresAt = at(j.runAt.Add(j.expiresIn))
	}
	s.change(j, jobs.WasSubmitted, false, now)
	return s.append(j, now, jobs.Created(now))
}

func at(t time.Time) *jobs.Time {
	out := jobs.At(t)
	return &out
}

// Get implements jobs.Store.
func (s *Store) Get(_ context.Context, client, id string) (jobs.Job, error) {
	return read(s, func() (jobs.Job, error) {
		j, err := s.find(client, id)
		if err != nil {
			return jobs.Job{}, err
		}
		return j.whole(), nil
	})
}

// Brief implements jobs.Store.
func (s *Store) Brief(_ context.Context, client, id string) (jobs.Job, error) {
	return read(s, func() (jobs.Job, error) {
		j, err := s.find(client, id)
		if err != nil {
			return jobs.Job{}, err
		}
		return j.brief(), nil
	})
}

// List implements jobs.Store.
func (s *Store) List(_ context.Context, client string, q jobs.ListQuery) (jobs.JobPage, error) {
	if q.MaxBytes <= 0 {
		q.MaxBytes = jobs.MaxPageBytes
	}
	return read(s, func() (jobs.JobPage, error) {
		page, size := jobs.JobPage{Jobs: []jobs.Job{}}, 0
		below := s.listStart(client, q.After)
		found := s.sorted(func(j *job) bool {
			return j.ClientID == client && !j.gone && j.row < below && (q.Status == "" || j.Status == q.Status)
		})
		looked := 0
		for _, j := range slices.Backward(found) {
			if out := j.whole(); listed(out, q) {
				size += out.Size()
				if n := len(page.Jobs); n > 0 && (n >= q.Limit || size > q.MaxBytes) {
					page.Next = &page.Jobs[n-1].ID
					break
				}
				page.Jobs = append(page.Jobs, out)
			}
			if looked++; q.Narrow() && looked == cmp.Or(q.MaxScan, jobs.MaxListScan) {
				page.Next = &j.ID
				break
			}
		}
		return page, nil
	})
}

// listed reports whether a job is what a list looks for.
func listed(j jobs.Job, q jobs.ListQuery) bool {
	has := func(text *string) bool {
		return text != nil && strings.Contains(jobs.LowerASCII(*text), jobs.LowerASCII(q.Search))
	}
	return (q.Queue == "" || j.Queue != nil && *j.Queue == q.Queue) && !j.CreatedAt.Before(q.From) && (q.To.IsZero() || j.CreatedAt.Before(q.To)) &&
		(q.Search == "" || has(&j.ID) || has(j.Title) || has(j.Error) || has(j.ErrorMessage))
}

// listStart returns the row that a page lies below. The id of a job that was pruned
// since tells by its time where it was.
func (s *Store) listStart(client, after string) int {
	if j, ok := s.tables.jobs[after]; ok && j.ClientID == client {
		return j.row
	}
	below := s.tables.rows + 1
	for id, j := range s.tables.jobs {
		if after != "" && id > after {
			below = min(below, j.row)
		}
	}
	return below
}

// Cancel implements jobs.Store.
func (s *Store) Cancel(ctx context.Context, client, id string) (jobs.Job, error) {
	return write(ctx, s, func() (jobs.Job, error) {
		j, err := s.find(client, id)
		switch {
		case err != nil:
			return jobs.Job{}, err
		case j.Status == jobs.Cancelled:
			return j.brief(), nil
		case j.Status.Terminal():
			return jobs.Job{}, &jobs.ConflictError{Job: j.brief(), Detail: fmt.Sprintf("the job is already %s", j.Status)}
		}
		now := s.now()
		j.runAt, j.retryAt, j.NextAttemptAt = time.Time{}, time.Time{}, nil
		return s.end(j, jobs.Cancelled, now, jobs.CancelledAt(now)), nil
	})
}

// change tells of a change of a job. timed: also how long after the job's time had come.
func (s *Store) change(j job, what jobs.Changed, timed bool, now time.Time) {
	one := jobs.Change{Client: j.ClientID, What: what, Timed: timed}
	since := j.CreatedAt.Time
	if j.RunAt != nil && j.RunAt.After(since) {
		since = j.RunAt.Time
	}
	if timed {
		one.Took = max(0, now.Sub(since))
	}
	s.changes = append(s.changes, one)
}

// end ends a job with its last event.
func (s *Store) end(j job, as jobs.Status, now time.Time, last jobs.Body) jobs.Job {
	what := map[jobs.Status]jobs.Changed{jobs.Completed: jobs.WasCompleted, jobs.Failed: jobs.WasFailed, jobs.Cancelled: jobs.WasCancelled}[as]
	s.change(j, what, what != jobs.WasCancelled && j.StartedAt != nil, now)
	j.Status, j.CompletedAt, j.lease = as, at(now), lease{}
	j = s.append(j, now, last)
	return j.brief()
}

// Counts returns the number of jobs by state.
func (s *Store) Counts(context.Context) (map[jobs.Status]int64, error) {
	return read(s, func() (map[jobs.Status]int64, error) {
		counts := map[jobs.Status]int64{jobs.Pending: 0, jobs.Processing: 0, jobs.Completed: 0, jobs.Failed: 0, jobs.Cancelled: 0}
		for _, j := range s.tables.jobs {
			if !j.gone {
				counts[j.Status]++
			}
		}
		return counts, nil
	})
}
