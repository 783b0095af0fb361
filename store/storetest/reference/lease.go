package reference

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// lease is a job's open lease; the zero lease is none. Its times are on the monotonic clock.
type lease struct {
	token    string
	worker   string // who claimed it by its name since the data were opened; empty: it is not known
	node     string // the server that runs the job itself; empty: a worker does
	ttl      time.Duration
	deadline time.Time // moved by each renewal
	renewed  bool      // it was moved
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
	_, claimed, err := s.Settle(ctx, nil, &c)
	return claimed, err
}

// claimAfter carries out the claim of a settlement. ended tells that the settlement has
// ended the attempt that the claim follows.
func (s *Store) claimAfter(c jobs.Claim, ended bool) []jobs.Leased {
	if c.TTL <= 0 {
		c.TTL = s.opts.DefaultLeaseTTL
	}
	if c.Queues == nil {
		c.Queues = []string{""}
	}
	if !c.Follows() {
		return s.claim(c)
	}
	j := s.tables.jobs[c.After.JobID] // it was found, or does not know the token
	if !ended {
		next, ok := s.tables.jobs[j.next]
		token := jobs.NextToken(c.After.Token)
		if !ok || j.ClientID != c.After.Client || j.last != c.After.Token || next.lease.token != token || !slices.Contains(c.Queues, next.queue()) {
			return nil
		}
		lasts := s.renew(next)
		return []jobs.Leased{{Job: next.whole(), Lease: jobs.Lease{Client: next.ClientID, JobID: next.ID, Token: token}, Lasts: lasts}}
	}
	c.Max = min(c.Max, 1)
	claimed := s.claim(c)
	for _, l := range claimed {
		j = s.tables.jobs[j.ID] // it may be the one that was claimed
		j.next = l.Job.ID
		s.tables.jobs[j.ID] = j
	}
	return claimed
}

func (s *Store) claim(c jobs.Claim) (leased []jobs.Leased) {
	switch {
	case s.spent():
		return nil
	case c.Client == "":
		return s.claimInTurn(c)
	}
	size := 0
	for _, j := range s.ready(c.Client, c.Queues) {
		if j.Browser {
			continue
		}
		out := j.whole()
		size += out.Size() + leaseBytes
		if n := len(leased); n == c.Max || n > 0 && size > jobs.MaxPageBytes {
			break
		}
		leased = append(leased, s.take(j, c))
	}
	return leased
}

// claimInTurn takes one job of each client in turn, and of none more than its share.
func (s *Store) claimInTurn(c jobs.Claim) (leased []jobs.Leased) {
	turn := strings.Join(c.Queues, " ")
	all := jobs.Places{Max: c.Max, Share: c.Share, Held: maps.Clone(c.Held)}
	browsers := c.Browsers
	browsers.Held = maps.Clone(browsers.Held)
	for more := true; more; {
		more = false
		for _, name := range s.inTurn(s.tables.served[turn]) {
			ready := s.ready(name, c.Queues)
			if !has(browsers, name) {
				ready = slices.DeleteFunc(ready, func(j job) bool { return j.Browser })
			}
			if len(ready) == 0 || !has(all, name) {
				continue
			}
			leased = append(leased, s.take(ready[0], c))
			s.tables.served[turn] = name
			occupy(&all, name)
			if ready[0].Browser {
				occupy(&browsers, name)
			}
			more = true
		}
	}
	return leased
}

// has reports whether there is a place for a client.
func has(p jobs.Places, client string) bool {
	return p.Max > 0 && (p.Share <= 0 || p.Held[client] < p.Share)
}

func occupy(p *jobs.Places, client string) {
	if p.Held == nil {
		p.Held = make(map[string]int)
	}
	p.Max--
	p.Held[client]++
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
	token := rand.Text()
	if c.Follows() {
		token = jobs.NextToken(c.After.Token)
	}
	j.lease = lease{token: token, worker: c.Worker, node: c.Node, ttl: c.TTL, deadline: now.Add(c.TTL)}
	if c.Node == "" {
		j.lease.limit = now.Add(time.Duration(j.TimeoutMs) * time.Millisecond)
	}
	s.change(j, jobs.WasStarted, j.StartedAt == nil, wall)
	j.Status, j.StartedAt, j.NextAttemptAt = jobs.Processing, at(wall), nil
	j.Attempt++
	j = s.append(j, wall, jobs.Started(wall, j.Attempt))
	if c.Announce && j.Actions != nil {
		if first := []jobs.Body{jobs.ExecutingFirst(j.Actions)}; s.room(bytesOf(first)) == nil {
			j = s.append(j, wall, first...)
		}
	}
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

// renew moves the deadline of a job's lease, and returns how long it lasts now.
func (s *Store) renew(j job) time.Duration {
	now := time.Now()
	j.lease.deadline, j.lease.renewed = now.Add(j.lease.ttl), true
	s.tables.jobs[j.ID] = j
	return j.lease.end().Sub(now)
}

// fail ends an attempt without success. remember keeps the lease, so that its holder may
// repeat the call.
func (s *Store) fail(j job, f jobs.Failure, remember bool) jobs.Job {
	if remember {
		j.last, j.completed, j.next = j.lease.token, false, ""
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
	s.change(j, jobs.WasRetried, false, now)
	attempt := j.Attempt
	j.Status, j.Attempt, j.NextAttemptAt, j.lease = jobs.Pending, counted, at(next), lease{}
	j = s.append(j, now, jobs.Retrying(f.Class, f.Message, attempt, next))
	return j.brief()
}

// release hands a job back; the attempt does not count.
func (s *Store) release(j job) {
	f := jobs.Failure{Class: jobs.ClassInterrupted, Message: "the attempt was handed back and does not count"}
	j.Error, j.ErrorMessage = &f.Class, &f.Message
	s.again(j, f, 0, j.Attempt-1)
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
