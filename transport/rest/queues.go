package rest

import (
	"context"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// Queues is what this package asks of the job service about queues.
type Queues interface {
	Queues(ctx context.Context, client, after string, limit int) (jobs.QueueList, error)
	States(ctx context.Context, client string) (map[jobs.Status]int64, error)
}

// backlog is a tally on the wire.
type backlog struct {
	Pending     int64  `json:"pending"`
	Due         int64  `json:"due"`
	Running     int64  `json:"running"`
	OldestAgeMs *int64 `json:"oldestAgeMs"` // null: none is due
}

func backlogOf(t jobs.Tally, now time.Time) backlog {
	out := backlog{Pending: t.Pending, Due: t.Due, Running: t.Running}
	if !t.Oldest.IsZero() {
		age := max(0, now.Sub(t.Oldest).Milliseconds())
		out.OldestAgeMs = &age
	}
	return out
}

// queueObject is a queue on the wire.
type queueObject struct {
	Name string `json:"name"`
	backlog
	Workers []seenWorker `json:"workers"` // not nil
}

// seenWorker is who has claimed, and when.
type seenWorker struct {
	Name       *string    `json:"name"`       // null: all those that gave none
	LastSeenAt *jobs.Time `json:"lastSeenAt"` // null: not lately, but it runs a job
}

func seenWorkerOf(w jobs.SeenWorker) seenWorker {
	out := seenWorker{Name: unlessEmpty(w.Name)}
	if !w.Last.IsZero() {
		last := jobs.At(w.Last)
		out.LastSeenAt = &last
	}
	return out
}

// workerObject is a worker on the wire.
type workerObject struct {
	seenWorker
	Queues  []string `json:"queues"`  // not nil
	Running *int64   `json:"running"` // null: whose jobs they are is not known
}

// queueList is a page of queues.
type queueList struct {
	Queues  []queueObject  `json:"queues"` // not nil
	Actions backlog        `json:"actions"`
	Workers []workerObject `json:"workers"` // not nil
	Next    *string        `json:"next"`
}

// queues answers what waits in the queues of a client, and who works on them.
func (s *server) queues(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Watch)
	if err != nil {
		return err
	}
	if err := transport.MayWatch(p.Identity, ""); err != nil {
		return err
	}
	limit, err := pageLimit(c, jobs.MaxQueuePage, jobs.MaxQueuePage)
	if err != nil {
		return err
	}
	after := strings.Clone(c.Query("after"))
	if after != "" && !jobs.ValidQueue(after) {
		return transport.InvalidField("?after", "must be the name of a queue")
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	if err := s.Door.Turn(c, p); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	list, err := s.Jobs.Queues(ctx, p.ClientID, after, limit)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return transport.JSON(c, fiber.StatusOK, queueListOf(list, time.Now()))
}

func queueListOf(list jobs.QueueList, now time.Time) queueList {
	out := queueList{Queues: []queueObject{}, Workers: []workerObject{}, Actions: backlogOf(list.Actions, now), Next: unlessEmpty(list.Next)}
	for _, q := range list.Queues {
		one := queueObject{Name: q.Name, backlog: backlogOf(q.Tally, now), Workers: []seenWorker{}}
		for _, w := range q.Workers {
			one.Workers = append(one.Workers, seenWorkerOf(w))
		}
		out.Queues = append(out.Queues, one)
	}
	for _, w := range list.Workers {
		one := workerObject{seenWorker: seenWorkerOf(w.SeenWorker), Queues: append([]string{}, w.Queues...)}
		if w.Name != "" {
			one.Running = &w.Running
		}
		out.Workers = append(out.Workers, one)
	}
	return out
}
