package reference

import (
	"context"
	"maps"
	"slices"

	"github.com/jobcast/jobcast/jobs"
)

// Queues implements jobs.Store.
func (s *Store) Queues(_ context.Context, client, after string, limit int) (jobs.QueuePage, error) {
	return read(s, func() (jobs.QueuePage, error) {
		all := make(map[string]jobs.Tally)
		page := jobs.QueuePage{}
		for _, j := range s.sorted(func(j *job) bool { return j.ClientID == client && j.open() }) {
			t := all[j.queue()]
			switch {
			case j.Status == jobs.Processing:
				t.Running++
				if j.lease.worker != "" {
					if page.Held == nil {
						page.Held = make(map[string]int64)
					}
					page.Held[j.lease.worker]++
				}
			case j.ready():
				t.Due++
				if t.Oldest.IsZero() {
					t.Oldest = j.CreatedAt.Time
				}
				t.Pending++
			default:
				t.Pending++
			}
			all[j.queue()] = t
		}
		page.Actions = all[""]
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if name == "" || name <= after {
				continue
			}
			if page.More = len(page.Queues) == limit; page.More {
				break
			}
			page.Queues = append(page.Queues, jobs.QueueTally{Name: name, Tally: all[name]})
		}
		return page, nil
	})
}

// States implements jobs.Store.
func (s *Store) States(_ context.Context, client string) (map[jobs.Status]int64, error) {
	return read(s, func() (map[jobs.Status]int64, error) {
		counts := map[jobs.Status]int64{jobs.Pending: 0, jobs.Processing: 0, jobs.Completed: 0, jobs.Failed: 0, jobs.Cancelled: 0}
		for _, j := range s.tables.jobs {
			if !j.gone && j.ClientID == client {
				counts[j.Status]++
			}
		}
		return counts, nil
	})
}
