package rest

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// Vault keeps what clients entrust to the server; *vault.Vault is one.
type Vault interface {
	PutSecret(ctx context.Context, client, name string, s jobs.Secret) (kept jobs.Sealed, created bool, err error)
	Page(ctx context.Context, kind jobs.SealedKind, client, after string, limit int) ([]jobs.Sealed, error)
	Delete(ctx context.Context, kind jobs.SealedKind, client, name string) error
}

// secretObject is a secret on the wire: all but its value.
type secretObject struct {
	Name      string    `json:"name"`
	Hosts     []string  `json:"hosts"` // null: any
	CreatedAt jobs.Time `json:"createdAt"`
	UpdatedAt jobs.Time `json:"updatedAt"`
}

func secretOf(s jobs.Sealed) secretObject {
	return secretObject{Name: s.Name, Hosts: s.Places, CreatedAt: jobs.At(s.CreatedAt), UpdatedAt: jobs.At(s.UpdatedAt)}
}

// keeper reads who asks about what is sealed. A server without a key has none.
func (s *server) keeper(c *fiber.Ctx) (auth.Principal, error) {
	p, err := s.Door.Principal(c, auth.Admin)
	if err == nil && s.Vault == nil {
		err = transport.Refuse(transport.Invalid, jobs.NoVault)
	}
	return p, err
}

// putSecret keeps a secret, in the place of one that has its name. Nothing of the body is
// kept beside it, nor told.
func (s *server) putSecret(c *fiber.Ctx) error {
	p, err := s.keeper(c)
	if err != nil {
		return err
	}
	name := strings.Clone(c.Params("name"))
	if !jobs.ValidSealedName(name) {
		return transport.Refuse(transport.Invalid,
			"The name must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen, and neither . nor ..")
	}
	body, err := transport.Body(c, s.Door.MaxBody())
	if err != nil {
		return err
	}
	secret, err := jobs.ParseSecret(body)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	kept, created, err := s.Vault.PutSecret(ctx, p.ClientID, name, secret)
	if err != nil {
		return err
	}
	status := fiber.StatusOK
	if created {
		status = fiber.StatusCreated
	}
	return transport.JSON(c, status, secretOf(kept))
}

func (s *server) listSecrets(c *fiber.Ctx) error {
	found, next, err := s.sealed(c, jobs.SealedSecret)
	if err != nil {
		return err
	}
	page := struct {
		Secrets []secretObject `json:"secrets"`
		Next    *string        `json:"next"`
	}{[]secretObject{}, next}
	for _, one := range found {
		page.Secrets = append(page.Secrets, secretOf(one))
	}
	return transport.JSON(c, fiber.StatusOK, page)
}

func (s *server) deleteSecret(c *fiber.Ctx) error { return s.forget(c, jobs.SealedSecret) }

// stateObject is a browser state on the wire.
type stateObject struct {
	Name      string    `json:"name"`
	Origins   []string  `json:"origins"`
	Size      int       `json:"size"` // bytes
	CreatedAt jobs.Time `json:"createdAt"`
	UpdatedAt jobs.Time `json:"updatedAt"`
}

func (s *server) listStates(c *fiber.Ctx) error {
	found, next, err := s.sealed(c, jobs.SealedState)
	if err != nil {
		return err
	}
	page := struct {
		States []stateObject `json:"states"`
		Next   *string       `json:"next"`
	}{[]stateObject{}, next}
	for _, one := range found {
		page.States = append(page.States, stateObject{
			one.Name, append([]string{}, one.Places...), one.Size, jobs.At(one.CreatedAt), jobs.At(one.UpdatedAt)})
	}
	return transport.JSON(c, fiber.StatusOK, page)
}

func (s *server) deleteState(c *fiber.Ctx) error { return s.forget(c, jobs.SealedState) }

// maxSealedPage secrets or states have less than 1 MiB.
const maxSealedPage = 500

// sealed reads a page of what the caller's client has of a kind, `?limit=&after=`. next is
// nil on the last page.
func (s *server) sealed(c *fiber.Ctx, kind jobs.SealedKind) (found []jobs.Sealed, next *string, err error) {
	p, err := s.keeper(c)
	if err != nil {
		return nil, nil, err
	}
	limit, err := pageLimit(c, maxSealedPage, maxSealedPage)
	if err != nil {
		return nil, nil, err
	}
	after := strings.Clone(c.Query("after"))
	if after != "" && !jobs.ValidSealedName(after) {
		return nil, nil, transport.InvalidField("?after", "must be a name")
	}
	if err := s.Door.Admit(); err != nil {
		return nil, nil, err
	}
	if err := s.Door.Turn(c, p); err != nil {
		return nil, nil, err
	}
	ctx, cancel := command()
	defer cancel()
	found, err = s.Vault.Page(ctx, kind, p.ClientID, after, limit+1)
	if err == nil && len(found) > limit {
		found = found[:limit]
		next = &found[limit-1].Name
	}
	return found, next, err
}

// forget deletes what is kept under the name in the path.
func (s *server) forget(c *fiber.Ctx, kind jobs.SealedKind) error {
	p, err := s.keeper(c)
	if err != nil {
		return err
	}
	name := strings.Clone(c.Params("name"))
	if !jobs.ValidSealedName(name) {
		return jobs.ErrNotSealed
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	if err := s.Vault.Delete(ctx, kind, p.ClientID, name); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
