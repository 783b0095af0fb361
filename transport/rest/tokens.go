package rest

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// Tokens makes tokens; *auth.Signer is one.
type Tokens interface {
	Mint(p auth.Principal, job string, ttl time.Duration) (auth.Token, error)
}

// tokenObject is a token on the wire. It cannot be shown again.
type tokenObject struct {
	Token     string    `json:"token"`
	ExpiresAt jobs.Time `json:"expiresAt"`
	JobID     *string   `json:"jobId"` // null: all jobs of the client
}

// createToken makes a token that shows one job, or all that its maker may see.
// A token makes none: its end would mean nothing.
func (s *server) createToken(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Watch)
	if err != nil {
		return err
	}
	if p.TokenID != "" {
		return transport.Refuse(transport.Forbidden, "Only a key can create tokens.")
	}
	job, ttl, err := s.readToken(c)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	if job != "" {
		ctx, cancel := command()
		defer cancel()
		if _, err := s.Jobs.Brief(ctx, p.ClientID, job); err != nil {
			return err
		}
	}
	t, err := s.Tokens.Mint(p, job, ttl)
	if err != nil {
		return err
	}
	made := tokenObject{Token: t.Text, ExpiresAt: jobs.At(t.ExpiresAt)}
	if job != "" {
		made.JobID = &job
	}
	return transport.JSON(c, fiber.StatusCreated, made)
}

// readToken reads the body, which may be missing. A jobId that is no id names
// no job.
func (s *server) readToken(c *fiber.Ctx) (job string, ttl time.Duration, err error) {
	body, err := transport.Body(c, s.Door.MaxBody())
	if err != nil {
		return "", 0, err
	}
	var in struct {
		JobID *string `json:"jobId"`
		TTL   *int64  `json:"ttl"` // seconds
	}
	if err := decodeOptional(body, &in); err != nil {
		return "", 0, err
	}
	ttl = auth.DefaultTokenTTL
	if in.TTL != nil {
		if *in.TTL < int64(auth.MinTokenTTL/time.Second) || *in.TTL > int64(auth.MaxTokenTTL/time.Second) {
			return "", 0, transport.InvalidField("/ttl", "must be 60 to 86400 seconds")
		}
		ttl = time.Duration(*in.TTL) * time.Second
	}
	if in.JobID != nil {
		var ok bool
		if job, ok = jobs.ParseID(*in.JobID); !ok {
			return "", 0, jobs.ErrNotFound
		}
	}
	return job, ttl, nil
}
