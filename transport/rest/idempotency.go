package rest

import (
	"crypto/sha256"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// maxIdempotencyKey bounds what the store keeps and indexes for each job.
const maxIdempotencyKey = 255

// idempotencyKey reads the header Idempotency-Key; without it the result is "".
// A value that is not 1..255 visible ASCII characters is invalid.
func idempotencyKey(c *fiber.Ctx) (string, error) {
	values := c.Request().Header.PeekAll("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := string(values[0])
	visible := func(r rune) bool { return r > ' ' && r < 0x7f }
	if key == "" || len(key) > maxIdempotencyKey || strings.TrimFunc(key, visible) != "" {
		return "", transport.Refuse(transport.Invalid, "Idempotency-Key must be 1 to 255 visible ASCII characters.")
	}
	return key, nil
}

// idempotentBody reads a request's JSON body, and its Idempotency-Key before that; without
// one the second result is zero. path is that of the request in its one spelling.
func (s *server) idempotentBody(c *fiber.Ctx, path string) (body []byte, idem jobs.Idempotency, err error) {
	body, _, idem, err = s.idempotentBodyOf(c, path, s.Door.MaxBody(), fiber.MIMEApplicationJSON)
	return body, idem, err
}

// idempotentBodyOf is idempotentBody for a body of at most limit bytes and of one of
// several media types, of which it returns the one that it is; see [transport.BodyOf].
func (s *server) idempotentBodyOf(c *fiber.Ctx, path string, limit int, types ...string) (body []byte, media string, idem jobs.Idempotency, err error) {
	key, err := idempotencyKey(c)
	if err != nil {
		return nil, "", idem, err
	}
	if body, media, err = transport.BodyOf(c, limit, types...); err != nil || key == "" {
		return body, media, idem, err
	}
	return body, media, jobs.Idempotency{Key: key, Hash: fingerprint(c.Method(), path, body)}, nil
}

// fingerprint is what makes two requests the same: method, path and body. The
// first two cannot hold a NUL, so the parts cannot be shifted into each other.
func fingerprint(method, path string, body []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(method + "\x00" + path + "\x00"))
	h.Write(body)
	return [32]byte(h.Sum(nil))
}
