package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

const batchPath = "/v1/jobs/batch"

// madeJob is what a batch answers of each job: what is known without reading it back.
type madeJob struct {
	ID string `json:"id"`
}

// submitBatch makes jobs, all of them or none. Its answer is JSON alone and does not wait,
// whatever is preferred: there is no one stream, and no one end, of many jobs.
func (s *server) submitBatch(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Submit)
	if err != nil {
		return err
	}
	if err := transport.WantsJSON(c); err != nil {
		return err
	}
	specs, idem, err := s.readBatch(c)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	for i := range specs {
		specs[i].Hosts = reach(p)
	}
	batch, err := s.Jobs.SubmitBatch(ctx, p.ClientID, specs, idem)
	if err != nil {
		return err
	}
	repeats(c, batch.Replayed)
	made := make([]madeJob, len(batch.IDs))
	for i, id := range batch.IDs {
		made[i].ID = id
	}
	return transport.JSON(c, fiber.StatusAccepted, struct {
		Jobs []madeJob `json:"jobs"`
	}{made})
}

// readBatch reads a batch as JSON or, by its Content-Type, as NDJSON.
func (s *server) readBatch(c *fiber.Ctx) ([]jobs.Spec, jobs.Idempotency, error) {
	ndjson := transport.NDJSON.String()
	body, media, idem, err := s.idempotentBodyOf(c, batchPath, s.Door.MaxBatchBody(), fiber.MIMEApplicationJSON, ndjson)
	if err != nil {
		return nil, idem, err
	}
	parse := jobs.ParseBatch
	if media == ndjson {
		parse = jobs.ParseBatchLines
	}
	specs, err := parse(body, jobs.BatchOptions{SubmitOptions: s.Submit, MaxJob: s.Door.MaxBody()})
	return specs, idem, err
}
