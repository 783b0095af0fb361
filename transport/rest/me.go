package rest

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// me is who is asking, what they may do and how much of it they do.
type me struct {
	ClientID  string       `json:"clientId"`
	KeyID     string       `json:"keyId"`
	Name      *string      `json:"name"`    // of the key; null: a token asks
	TokenID   *string      `json:"tokenId"` // null: the key itself asks
	JobID     *string      `json:"jobId"`   // the only job that the token shows; null: all
	Scopes    []auth.Scope `json:"scopes"`
	ExpiresAt *jobs.Time   `json:"expiresAt"` // when the credential ends; null: never
	Limits    bounds       `json:"limits"`
}

// bounds are those that a caller can run into. What a token may not know is null.
type bounds struct {
	Streams       bound  `json:"streams"` // live, of this credential
	Waits         bound  `json:"waits"`   // calls that wait, of this credential
	Jobs          *bound `json:"jobs"`    // of the client, pending and running
	ArtifactBytes *bound `json:"artifactBytes"`
}

// bound is how much may be and how much is.
type bound struct {
	Max  *int64 `json:"max"` // null: any number
	Used int64  `json:"used"`
}

func boundOf(most, used int64) *bound {
	if most == 0 {
		return &bound{Used: used}
	}
	return &bound{&most, used}
}

// whoami answers who is asking. Every credential may know that.
func (s *server) whoami(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	out := me{ClientID: p.ClientID, KeyID: p.KeyID, TokenID: unlessEmpty(p.TokenID), JobID: unlessEmpty(p.JobID), Scopes: p.Scopes}
	if p.ExpiresAt != nil {
		end := jobs.At(p.ExpiresAt.Round(time.Millisecond))
		out.ExpiresAt = &end
	}
	streams, waits := s.Streams.Most(p)
	out.Limits.Streams = *boundOf(int64(streams), int64(s.Streams.Held(p.Credential())))
	out.Limits.Waits = *boundOf(int64(waits), int64(s.Streams.Waiting(p.Credential())))
	if p.TokenID == "" {
		if err := s.describeKey(&out); err != nil {
			return err
		}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return transport.JSON(c, fiber.StatusOK, out)
}

// describeKey adds what a key may know, and a token may not.
func (s *server) describeKey(out *me) error {
	ctx, cancel := command()
	defer cancel()
	key, err := s.Keys.Key(ctx, out.ClientID, out.KeyID)
	if err != nil {
		return err
	}
	used, err := s.Usage(ctx, out.ClientID)
	if err != nil {
		return err
	}
	out.Name = &key.Name
	out.Limits.Jobs = boundOf(s.Limits.JobsPerClient, used.Jobs)
	out.Limits.ArtifactBytes = boundOf(s.Limits.ArtifactsPerClient, used.Artifacts)
	return nil
}

func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
