package rest

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// watched reads who asks for which job, and refuses those who may not see it.
func (s *server) watched(c *fiber.Ctx) (p auth.Principal, id string, err error) {
	if p, err = s.Door.Principal(c, auth.Watch); err == nil {
		id, err = jobID(c)
	}
	if err == nil {
		err = transport.MayWatch(p.Identity, id)
	}
	return p, id, err
}

func (s *server) get(c *fiber.Ctx) error {
	p, id, err := s.watched(c)
	if err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	job, err := s.Jobs.Brief(ctx, p.ClientID, id)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	if job, err = s.whole(c, p, job); err != nil {
		return err
	}
	return transport.JSON(c, fiber.StatusOK, job)
}

// answer answers a command with the whole job. What job lacks of it is read when it is
// this answer's turn, and so it may tell of later changes too. The command has taken
// effect, so without a turn the answer lacks the large members.
func (s *server) answer(c *fiber.Ctx, p auth.Principal, status int, job jobs.Job) error {
	whole, err := s.whole(c, p, job)
	if err == nil {
		return transport.JSON(c, status, whole)
	}
	job.Abridge(jobs.Unread{})
	return transport.JSON(c, status, jobs.Abridged{Job: job})
}

// whole returns job with all its members, when it is its turn if they are large.
func (s *server) whole(c *fiber.Ctx, p auth.Principal, job jobs.Job) (jobs.Job, error) {
	if len(job.Omitted) == 0 && job.Size() <= transport.LargeAnswer {
		return job, nil
	}
	if err := s.Door.Turn(c, p); err != nil || len(job.Omitted) == 0 {
		return job, err
	}
	ctx, cancel := command()
	defer cancel()
	return s.Jobs.Get(ctx, p.ClientID, job.ID)
}

// actions says what actions a job may have.
func (s *server) actions(c *fiber.Ctx) error {
	if _, err := s.Door.Principal(c, auth.Submit); err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	return transport.JSON(c, fiber.StatusOK, fiber.Map{"actions": s.Actions})
}

func (s *server) list(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Watch)
	if err != nil {
		return err
	}
	if err := transport.MayWatch(p.Identity, ""); err != nil {
		return err
	}
	q, err := listQuery(c)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	if err := s.Door.Turn(c, p); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	page, err := s.Jobs.List(ctx, p.ClientID, q)
	if err != nil {
		return err
	}
	if page.Jobs == nil {
		page.Jobs = []jobs.Job{}
	}
	return transport.JSON(c, fiber.StatusOK, page)
}

// maxSearch bounds what a list looks for, in bytes.
const maxSearch = 256

// listQuery reads `?status=&queue=&q=&from=&to=&limit=&after=`; empty is absent.
func listQuery(c *fiber.Ctx) (q jobs.ListQuery, err error) {
	q = jobs.ListQuery{Status: jobs.Status(strings.Clone(c.Query("status")))}
	if q.Status != "" && !q.Status.Valid() {
		return q, transport.InvalidField("?status", "must be pending, processing, completed, failed or cancelled")
	}
	if q.Limit, err = pageLimit(c, jobs.DefaultListLimit, jobs.MaxListLimit); err != nil {
		return q, err
	}
	if err = narrow(c, &q); err != nil {
		return q, err
	}
	if text := c.Query("after"); text != "" {
		var ok bool
		if q.After, ok = jobs.ParseID(text); !ok {
			return q, transport.InvalidField("?after", "must be the id of a job")
		}
	}
	return q, nil
}

// narrow reads what narrows a list.
func narrow(c *fiber.Ctx, q *jobs.ListQuery) (err error) {
	if q.Queue = strings.Clone(c.Query("queue")); q.Queue != "" && !jobs.ValidQueue(q.Queue) {
		return transport.InvalidField("?queue", "must be the name of a queue")
	}
	if q.Search = strings.Clone(c.Query("q")); len(q.Search) > maxSearch || !utf8.ValidString(q.Search) || strings.Contains(q.Search, "\x00") {
		return transport.InvalidField("?q", "must be a text of at most "+strconv.Itoa(maxSearch)+" bytes")
	}
	for _, one := range []struct {
		name string
		to   *time.Time
	}{{"from", &q.From}, {"to", &q.To}} {
		if text := c.Query(one.name); text != "" {
			at, err := jobs.ParseTime(text)
			if err != nil {
				return transport.InvalidField("?"+one.name, "must be a time as in 2026-01-31T12:00:00Z (RFC 3339)")
			}
			*one.to = at.Truncate(time.Millisecond)
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return transport.InvalidField("?to", "must be after from")
	}
	return nil
}

// pageLimit reads `?limit=`, which is usual if it is absent or empty.
func pageLimit(c *fiber.Ctx, usual, most int) (int, error) {
	text := c.Query("limit")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < 1 || n > uint64(most) {
		return 0, transport.InvalidField("?limit", "must be 1 to "+strconv.Itoa(most))
	}
	return int(n), nil
}

func (s *server) cancel(c *fiber.Ctx) error {
	p, id, err := s.order(c)
	if err != nil {
		return err
	}
	body, err := transport.Body(c, s.Door.MaxBody())
	if err == nil {
		err = s.empty(body)
	}
	if err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	job, err := s.Jobs.Cancel(ctx, p.ClientID, id)
	if err != nil {
		return err
	}
	return s.answer(c, p, fiber.StatusOK, job)
}

func (s *server) retry(c *fiber.Ctx) error {
	p, id, err := s.order(c)
	if err != nil {
		return err
	}
	body, idem, err := s.idempotentBody(c, "/v1/jobs/"+id+"/retry")
	if err == nil {
		err = s.empty(body)
	}
	if err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	job, replayed, err := s.Jobs.Retry(ctx, p.ClientID, id, idem)
	if err != nil {
		return err
	}
	s.locate(c, job, replayed)
	return s.answer(c, p, fiber.StatusAccepted, job)
}

// order reads the head of a request that orders something of an existing job.
func (s *server) order(c *fiber.Ctx) (p auth.Principal, id string, err error) {
	if p, err = s.Door.Principal(c, auth.Submit); err == nil {
		id, err = jobID(c)
	}
	return p, id, err
}

// empty refuses the body of an order unless it is empty or {}, and lets the order take
// effect.
func (s *server) empty(body []byte) error {
	if body != nil {
		if err := jobs.DecodeObject(body, &struct{}{}); err != nil {
			return err
		}
	}
	return s.Door.Admit()
}

// locate says where a new job is, and whether the answer repeats an earlier one.
func (s *server) locate(c *fiber.Ctx, job jobs.Job, replayed bool) {
	c.Set(fiber.HeaderLocation, s.Door.BasePath()+"/v1/jobs/"+job.ID)
	repeats(c, replayed)
}

// repeats says whether the answer repeats an earlier one.
func repeats(c *fiber.Ctx, replayed bool) {
	if replayed {
		c.Set("Idempotent-Replayed", "true")
	}
}
