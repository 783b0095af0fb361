package jobs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

const (
	// MaxQueuePage is how many queues one page may have.
	MaxQueuePage = 500
	// MaxWorkers is how many workers are told of with it. As many are remembered; of those
	// that only run a job there may be as many as jobs.
	MaxWorkers = sightsOfOne
)

// Tally is how many jobs of a client wait in a place, or are run from there.
type Tally struct {
	Pending int64     // nobody has begun them, or they are to be tried again
	Due     int64     // those of them that can be claimed: no runAt and no back-off is ahead of them
	Running int64     // somebody has a lease on them
	Oldest  time.Time // when the oldest of those that are due was submitted; zero: none is
}

// QueueTally is the tally of one queue.
type QueueTally struct {
	Name string
	Tally
}

// QueuePage is how the queues of a client stand, those that have a job which has not ended.
type QueuePage struct {
	Queues  []QueueTally     // by name
	More    bool             // there may be more, after the last of them
	Actions Tally            // jobs with actions, which are in no queue
	Held    map[string]int64 // how many jobs workers run, by the names that they gave when they claimed, since the store was opened
}

// Tallies says how much there is to do, and what became of it.
type Tallies interface {
	// States returns the number of a client's jobs by state. It costs the same however many
	// there are.
	States(ctx context.Context, client string) (map[Status]int64, error)

	// Queues returns at most limit queues of a client whose names come after one. What it
	// costs grows with the page, not with the jobs.
	Queues(ctx context.Context, client, after string, limit int) (QueuePage, error)
}

// QueueState is how a queue stands, and who works on it.
type QueueState struct {
	QueueTally
	Workers []SeenWorker // who claimed from it lately; by name
}

// SeenWorker is a worker that has claimed from a queue, and when it did so last. Those that
// give no name are one, whose name is empty.
type SeenWorker struct {
	Name string
	Last time.Time
}

// WorkerState is a worker that has claimed lately, or runs a job.
type WorkerState struct {
	SeenWorker
	Queues  []string // it has claimed from lately; by name
	Running int64    // of a worker with a name
}

// QueueList is one page of a client's queues, and its workers.
type QueueList struct {
	Queues  []QueueState // by name: those with a job that has not ended, and those that a worker has claimed from
	Actions Tally
	Workers []WorkerState // by name; at most MaxWorkers, before all those that have claimed lately
	Next    string        // the last name, if there may be more; else empty
}

// States returns the number of a client's jobs by state.
func (s *Service) States(ctx context.Context, client string) (map[Status]int64, error) {
	return s.store.States(ctx, client)
}

// Queues returns how the queues of a client stand, those whose names come after one.
func (s *Service) Queues(ctx context.Context, client, after string, limit int) (QueueList, error) {
	limit = max(1, min(limit, MaxQueuePage))
	page, err := s.store.Queues(ctx, client, after, limit)
	if err != nil {
		return QueueList{}, err
	}
	seen := s.workers.of(client, time.Now())
	out := QueueList{Actions: page.Actions, Workers: workerStates(seen, page.Held)}
	byQueue := make(map[string][]SeenWorker)
	for _, p := range seen {
		byQueue[p.queue] = append(byQueue[p.queue], SeenWorker{p.worker, p.last})
	}
	last := ""
	if page.More {
		last = page.Queues[len(page.Queues)-1].Name
	}
	for _, q := range page.Queues {
		out.Queues = append(out.Queues, QueueState{q, byQueue[q.Name]})
		delete(byQueue, q.Name)
	}
	for name, workers := range byQueue { // nothing waits there
		if name > after && (last == "" || name < last) {
			out.Queues = append(out.Queues, QueueState{QueueTally{Name: name}, workers})
		}
	}
	slices.SortFunc(out.Queues, func(x, y QueueState) int { return strings.Compare(x.Name, y.Name) })
	more := page.More
	if len(out.Queues) > limit {
		out.Queues, more = out.Queues[:limit], true
	}
	if more {
		out.Next = out.Queues[len(out.Queues)-1].Name
	}
	return out, nil
}

// workerStates puts together what was seen of each worker. seen goes by worker, then queue.
func workerStates(seen []sighting, held map[string]int64) []WorkerState {
	var all []WorkerState
	for _, p := range seen {
		if n := len(all); n == 0 || all[n-1].Name != p.worker {
			all = append(all, WorkerState{SeenWorker: SeenWorker{Name: p.worker}, Running: held[p.worker]})
		}
		w := &all[len(all)-1]
		w.Queues = append(w.Queues, p.queue)
		if p.last.After(w.Last) {
			w.Last = p.last
		}
	}
	known := len(all)
	var others []string // that run a job
	for name := range held {
		if _, found := slices.BinarySearchFunc(all[:known], name, func(w WorkerState, name string) int { return cmp.Compare(w.Name, name) }); !found {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others[:min(len(others), MaxWorkers-known)] {
		all = append(all, WorkerState{SeenWorker: SeenWorker{Name: name}, Running: held[name]})
	}
	slices.SortFunc(all, func(x, y WorkerState) int { return cmp.Compare(x.Name, y.Name) })
	return all
}
