package transport

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/wire"
)

// How much memory bodies may take while they arrive, in bytes. A body that has arrived
// is judged and done with at once, and is not counted.
const (
	leastBodies   = 64 << 20 // of clients; of four bodies of the largest size if that is more
	strangeBodies = 16 << 20 // of all others: Engine.IO's packets
)

// bodies are what is on its way. They belong to a client, or else to an address.
type bodies struct {
	clients   *wire.Shares[string]
	strangers *wire.Shares[string]
}

func newBodies(largest int) bodies {
	return bodies{
		clients:   wire.NewShares[string](int64(max(leastBodies, 4*largest))),
		strangers: wire.NewShares[string](strangeBodies),
	}
}

// Body returns the request's JSON body of at most limit bytes. It is for handlers that
// have let the caller in: only then anything of the body is read, and memory is taken as
// it arrives. An empty body is returned as nil whatever its Content-Type. It refuses, at
// once where the headers tell, another Content-Type (415), any Content-Encoding (415:
// inflating is how a small request becomes a large one), a longer body (413), and one
// that does not come (408) or not whole (400). A body that waits for "100 Continue" while
// the door drains is refused with draining instead.
func Body(c *fiber.Ctx, limit int) ([]byte, error) {
	body, _, err := BodyOf(c, limit, fiber.MIMEApplicationJSON)
	return body, err
}

// BodyOf is Body for a request whose body may be of several media types. It returns which
// of them it is, empty if it is none, and then the body is nil. If the limit is above the
// door's MaxBody, those that may be larger than that take turns: some of a client at a time, until
// their requests are answered.
func BodyOf(c *fiber.Ctx, limit int, types ...string) (body []byte, media string, err error) {
	if enc := c.Get(fiber.HeaderContentEncoding); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, "", Refuse(UnsupportedMediaType, "The body must not be compressed.").
			With(fiber.HeaderAcceptEncoding, "identity")
	}
	length := wire.BodyLength(c.Context())
	media = mediaType(c.Get(fiber.HeaderContentType), types)
	switch {
	case length > int64(limit):
		return nil, "", bodyTooLarge(limit)
	case length > 0 && media == "":
		return nil, "", notOf(types)
	case length < 0 && media == "": // in chunks, and perhaps of no bytes
		limit = 0
	}
	door := infoOf(c).door
	if door == nil {
		return nil, "", errors.New("a body is read outside the gate")
	}
	if most := door.maxBody; limit > most && (length < 0 || length > int64(most)) {
		if err := door.bodyTurn(c); err != nil {
			return nil, "", err
		}
	}
	if err := door.invite(c); err != nil {
		return nil, "", err
	}
	body, err = readBody(c, limit)
	switch {
	case errors.Is(err, wire.ErrBodyTooLarge) && media == "":
		return nil, "", notOf(types)
	case errors.Is(err, wire.ErrBodyTooLarge):
		return nil, "", bodyTooLarge(limit)
	case err != nil:
		return nil, "", BrokenBody(err)
	case len(body) == 0:
		return nil, media, nil
	}
	return body, media, nil
}

func bodyTooLarge(limit int) error {
	return Refuse(TooLarge, fmt.Sprintf("The request body is larger than %d bytes.", limit))
}

func notOf(types []string) error {
	return Refuse(UnsupportedMediaType, "The body must be "+strings.Join(types, " or ")+".").
		With(fiber.HeaderAccept, strings.Join(types, ", "))
}

// readBody reads a body of at most limit bytes, on the account of who sends it.
func readBody(c *fiber.Ctx, limit int) ([]byte, error) {
	v := infoOf(c)
	if v.who.ClientID != "" {
		return wire.ReadBody(c.Context(), limit, v.door.bodies.clients, v.who.ClientID)
	}
	return wire.ReadBody(c.Context(), limit, v.door.bodies.strangers, "")
}

// invite is Admit for a body that waits for "100 Continue": who is told to send it would
// do so for nothing.
func (d *Door) invite(c *fiber.Ctx) error {
	if wire.Invites(c.Context()) {
		return d.Admit()
	}
	return nil
}

// Payload returns the request's body of at most limit bytes whatever it is, for a
// protocol that knows its peers itself. Its errors are those of [wire.ReadBody].
func (d *Door) Payload(c *fiber.Ctx, limit int) ([]byte, error) {
	return wire.ReadBody(c.Context(), limit, d.bodies.strangers, d.Sharer(c))
}

// BrokenBody is the refusal of a body that could not be read.
func BrokenBody(err error) *Problem {
	var ne net.Error
	switch {
	case errors.Is(err, wire.ErrDisplaced):
		return Refuse(Unavailable, "The server is receiving too many request bodies and dropped the oldest, this one.").Because(err)
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return Refuse(Timeout, "The body did not arrive in time.")
	}
	return Refuse(Malformed, "The body ended early, or its chunks are malformed.")
}

// mediaType returns which of types a Content-Type is; empty: none.
func mediaType(contentType string, types []string) string {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || !slices.Contains(types, media) {
		return ""
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return media
}
