package reference

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// lease is a job's open lease; the zero lease is none. Its times are on the monotonic clock.
type lease struct {
	token    string
	node     string // the server that runs the job itself; empty: a worker does
	ttl      time.Duration
	deadline time.Time // moved by each renewal
	limit    time.Time // when the attempt has run too long; zero: its node sees to that itself
}

// end returns when the lease runs out.
func (l lease) end() time.Time {
	if !l.limit.IsZero() && l.limit.Before(l.deadline) {
		return l.limit
	}
	return l.deadline
}

// leased returns the jobs under a lease.
func (s *Store) leased() []job {
	return s.sorted(func(j *job) bool { return j.lease.token != "" })
}

// leaseBytes is more than a lease has as JSON.
const leaseBytes = 128

// Claim implements jobs.Store.
func (s *Store) Claim(ctx context.Context, c jobs.Claim) ([]jobs.Leased, error) {
	if c.TTL <= 0 {
		c.TTL = s.opts.DefaultLeaseTTL
	}
	if c.Queues == nil {
		c.Queues = []string{""}
	}
	return write(ctx, s, func() ([]jobs.Leased, error) {
		switch {
		case s.spent():
			return nil, nil
		case c.Client == "":
			return s.claimInTurn(c), nil
		}
		var leased []jobs.Leased
		size := 0
		for _, j := range s.ready(c.Client, c.Queues) {
			out := j.whole()
			size += out.Size() + leaseBytes
			if n := len(leased); n == c.Max || n > 0 && size > jobs.MaxPageBytes {
				break
			}
			leased = append(leased, s.take(j, c))
		}
		return leased, nil
	})
}

// claimInTurn takes one job of each client in turn, and of none more than its share.
func (s *Store) claimInTurn(c jobs.Claim) (leased []jobs.Leased) {
	turn := strings.Join(c.Queues, " ")
	held := maps.Clone(c.Held)
	if held == nil {
		held = make(map[string]int)
	}
	for more := true; more; {
		more = false
		for _, name := range s.inTurn(s.tables.served[turn]) {
			ready := s.ready(name, c.Queues)
			if len(leased) == c.Max || len(ready) == 0 || c.Share > 0 && held[name] >= c.Share {
				continue
			}
			leased = append(leased, s.take(ready[0], c))
			s.tables.served[turn] = name
			held[name]++
			more = true
		}
	}
	return leased
}

// ready returns the jobs of a client that can be claimed from queues, the best first.
func (s *Store) ready(client string, queues []string) []job {
	found := s.sorted(func(j *job) bool {
		return j.ClientID == client && j.ready() && slices.Contains(queues, j.queue())
	})
	slices.SortStableFunc(found, func(x, y job) int { return cmp.Compare(y.Priority, x.Priority) })
	return found
}

// take leases a job.
func (s *Store) take(j job, c jobs.Claim) jobs.Leased {
	now, wall := time.Now(), s.now()
	j.lease = lease{token: rand.Text(), node: c.Node, ttl: c.TTL, deadline: now.Add(c.TTL)}
	if c.Node == "" {
		j.lease.limit = now.Add(time.Duration(j.TimeoutMs) * time.Millisecond)
	}
	j.Status, j.StartedAt, j.NextAttemptAt = jobs.Processing, at(wall), nil
	j.Attempt++
	j = s.append(j, wall, jobs.Started(wall, j.Attempt))
	return jobs.Leased{
		Job: j.whole(), Lease: jobs.Lease{Client: j.ClientID, JobID: j.ID, Token: j.lease.token}, Lasts: j.lease.end().Sub(now),
	}
}

// holding returns the job that l is the open lease of.
func (s *Store) holding(l jobs.Lease) (job, error) {
	j, err := s.find(l.Client, l.JobID)
	if err == nil && (l.Token == "" || j.lease.token != l.Token) {
		err = jobs.ErrLeaseLost
	}
	return j, err
}

// ended returns the job that l was the lease of when its newest attempt ended, with
// success or without.
func (s *Store) ended(l jobs.Lease, completed bool) (jobs.Job, error) {
	j, err := s.find(l.Client, l.JobID)
	switch {
	case err != nil:
		return jobs.Job{}, err
	case l.Token == "" || j.last != l.Token || j.completed != completed:
		return jobs.Job{}, jobs.ErrLeaseLost
	}
	return j.brief(), nil
}

// renew moves the deadline of a job's lease, and returns how long it lasts now.
func (s *Store) renew(j job) time.Duration {
	now := time.Now()
	j.lease.deadline = now.Add(j.lease.ttl)
	s.tables.jobs[j.ID] = j
	return j.lease.end().Sub(now)
}

// Append implements jobs.Store.
func (s *Store) Append(ctx context.Context, l jobs.Lease, bodies []jobs.Body) (jobs.Receipt, error) {
	return write(ctx, s, func() (jobs.Receipt, error) {
		j, err := s.holding(l)
		if err != nil {
			return jobs.Receipt{}, err
		}
		var bytes int64
		for _, b := range bodies {
			bytes += int64(len(b.Data)) + rowBytes
		}
		if err := s.room(bytes); err != nil {
			return jobs.Receipt{}, err
		}
		j = s.append(j, s.now(), bodies...)
		return jobs.Receipt{LastEventID: j.Cursor, Lasts: s.renew(j)}, nil
	})
}

// Extend implements jobs.Store.
func (s *Store) Extend(ctx context.Context, l jobs.Lease) (jobs.Receipt, error) {
	return s.Append(ctx, l, nil)
}

// Complete implements jobs.Store.
func (s *Store) Complete(ctx context.Context, l jobs.Lease, result json.RawMessage) (jobs.Job, error) {
	if len(result) == 0 {
		result = json.RawMessage("{}")
	}
	return write(ctx, s, func() (jobs.Job, error) {
		j, err := s.holding(l)
		if err != nil {
			return s.ended(l, true)
		}
		now := s.now()
		last := jobs.CompletedWith(now, j.whole().Artifacts, result)
		if !last.Fits() {
			return jobs.Job{}, &jobs.InvalidError{Fields: []jobs.FieldError{{Pointer: "/result",
				Detail: "is too large for one event together with the job's artifacts; store it as an artifact"}}}
		}
		j.last, j.completed = l.Token, true
		j.Result, j.Error, j.ErrorMessage = result, nil, nil
		return s.end(j, jobs.Completed, now, last), nil
	})
}

// Fail implements jobs.Store.
func (s *Store) Fail(ctx context.Context, l jobs.Lease, f jobs.Failure) (jobs.Job, error) {
	return write(ctx, s, func() (jobs.Job, error) {
		j, err := s.holding(l)
		if err != nil {
			return s.ended(l, false)
		}
		return s.fail(j, f, true), nil
	})
}

// fail ends an attempt without success. remember keeps the lease, so that its holder may
// repeat the call.
func (s *Store) fail(j job, f jobs.Failure, remember bool) jobs.Job {
	if remember {
		j.last, j.completed = j.lease.token, false
	}
	j.Error, j.ErrorMessage = &f.Class, &f.Message
	if f.Retry && j.Attempt < j.MaxAttempts {
		return s.again(j, f, f.Backoff.After(j.Attempt), j.Attempt)
	}
	now := s.now()
	return s.end(j, jobs.Failed, now, jobs.FailedWith(now, f.Class, f.Message))
}

// again makes a running job pending, due after a delay, with counted attempts begun.
func (s *Store) again(j job, f jobs.Failure, delay time.Duration, counted int) jobs.Job {
	now := s.now()
	next := now.Add(delay)
	if delay >= time.Millisecond {
		j.retryAt = time.Now().Add(next.Sub(s.opts.Now())) // when the client is told, however the clock is set
	}
	attempt := j.Attempt
	j.Status, j.Attempt, j.NextAttemptAt, j.lease = jobs.Pending, counted, at(next), lease{}
	j = s.append(j, now, jobs.Retrying(f.Class, f.Message, attempt, next))
	return j.brief()
}

// Release implements jobs.Store.
func (s *Store) Release(ctx context.Context, l jobs.Lease) error {
	return s.do(ctx, func() error {
		j, err := s.holding(l)
		if err != nil {
			return err
		}
		f := jobs.Failure{Class: jobs.ClassInterrupted, Message: "the attempt was handed back and does not count"}
		j.Error, j.ErrorMessage = &f.Class, &f.Message
		s.again(j, f, 0, j.Attempt-1)
		return nil
	})
}

var leaseExpired = jobs.Failure{
	Class: jobs.ClassLeaseExpired, Message: "the worker went silent and its lease ran out", Retry: true,
}

// ExpireLeases implements jobs.Store.
func (s *Store) ExpireLeases(ctx context.Context, limit int) (jobs.Swept, error) {
	return write(ctx, s, func() (jobs.Swept, error) {
		now := time.Now()
		open := s.leased()
		slices.SortStableFunc(open, func(x, y job) int { return x.lease.end().Compare(y.lease.end()) })
		var out jobs.Swept
		var changed []string
		for _, j := range open {
			if j.lease.end().After(now) || out.N == limit {
				wait(&out, j.lease.end().Sub(now))
				continue
			}
			f := leaseExpired
			if !j.lease.limit.IsZero() && !j.lease.limit.After(now) {
				f = jobs.TimedOut(j.TimeoutMs)
			}
			s.fail(j, f, false)
			out.N++
			changed = append(changed, j.ID)
		}
		out.Ready = s.sources(changed)
		return out, nil
	})
}
