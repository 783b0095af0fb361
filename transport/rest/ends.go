package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// answered is the answer to one of many ends; another one is a problem, whose `status` is
// that of a refused call.
type answered struct {
	Status int `json:"status"`
	Job    any `json:"job"`
}

// completeAll ends many attempts in one commit. Each is answered for itself.
func (s *server) completeAll(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Work)
	if err != nil {
		return err
	}
	body, err := transport.Body(c, s.Door.MaxBody())
	if err != nil {
		return err
	}
	ends, err := jobs.ParseEnds(body)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	all, err := s.Jobs.EndAll(ctx, p.ClientID, ends)
	if err != nil {
		return err
	}
	s.fit(c, p, all)
	list := make([]any, len(all))
	for i, one := range all {
		list[i] = answered{fiber.StatusOK, one.Job.Shown()}
		if one.Err != nil {
			l := ends[i].Lease
			l.Client = p.ClientID
			refusal := transport.FromError(s.lost(l, one.Err))
			refusal.Instance = transport.RequestID(c)
			list[i] = refusal
		}
	}
	return transport.JSON(c, fiber.StatusOK, fiber.Map{"jobs": list})
}

// fit takes the answer's turn if it is a large one. The ends have taken effect, so without
// a turn the jobs lack their large members.
func (s *server) fit(c *fiber.Ctx, p auth.Principal, all []jobs.Ended) {
	size := 0
	for i := range all {
		size += all[i].Job.Size()
	}
	if size <= transport.LargeAnswer || s.Door.Turn(c, p) == nil {
		return
	}
	for i := range all {
		all[i].Job.AbridgeTo(0, jobs.Unread{})
	}
}
