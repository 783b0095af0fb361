package rest

import (
	"context"
	"errors"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// leaseHeader carries the token that proves a lease.
const leaseHeader = "X-Lease-Token"

// Workers is what this package asks of the job service for those who hold
// leases; see [jobs.Store] for what each method promises.
type Workers interface {
	Progress(ctx context.Context, l jobs.Lease, reports []jobs.Report) (jobs.Renewed, error)
	Extend(ctx context.Context, l jobs.Lease) (jobs.Renewed, error)
	End(ctx context.Context, e jobs.End, next *jobs.NextClaim) (jobs.Job, []jobs.Claimed, error)
	EndAll(ctx context.Context, client string, ends []jobs.End) ([]jobs.Ended, error)
}

// receipt answers progress and extend.
type receipt struct {
	LastEventID string          `json:"lastEventId"`
	Lease       transport.Lease `json:"lease"`
}

func (s *server) progress(c *fiber.Ctx) error {
	_, l, body, err := s.report(c)
	if err != nil {
		return err
	}
	reports, err := jobs.ParseReports(body)
	if err != nil {
		return err
	}
	return s.acknowledge(c, l, func(ctx context.Context) (jobs.Renewed, error) {
		return s.Jobs.Progress(ctx, l, reports)
	})
}

func (s *server) extend(c *fiber.Ctx) error {
	_, l, body, err := s.report(c)
	if err != nil {
		return err
	}
	if err := decodeOptional(body, &struct{}{}); err != nil {
		return err
	}
	return s.acknowledge(c, l, func(ctx context.Context) (jobs.Renewed, error) {
		return s.Jobs.Extend(ctx, l)
	})
}

func (s *server) complete(c *fiber.Ctx) error { return s.end(c, jobs.ParseComplete) }

func (s *server) fail(c *fiber.Ctx) error { return s.end(c, jobs.ParseFail) }

// end ends the attempt that a call is about, and claims the next job if it says so.
func (s *server) end(c *fiber.Ctx, parse func(body []byte) (jobs.End, *jobs.NextClaim, error)) error {
	p, l, body, err := s.report(c)
	if err != nil {
		return err
	}
	e, next, err := parse(body)
	if err != nil {
		return err
	}
	e.Lease = l
	if next != nil {
		return s.lost(l, s.EndAndClaim(c, p, e, *next))
	}
	ctx, cancel := command()
	defer cancel()
	job, _, err := s.Jobs.End(ctx, e, nil)
	if err != nil {
		return s.lost(l, err)
	}
	return s.answer(c, p, fiber.StatusOK, job)
}

// holder reads who reports on which job, and by what right.
func (s *server) holder(c *fiber.Ctx) (p auth.Principal, l jobs.Lease, err error) {
	if p, err = s.Door.Principal(c, auth.Work); err != nil {
		return p, l, err
	}
	id, err := jobID(c)
	if err != nil {
		return p, l, err
	}
	token := strings.Clone(c.Get(leaseHeader))
	if token == "" {
		return p, l, transport.Refuse(transport.Invalid, "The header "+leaseHeader+" is missing.")
	}
	return p, jobs.Lease{Client: p.ClientID, JobID: id, Token: token}, nil
}

// report reads the head and the body of a worker's call.
func (s *server) report(c *fiber.Ctx) (p auth.Principal, l jobs.Lease, body []byte, err error) {
	if p, l, err = s.holder(c); err != nil {
		return p, l, nil, err
	}
	if body, err = transport.Body(c, s.Door.MaxBody()); err != nil {
		return p, l, nil, err
	}
	return p, l, body, s.Door.Admit()
}

// decodeOptional is DecodeObject for a body that may be missing.
func decodeOptional(body []byte, dst any) error {
	if body == nil {
		return nil
	}
	return jobs.DecodeObject(body, dst)
}

// acknowledge runs a command that leaves the lease open.
func (s *server) acknowledge(c *fiber.Ctx, l jobs.Lease, run func(context.Context) (jobs.Renewed, error)) error {
	ctx, cancel := command()
	defer cancel()
	r, err := run(ctx)
	if err != nil {
		return s.lost(l, err)
	}
	return transport.JSON(c, fiber.StatusOK, receipt{r.LastEventID, transport.LeaseUntil(l, r.ExpiresAt)})
}

// lost adds to the refusal of a lost lease where the job stands now, so that
// its worker knows whether to ask for the reason.
func (s *server) lost(l jobs.Lease, err error) error {
	if !errors.Is(err, jobs.ErrLeaseLost) {
		return err
	}
	p := transport.FromError(err)
	ctx, cancel := command()
	defer cancel()
	if job, err := s.Jobs.Brief(ctx, l.Client, l.JobID); err == nil {
		p.JobStatus = job.Status
	}
	return p
}
