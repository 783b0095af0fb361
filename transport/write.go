package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// Write answers with the problem of err. It never fails except when the
// problem cannot be encoded; the error result lets handlers end with
// `return transport.Write(c, err)`. What is our own fault is logged here, once.
//
// Headers that the handler has set stay: a Location names a job that was made
// although its stream could not be answered.
func Write(c *fiber.Ctx, err error) error {
	p := FromError(err)
	v := infoOf(c)
	p.Instance = v.id
	v.refused(p.Code)
	if p.cause != nil {
		v.log.Error("request failed", "requestId", v.id, "code", string(p.Code), "error", p.cause)
	}
	c.Response().ResetBody()
	for _, h := range p.headers {
		c.Set(h.name, h.value)
	}
	if p.retry > 0 {
		c.Set(fiber.HeaderRetryAfter, fmt.Sprint(seconds(p.retry)))
	}
	return send(c, p.Status, "application/problem+json", p)
}

// JSON answers with v. HTML characters are not escaped, so that raw JSON of
// jobs goes out as it was submitted.
func JSON(c *fiber.Ctx, status int, v any) error {
	return send(c, status, fiber.MIMEApplicationJSON, v)
}

func send(c *fiber.Ctx, status int, contentType string, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.Status(status)
	c.Set(fiber.HeaderContentType, contentType)
	// Answers belong to one key; no shared cache may keep them.
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Response().SetBodyRaw(buf.Bytes())
	return nil
}

// HeaderLines returns the headers of the refusal as they stand in a response, for
// answers that are not written by fiber.
func (p *Problem) HeaderLines() string {
	var b strings.Builder
	for _, h := range p.headers {
		b.WriteString(h.name + ": " + h.value + "\r\n")
	}
	if p.retry > 0 {
		fmt.Fprintf(&b, "%s: %d\r\n", fiber.HeaderRetryAfter, seconds(p.retry))
	}
	return b.String()
}

// Full is the whole answer to a connection for which there is no room, before any
// request of it was read.
func Full() []byte {
	p := Refuse(Unavailable, "The server has as many open connections as it can have.").RetryAfter(fullTime)
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // a Problem always encodes
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		p.Status, utils.StatusMessage(p.Status), p.HeaderLines(), len(body), body)
}

// fullTime is when to come back to a server without room.
const fullTime = 5 * time.Second
