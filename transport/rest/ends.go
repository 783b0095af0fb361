package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

const endsPath = "/v1/workers/complete"

// Bounds of what an answer to many ends has of each in any case, in bytes of JSON.
const (
	refusalBytes = 512
	stateBytes   = 256
)

// state is all that an answer to many ends tells of a job that it has no room for.
type state struct {
	ID     string      `json:"id"`
	Status jobs.Status `json:"status"`
	Cursor string      `json:"cursor"`
}

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
	stated := s.fit(c, p, all)
	list := make([]any, len(all))
	for i, one := range all {
		switch {
		case one.Err == nil && i < stated:
			list[i] = answered{fiber.StatusOK, state{one.Job.ID, one.Job.Status, one.Job.Cursor}}
		case one.Err == nil:
			list[i] = answered{fiber.StatusOK, one.Job.Shown()}
		default:
			l := ends[i].Lease
			l.Client = p.ClientID
			list[i] = s.Door.Part(s.lost(l, one.Err), transport.RequestID(c), endsPath)
		}
	}
	return transport.JSON(c, fiber.StatusOK, fiber.Map{"jobs": list})
}

// fit makes an answer one of at most 1 MiB, and of what needs no turn if it cannot have one
// at once: the ends have taken effect, and the jobs stand in memory. The first jobs lack
// their large members, as many as it takes, and if that does not do, the first ones that it
// returns the number of are told by their state alone.
func (s *server) fit(c *fiber.Ctx, p auth.Principal, all []jobs.Ended) (stated int) {
	size, room := 0, transport.LargeAnswer
	for i := range all {
		size += answerBytes(&all[i])
	}
	if size > room && s.Door.TryTurn(c, p) {
		room = jobs.MaxPageBytes
	}
	for i := 0; i < len(all) && size > room; i++ {
		size -= answerBytes(&all[i])
		all[i].Job.AbridgeTo(0, jobs.Unread{})
		size += answerBytes(&all[i])
	}
	for ; stated < len(all) && size > room; stated++ {
		if all[stated].Err == nil {
			size += stateBytes - answerBytes(&all[stated])
		}
	}
	return stated
}

// answerBytes is how much an answer to many ends has of one, or slightly more.
func answerBytes(e *jobs.Ended) int {
	if e.Err != nil {
		return refusalBytes
	}
	return e.Job.Size()
}
