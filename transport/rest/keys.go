package rest

import (
	"errors"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// maxKeyID is longer than any id of a key; a longer one is not looked up.
const maxKeyID = 64

// newKey is the body that creates a key; every member may be absent.
type newKey struct {
	Name           string       `json:"name"`
	Scopes         []auth.Scope `json:"scopes"`
	MaxConnections *int         `json:"maxConnections"`
	AllowHosts     []string     `json:"allowHosts"`
	DenyHosts      []string     `json:"denyHosts"`
	ExpiresAt      *jobs.Time   `json:"expiresAt"`
}

func (s *server) listKeys(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Admin)
	if err != nil {
		return err
	}
	after, limit, err := keyQuery(c)
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
	keys, err := s.Keys.KeyPage(ctx, p.ClientID, after, limit+1)
	if errors.Is(err, auth.ErrNoKey) {
		return transport.InvalidField("?after", "must be the id of a key")
	}
	if err != nil {
		return err
	}
	var page keyPage
	if len(keys) > limit {
		keys = keys[:limit]
		page.Next = &keys[limit-1].ID
	}
	page.Keys = append([]auth.Key{}, keys...)
	return transport.JSON(c, fiber.StatusOK, page)
}

// maxKeyPage keys have less than 1 MiB.
const maxKeyPage = 500

// keyPage is one page of the list of keys. Next is nil on the last page.
type keyPage struct {
	Keys []auth.Key `json:"keys"` // not nil
	Next *string    `json:"next"`
}

// keyQuery reads `?limit=&after=`; empty is absent.
func keyQuery(c *fiber.Ctx) (after string, limit int, err error) {
	if limit, err = pageLimit(c, maxKeyPage, maxKeyPage); err != nil {
		return "", 0, err
	}
	after = strings.Clone(c.Query("after"))
	if len(after) > maxKeyID {
		return "", 0, transport.InvalidField("?after", "must be the id of a key")
	}
	return after, limit, nil
}

// createKey makes a key of the caller's own client and shows its secret, once.
func (s *server) createKey(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Admin)
	if err != nil {
		return err
	}
	key, secret, err := s.readKey(c, p)
	if err != nil {
		return err
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	if err := s.Keys.CreateKey(ctx, key); err != nil {
		return err
	}
	return transport.JSON(c, fiber.StatusCreated, auth.IssuedKey{Key: key.Key, Secret: secret})
}

func (s *server) readKey(c *fiber.Ctx, p auth.Principal) (auth.Stored, string, error) {
	body, err := transport.Body(c, s.Door.MaxBody())
	if err != nil {
		return auth.Stored{}, "", err
	}
	var in newKey
	if err := jobs.DecodeObject(body, &in); err != nil {
		return auth.Stored{}, "", err
	}
	hosts, err := keyHosts(p, in)
	if err != nil {
		return auth.Stored{}, "", err
	}
	opts := auth.KeyOptions{MaxConnections: in.MaxConnections, AllowHosts: hosts.Allow, DenyHosts: hosts.Deny}
	if in.ExpiresAt != nil {
		// Below a millisecond the time left could round to "no end".
		if opts.TTL = time.Until(in.ExpiresAt.Time); opts.TTL < time.Millisecond {
			return auth.Stored{}, "", transport.InvalidField("/expiresAt", "must be in the future")
		}
	}
	key, secret, err := auth.NewKey(p.ClientID, in.Name, in.Scopes, opts)
	var invalid *auth.InvalidError
	if errors.As(err, &invalid) && invalid.Field == "ttl" {
		return auth.Stored{}, "", transport.InvalidField("/expiresAt", "must be one second to ten years ahead")
	}
	if err == nil && in.ExpiresAt != nil {
		end := jobs.At(in.ExpiresAt.Time).Time // exactly as asked for, not as far from now
		key.ExpiresAt = &end
	}
	return key, secret, err
}

// reach is what jobs of a key may reach.
func reach(p auth.Principal) jobs.Hosts { return jobs.Hosts{Allow: p.AllowHosts, Deny: p.DenyHosts} }

// keyHosts returns what jobs of a new key may reach: no more than those of its maker.
func keyHosts(maker auth.Principal, in newKey) (jobs.Hosts, error) {
	own := reach(maker)
	if own.Empty() {
		return jobs.KeyHosts(in.AllowHosts, in.DenyHosts)
	}
	for at, list := range map[string][]string{"/allowHosts": in.AllowHosts, "/denyHosts": in.DenyHosts} {
		if len(list) > 0 {
			return own, transport.InvalidField(at, "a key with lists of hosts makes keys with the same lists: leave it out")
		}
	}
	return own, nil
}

func (s *server) revokeKey(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Admin)
	if err != nil {
		return err
	}
	id := strings.Clone(c.Params("id"))
	if len(id) > maxKeyID {
		return auth.ErrNoKey
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	ctx, cancel := command()
	defer cancel()
	if err := s.Keys.RevokeKey(ctx, p.ClientID, id, time.Now()); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
