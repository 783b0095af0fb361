package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

const (
	cancelsPath = "/v1/jobs/cancel"
	retriesPath = "/v1/jobs/retry"

	// maxOrders bounds how many jobs one request may order something of.
	maxOrders = 200
	// ordersAtOnce bounds how many of them are at work: a retry reads its whole job.
	ordersAtOnce = 16
)

// ordered is what is told of a job that an order of many has taken effect on.
type ordered struct {
	state
	RetryOf *string `json:"retryOf"`
}

// cancelMany cancels jobs by their ids. Each is answered for itself.
func (s *server) cancelMany(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Submit)
	if err != nil {
		return err
	}
	body, err := transport.Body(c, s.Door.MaxBody())
	if err != nil {
		return err
	}
	return s.orderEach(c, body, cancelsPath, fiber.StatusOK, func(ctx context.Context, id string) (jobs.Job, error) {
		return s.Jobs.Cancel(ctx, p.ClientID, id)
	})
}

// retryMany makes new jobs like those of the ids. Each is answered for itself, and none is
// made twice if the request is repeated with its Idempotency-Key.
func (s *server) retryMany(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Submit)
	if err != nil {
		return err
	}
	body, idem, err := s.idempotentBody(c, retriesPath)
	if err != nil {
		return err
	}
	return s.orderEach(c, body, retriesPath, fiber.StatusAccepted, func(ctx context.Context, id string) (jobs.Job, error) {
		job, _, err := s.Jobs.Retry(ctx, p.ClientID, id, keyOfPart(idem, id))
		return job, err
	})
}

// keyOfPart is the idempotency key of one job of a request for many. No caller can choose
// it: it holds a space.
func keyOfPart(idem jobs.Idempotency, id string) jobs.Idempotency {
	if idem.Key != "" {
		sum := sha256.Sum256([]byte(idem.Key + " " + id))
		idem.Key = "part " + hex.EncodeToString(sum[:])
	}
	return idem
}

// orderEach carries out an order for each of the ids that body lists. They are commands of
// their own, which share commits.
func (s *server) orderEach(c *fiber.Ctx, body []byte, path string, done int, order func(ctx context.Context, id string) (jobs.Job, error)) error {
	ids, err := orderedIDs(body)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	request := transport.RequestID(c)
	list := make([]any, len(ids))
	turns := make(chan struct{}, ordersAtOnce)
	var all sync.WaitGroup
	for i, id := range ids {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			defer func() { // nobody else would: it is not the request's goroutine
				if v := recover(); v != nil {
					list[i] = s.Door.Part(fmt.Errorf("panic: %v\n%s", v, debug.Stack()), request, path)
				}
			}()
			job, err := order(ctx, id)
			if err == nil {
				list[i] = answered{done, ordered{state{job.ID, job.Status, job.Cursor}, job.RetryOf}}
				return
			}
			refusal := s.Door.Part(err, request, path)
			if refusal.Job != nil { // so many would be too much
				refusal.JobStatus, refusal.Job = refusal.Job.Status, nil
			}
			list[i] = refusal
		})
	}
	all.Wait()
	return transport.JSON(c, fiber.StatusOK, fiber.Map{"jobs": list})
}

// orderedIDs reads {"ids": [...]}, 1 to maxOrders of them and none twice. A text that is no
// id names no job; that is answered where it stands.
func orderedIDs(body []byte) ([]string, error) {
	var in struct {
		IDs []string `json:"ids"`
	}
	if err := jobs.DecodeObject(body, &in); err != nil {
		return nil, err
	}
	if len(in.IDs) < 1 || len(in.IDs) > maxOrders {
		return nil, transport.InvalidField("/ids", fmt.Sprintf("must list 1 to %d ids", maxOrders))
	}
	seen := make(map[string]bool, len(in.IDs))
	for i, text := range in.IDs {
		if id, ok := jobs.ParseID(text); ok {
			in.IDs[i] = id
		}
		if seen[in.IDs[i]] {
			return nil, transport.InvalidField(fmt.Sprintf("/ids/%d", i), "stands in the list already")
		}
		seen[in.IDs[i]] = true
	}
	return in.IDs, nil
}
