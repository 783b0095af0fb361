package rest

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// maxLoginBody bounds what a stranger may send to sign in, in bytes.
const maxLoginBody = 1 << 10

// signedIn is the key that a code was exchanged for. It cannot be shown again.
type signedIn struct {
	Key       string       `json:"key"`
	ID        string       `json:"id"`
	Client    string       `json:"client"`
	Scopes    []auth.Scope `json:"scopes"`
	ExpiresAt jobs.Time    `json:"expiresAt"`
}

// login exchanges a sign-in code for a key. Nobody has to be known for it.
func (s *server) login(c *fiber.Ctx) error {
	body, err := transport.Body(c, maxLoginBody)
	if err != nil {
		return err
	}
	var in struct {
		Code *string `json:"code"`
	}
	if err := jobs.DecodeObject(body, &in); err != nil {
		return err
	}
	if in.Code == nil {
		return transport.InvalidField("/code", "is missing")
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	key, err := s.SignIn(context.Background(), *in.Code, s.Door.ClientAddr(c))
	if err != nil {
		return err
	}
	return transport.JSON(c, fiber.StatusCreated, signedIn{key.Secret, key.ID, key.ClientID, key.Scopes, jobs.At(*key.ExpiresAt)})
}
