package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Backlog is how many jobs wait in a place, or are run from there.
type Backlog struct {
	Pending   int           // nobody has begun them, or they are to be tried again
	Due       int           // those of them that a worker can claim now
	Running   int           // somebody has a lease on them
	OldestAge time.Duration // since the oldest of those that are due was submitted; 0: none is
}

// Queue is a queue with a job that has not ended, or one that a worker has claimed from lately.
type Queue struct {
	Name string
	Backlog
	Workers []SeenWorker // who claimed from it in the last 15 minutes

	raw json.RawMessage
}

// Raw returns the queue as the server wrote it.
func (q *Queue) Raw() json.RawMessage { return q.raw }

// SeenWorker is a worker, and when it claimed last.
type SeenWorker struct {
	Name       string    `json:"name"`       // empty: all those that gave none
	LastSeenAt time.Time `json:"lastSeenAt"` // zero: not lately, but it runs a job
}

// WorkerState is a worker that has claimed in the last 15 minutes, or runs a job.
type WorkerState struct {
	SeenWorker
	Queues  []string `json:"queues"`  // it has claimed from
	Running int      `json:"running"` // jobs, of a worker with a name
}

// Queues is how the queues of a client stand.
type Queues struct {
	Queues  []Queue       // by name
	Actions Backlog       // jobs with actions, which the server runs itself
	Workers []WorkerState // by name
}

// UnmarshalJSON reads what the wire has.
func (b *Backlog) UnmarshalJSON(data []byte) error {
	var wire struct{ Pending, Due, Running, OldestAgeMs int64 }
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*b = Backlog{int(wire.Pending), int(wire.Due), int(wire.Running), time.Duration(wire.OldestAgeMs) * time.Millisecond}
	return nil
}

// UnmarshalJSON reads what the wire has.
func (q *Queue) UnmarshalJSON(data []byte) error {
	var wire struct {
		Name    string       `json:"name"`
		Workers []SeenWorker `json:"workers"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	q.Name, q.Workers, q.raw = wire.Name, wire.Workers, append(json.RawMessage(nil), data...)
	return q.Backlog.UnmarshalJSON(data)
}

// Queues returns all queues of the client that have something to tell.
func (c *Client) Queues(ctx context.Context) (*Queues, error) {
	var all Queues
	for path := "/v1/queues"; ; {
		var page struct {
			Queues
			Next *string `json:"next"`
		}
		if _, err := c.do(ctx, call{method: http.MethodGet, path: path}, &page); err != nil {
			return nil, wrap("list queues", err)
		}
		all.Queues = append(all.Queues, page.Queues.Queues...)
		all.Actions, all.Workers = page.Actions, page.Workers
		if page.Next == nil || *page.Next == "" {
			return &all, nil
		}
		path = "/v1/queues?after=" + url.QueryEscape(*page.Next)
	}
}
