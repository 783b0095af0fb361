package reference

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// PromoteDue implements jobs.Store.
func (s *Store) PromoteDue(ctx context.Context, limit int) (jobs.Swept, error) {
	return write(ctx, s, func() (jobs.Swept, error) {
		now, wall := time.Now(), s.opts.Now()
		dated := s.sorted(func(j *job) bool { return !j.runAt.IsZero() })
		slices.SortStableFunc(dated, func(x, y job) int { return x.runAt.Compare(y.runAt) })
		failed := s.sorted(func(j *job) bool { return !j.retryAt.IsZero() })
		slices.SortStableFunc(failed, func(x, y job) int { return x.retryAt.Compare(y.retryAt) })
		var out jobs.Swept
		var changed []string
		for _, j := range slices.Concat(dated, failed) {
			left := j.retryAt.Sub(now)
			if !j.runAt.IsZero() {
				left = j.runAt.Sub(wall)
			}
			if left > 0 || out.N == limit {
				wait(&out, left)
				continue
			}
			j.runAt, j.retryAt = time.Time{}, time.Time{}
			if j.ExpiresAt != nil && j.expires.IsZero() {
				j.expires = now.Add(max(0, j.ExpiresAt.Sub(wall)))
			}
			s.tables.jobs[j.ID] = j
			out.N++
			changed = append(changed, j.ID)
		}
		out.Ready = s.sources(changed)
		return out, nil
	})
}

// wait notes that there is something to sweep again after a time.
func wait(out *jobs.Swept, left time.Duration) {
	if !out.Waits || left < out.Next {
		out.Next = left
	}
	out.Waits = true
}

// sources returns where those of some jobs are that can be claimed, each once.
func (s *Store) sources(ids []string) (ready []jobs.Source) {
	for _, id := range ids {
		j := s.tables.jobs[id]
		if from := jobs.SourceIn(j.ClientID, j.queue()); j.ready() && !slices.Contains(ready, from) {
			ready = append(ready, from)
		}
	}
	return ready
}

// unbegun returns the job of a client that expires first, if any expires.
func (s *Store) unbegun(client string) (first job, found bool) {
	for _, j := range s.tables.jobs {
		if j.ClientID != client || j.Status != jobs.Pending || j.StartedAt != nil || j.expires.IsZero() {
			continue
		}
		if !found || cmp.Or(j.expires.Compare(first.expires), cmp.Compare(j.row, first.row)) < 0 {
			first, found = j, true
		}
	}
	return first, found
}

// ExpireJobs implements jobs.Store. Each client in turn has one job ended.
func (s *Store) ExpireJobs(ctx context.Context, limit int) (jobs.Swept, error) {
	return write(ctx, s, func() (jobs.Swept, error) {
		var out jobs.Swept
		for more := true; more; {
			more, out.Waits, out.Next = false, false, 0
			for _, name := range s.inTurn(s.tables.expired) {
				first, found := s.unbegun(name)
				if !found {
					continue
				}
				if left := time.Until(first.expires); left > 0 || out.N == limit {
					wait(&out, left)
					continue
				}
				s.expire(first)
				s.tables.expired = name
				out.N++
				more = true
			}
		}
		return out, nil
	})
}

func (s *Store) expire(j job) {
	message := fmt.Sprintf("nobody began the job within %d ms", j.expiresIn.Milliseconds())
	now, class := s.now(), jobs.ClassExpired
	j.Error, j.ErrorMessage = &class, &message
	s.end(j, jobs.Failed, now, jobs.FailedWith(now, class, message))
}

// pruneRows is how many events one step of Prune deletes at most.
const pruneRows = 250

// Prune implements jobs.Store. A job with more events than one call deletes is hidden by
// the first.
func (s *Store) Prune(ctx context.Context, before time.Time, takes time.Duration) (jobs.Pruned, error) {
	return write(ctx, s, func() (out jobs.Pruned, _ error) {
		began := time.Now()
		for left := pruneRows; ; {
			j, ok := s.nextToPrune(before)
			if left == 0 && time.Since(began) < takes {
				left = pruneRows
			}
			if !ok || left == 0 {
				out.More = ok
				return out, nil
			}
			if left -= s.deleteEvents(j, left); left > 0 {
				delete(s.tables.jobs, j.ID)
				out.N++
			}
		}
	})
}

// nextToPrune returns the job that is hidden already, or else hides the one that ended
// first, if that was before.
func (s *Store) nextToPrune(before time.Time) (job, bool) {
	if hidden := s.sorted(func(j *job) bool { return j.gone }); len(hidden) > 0 {
		return hidden[0], true
	}
	ended := s.sorted(func(j *job) bool { return j.CompletedAt != nil && j.CompletedAt.Before(millis(before)) })
	if len(ended) == 0 {
		return job{}, false
	}
	j := slices.MinFunc(ended, func(x, y job) int { return x.CompletedAt.Compare(y.CompletedAt.Time) })
	for _, a := range j.artifacts {
		s.tables.garbage[a.File] = a.Size
	}
	j.gone, j.artifacts = true, nil
	s.tables.jobs[j.ID] = j
	return j, true
}

// deleteEvents deletes the oldest events of a job, and returns how many.
func (s *Store) deleteEvents(j job, limit int) (n int) {
	c := s.tables.clients[j.ClientID]
	c.log = slices.DeleteFunc(slices.Clone(c.log), func(e eventlog.Event) bool {
		if e.JobID != j.ID || n == limit {
			return false
		}
		n++
		c.pruned = max(c.pruned, e.Seq)
		return true
	})
	s.tables.clients[j.ClientID] = c
	return n
}
