package rest

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
)

// readyTimeout is how long a probe waits: shorter than the second that probes
// commonly allow would hide slowness, longer would pile probes up.
const readyTimeout = 2 * time.Second

// live says that the process answers at all.
func (s *server) live(c *fiber.Ctx) error {
	return transport.JSON(c, fiber.StatusOK, fiber.Map{"status": "live"})
}

// ready says whether new requests should be sent here. What stands in the way is
// logged by whoever found it, not by each probe.
func (s *server) ready(c *fiber.Ctx) error {
	if err := s.Door.Admit(); err != nil {
		return err
	}
	if s.Ready != nil {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		if err := s.Ready(ctx); err != nil {
			why := transport.FromError(err)
			p := transport.Refuse(transport.Unavailable, why.Detail).RetryAfter(why.Retry())
			if why.Code == transport.Internal {
				return p.Because(err)
			}
			return p
		}
	}
	if s.About != nil && c.Context().QueryArgs().Has("verbose") {
		return transport.JSON(c, fiber.StatusOK, s.About())
	}
	return transport.JSON(c, fiber.StatusOK, fiber.Map{"status": "ready"})
}

// metrics is open to this machine, because a scraper beside the process needs
// no key, and to admin keys from elsewhere.
func (s *server) metrics(c *fiber.Ctx) error {
	if !transport.Local(c) {
		if _, err := s.Door.Principal(c, auth.Admin); err != nil {
			return err
		}
	}
	return s.Metrics(c)
}
