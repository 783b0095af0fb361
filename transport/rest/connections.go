package rest

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

const (
	// maxConnectionPage connections have less than 1 MiB.
	maxConnectionPage = 500
	// maxConnectionID is longer than any id of a connection.
	maxConnectionID = 64
)

// connection is one live stream on the wire.
type connection struct {
	ID        string    `json:"id"`
	Transport string    `json:"transport"`
	Client    string    `json:"client"`
	Key       keyOf     `json:"key"`
	TokenID   *string   `json:"tokenId"` // null: it was opened with the key itself
	Rooms     roomsOf   `json:"rooms"`
	Position  *string   `json:"position"` // null: it is in no room, or shows no events
	Lag       uint64    `json:"lag"`
	Conflated bool      `json:"conflated"`
	Since     jobs.Time `json:"since"`
	Address   *string   `json:"address"` // null: it came over a unix socket
	UserAgent *string   `json:"userAgent"`
}

type keyOf struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// roomsOf says in how many rooms a connection is, and names the first few.
type roomsOf struct {
	Count int      `json:"count"`
	Names []string `json:"names"` // not nil
}

// listConnections answers with a page of the client's connections, oldest first.
func (s *server) listConnections(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Admin)
	if err != nil {
		return err
	}
	limit, err := pageLimit(c, maxConnectionPage, maxConnectionPage)
	if err != nil {
		return err
	}
	var after uint64
	if text := c.Query("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return transport.InvalidField("?after", "must be the next of a page before")
		}
	}
	if err := s.Door.Admit(); err != nil {
		return err
	}
	if err := s.Door.Turn(c, p); err != nil {
		return err
	}
	found := s.Streams.Connections(p.ClientID, after, limit+1)
	var page struct {
		Connections []connection `json:"connections"`
		Next        *string      `json:"next"` // null: this is the last page
	}
	if len(found) > limit {
		found = found[:limit]
		next := strconv.FormatUint(found[limit-1].Number, 10)
		page.Next = &next
	}
	page.Connections = make([]connection, len(found))
	for i, f := range found {
		page.Connections[i] = showConnection(f)
	}
	return transport.JSON(c, fiber.StatusOK, page)
}

func showConnection(f auth.Connection) connection {
	out := connection{
		ID: f.Stream.ID(), Transport: f.Kind, Client: f.Client, Key: keyOf{f.KeyID, f.KeyName}, TokenID: unlessEmpty(f.TokenID),
		Rooms: roomsOf{Names: []string{}}, Since: jobs.At(f.Since), UserAgent: unlessEmpty(f.UserAgent),
	}
	if f.Addr != (netip.Addr{}) && f.Addr != transport.UnixPeer {
		out.Address = unlessEmpty(f.Addr.String())
	}
	if live, ok := f.Stream.(transport.Live); ok {
		w := live.Watching()
		out.Position, out.Lag, out.Conflated, out.Rooms.Count = unlessEmpty(w.Position), w.Lag, w.Conflated, w.Rooms
		for _, job := range w.First {
			out.Rooms.Names = append(out.Rooms.Names, transport.RoomName(eventlog.Room{Client: f.Client, Job: job}))
		}
	}
	return out
}

// endConnection tells a connection of the client to end.
func (s *server) endConnection(c *fiber.Ctx) error {
	p, err := s.Door.Principal(c, auth.Admin)
	if err != nil {
		return err
	}
	id := strings.Clone(c.Params("id"))
	if len(id) > maxConnectionID {
		return auth.ErrNoConnection
	}
	if err := s.Streams.End(p.ClientID, id); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
