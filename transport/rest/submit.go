package rest

import (
	"context"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// submission is a submit, read and checked.
type submission struct {
	spec jobs.Spec
	idem jobs.Idempotency
}

// submit makes a job. Accept decides what the answer is: the job (202), with
// `Prefer: wait` the finished job (200), or the job's events (200).
func (s *server) submit(c *fiber.Ctx) error {
	format, unacceptable := transport.Negotiate(c)
	scopes := []auth.Scope{auth.Submit}
	if format != transport.JSONFormat {
		scopes = append(scopes, auth.Watch)
	}
	p, err := s.Door.Principal(c, scopes...)
	if err != nil {
		return err
	}
	if unacceptable != nil {
		return unacceptable
	}
	in, err := s.readSubmission(c)
	if err != nil {
		return err
	}
	if format != transport.JSONFormat {
		return s.submitAndStream(c, p, in, format)
	}
	return s.submitAndWait(c, p, in)
}

func (s *server) readSubmission(c *fiber.Ctx) (in submission, err error) {
	body, idem, err := s.idempotentBody(c, "/v1/jobs")
	if err != nil {
		return in, err
	}
	in.idem = idem
	in.spec, err = jobs.ParseSubmit(body, s.Submit)
	return in, err
}

// commit makes the job, or finds the one that an earlier call with the same
// Idempotency-Key made.
func (s *server) commit(c *fiber.Ctx, p auth.Principal, in submission) (jobs.Job, error) {
	if err := s.Door.Admit(); err != nil {
		return jobs.Job{}, err
	}
	ctx, cancel := command()
	defer cancel()
	in.spec.Hosts = reach(p)
	job, replayed, err := s.Jobs.Submit(ctx, p.ClientID, in.spec, in.idem)
	if err != nil {
		return jobs.Job{}, err
	}
	s.locate(c, job, replayed)
	return job, nil
}

// submitAndStream takes the stream's slot before it makes the job: a caller
// that may not watch now must not leave a job behind that it does not know of.
func (s *server) submitAndStream(c *fiber.Ctx, p auth.Principal, in submission, f transport.EventFormat) error {
	ctx, cancel := command()
	defer cancel()
	p.Agent = transport.Agent(c)
	admission, err := transport.OpenStream(ctx, s.Streams, p, f.Kind())
	if err != nil {
		return err
	}
	handedOver := false
	defer func() {
		if !handedOver {
			admission.Release()
		}
	}()
	job, err := s.commit(c, p, in)
	if err != nil {
		return err
	}
	handedOver = true
	return s.Stream(c, p, admission, job, f)
}

// submitAndWait answers with the job, after waiting for its end as long as the
// caller prefers. A preference may be left aside (RFC 7240 2): when as many
// calls of this key wait as may, the answer comes at once.
func (s *server) submitAndWait(c *fiber.Ctx, p auth.Principal, in submission) error {
	job, err := s.commit(c, p, in)
	if err != nil {
		return err
	}
	if limit := preferredWait(c); limit > 0 {
		slot, err := s.Streams.OpenWait(p)
		if err == nil {
			defer slot.Release()
			c.Set("Preference-Applied", fmt.Sprintf("wait=%d", limit/time.Second))
			if job, err = s.await(c, p, job, limit); err != nil {
				return err
			}
		}
	}
	status := fiber.StatusAccepted
	if job.Status.Terminal() {
		status = fiber.StatusOK
	}
	return s.answer(c, p, status, job)
}

// await returns the job as it is after its terminal event, after limit, or when
// the server begins to drain.
func (s *server) await(c *fiber.Ctx, p auth.Principal, job jobs.Job, limit time.Duration) (jobs.Job, error) {
	if job.Status.Terminal() {
		return job, nil
	}
	waiting, cancel := context.WithTimeout(s.Door.Context(), limit)
	defer cancel()
	if err := s.waitEnd(waiting, p.ClientID, job.ID, limit); err != nil && waiting.Err() == nil {
		return job, fmt.Errorf("wait for job %s: %w", job.ID, err)
	}
	// The key may have been revoked meanwhile.
	if _, err := s.Door.Principal(c, auth.Submit); err != nil {
		return job, err
	}
	ctx, cancel := command()
	defer cancel()
	return s.Jobs.Brief(ctx, p.ClientID, job.ID)
}
