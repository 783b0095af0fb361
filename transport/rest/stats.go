package rest

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// Statistics is where figures come from.
type Statistics struct {
	Activity func(client string, now time.Time) jobs.Activity // what a client's jobs did lately
	Server   func() any                                       // figures of the whole process

	// Stream answers with a stream of what look returns, as sse.Handler.Snapshots does.
	Stream func(c *fiber.Ctx, p auth.Principal, f transport.EventFormat, name, feed string, look func(ctx context.Context) (any, error)) error
}

// statistics is how a client's jobs stand.
type statistics struct {
	At          jobs.Time             `json:"at"`
	Jobs        map[jobs.Status]int64 `json:"jobs"`
	Minutes     []minute              `json:"minutes"` // not nil
	TimeToStart quantiles             `json:"timeToStart"`
	TimeToEnd   quantiles             `json:"timeToEnd"`
	Server      any                   `json:"server"` // null: the key lacks the scope admin
}

// minute is what happened to the jobs of a client in one.
type minute struct {
	At        jobs.Time `json:"at"` // when it began
	Submitted int64     `json:"submitted"`
	Started   int64     `json:"started"`
	Retried   int64     `json:"retried"`
	Completed int64     `json:"completed"`
	Failed    int64     `json:"failed"`
	Cancelled int64     `json:"cancelled"`
}

// quantiles are null if there was nothing to measure.
type quantiles struct {
	Count int64  `json:"count"`
	P50Ms *int64 `json:"p50Ms"`
	P99Ms *int64 `json:"p99Ms"`
}

func quantilesOf(q jobs.Quantiles) quantiles {
	if q.N == 0 {
		return quantiles{}
	}
	p50, p99 := q.P50.Milliseconds(), q.P99.Milliseconds()
	return quantiles{q.N, &p50, &p99}
}

// stats answers how the client's jobs stand, once or as a stream.
func (s *server) stats(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Watch)
	if err != nil {
		return err
	}
	if err := transport.MayWatch(p.Identity, ""); err != nil {
		return err
	}
	format, err := transport.Negotiate(c)
	if err != nil {
		return err
	}
	client, feed, whole := p.ClientID, p.ClientID, p.May(auth.Admin)
	if whole {
		feed += " admin" // no name of a client has a blank
	}
	look := func(ctx context.Context) (any, error) { return s.statistics(ctx, client, whole) }
	if format != transport.JSONFormat {
		p.Agent = transport.Agent(c)
		return s.Statistics.Stream(c, p, format, "stats", feed, look)
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	now, err := look(ctx)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return transport.JSON(c, fiber.StatusOK, now)
}

func (s *server) statistics(ctx context.Context, client string, whole bool) (statistics, error) {
	states, err := s.Jobs.States(ctx, client)
	if err != nil {
		return statistics{}, err
	}
	now := time.Now()
	activity := s.Statistics.Activity(client, now)
	out := statistics{
		At: jobs.At(now), Jobs: states, Minutes: []minute{},
		TimeToStart: quantilesOf(activity.ToStart), TimeToEnd: quantilesOf(activity.ToFinish),
	}
	for _, m := range activity.Minutes {
		if m.N == (jobs.Minute{}).N {
			continue
		}
		out.Minutes = append(out.Minutes, minute{
			jobs.At(m.At), m.N[jobs.WasSubmitted], m.N[jobs.WasStarted], m.N[jobs.WasRetried],
			m.N[jobs.WasCompleted], m.N[jobs.WasFailed], m.N[jobs.WasCancelled],
		})
	}
	if whole {
		out.Server = s.Statistics.Server()
	}
	return out, nil
}
