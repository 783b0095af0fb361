package transport

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
)

// Caps on what a stranger can put into one log line.
const (
	maxLoggedPath     = 256 // bytes of the request path
	maxLoggedClientID = 128 // bytes of an X-Request-Id from outside
)

// requestInfo is what the door remembers of one request while it lasts. Only the
// goroutine of the handler touches it.
type requestInfo struct {
	id        string // our own random request id
	foreignID string // X-Request-Id from outside: for the log, believed by nobody
	start     time.Time
	log       *slog.Logger
	refused   func(Code)
	who       auth.Principal // zero until authenticated
	turn      *turn          // nil: its answer is not large, or not known to be
	door      *Door          // nil: outside the gate
}

type requestInfoKey struct{}

func infoOf(c *fiber.Ctx) *requestInfo {
	if v, ok := c.Locals(requestInfoKey{}).(*requestInfo); ok {
		return v
	}
	return &requestInfo{id: newRequestID(), log: slog.Default(), refused: func(Code) {}, start: time.Now()}
}

// newRequestID returns 26 letters and digits, 128 random bits. It names a request and
// opens nothing, so that it need not cost a system call.
func newRequestID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [26]byte
	for i := 0; i < len(id); i += 13 {
		bits := rand.Uint64()
		for k := range id[i : i+13] {
			id[i+k] = alphabet[bits%32]
			bits /= 32
		}
	}
	return string(id[:])
}

// RequestID returns the id of the request: random, ours, never taken from
// outside. It stands in X-Request-Id, in problems as `instance`, and in the log.
func RequestID(c *fiber.Ctx) string { return infoOf(c).id }

// open begins a request: its id, and the headers that every answer has.
func (d *Door) open(c *fiber.Ctx) *requestInfo {
	v := &requestInfo{id: newRequestID(), start: time.Now(), log: d.log, refused: d.refused, foreignID: foreignID(c), door: d}
	c.Locals(requestInfoKey{}, v)
	c.Set(fiber.HeaderXRequestID, v.id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'") // pages set their own
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")                                       // a key in a page's query must not travel
	d.allowOrigin(c)
	if d.Draining() {
		c.Context().Response.SetConnectionClose() // the next request must find another process
	}
	return v
}

// foreignID returns a copy of the caller's X-Request-Id if it is short visible
// ASCII, else nothing.
func foreignID(c *fiber.Ctx) string {
	s := c.Get(fiber.HeaderXRequestID)
	if len(s) > maxLoggedClientID || !visibleASCII(s) {
		return ""
	}
	return strings.Clone(s)
}

// gate is the outermost middleware: it opens the request, joins header fields that came
// in several lines, checks the origin, turns errors and panics into problems and writes
// one access line.
func (d *Door) gate(c *fiber.Ctx) (err error) {
	v := d.open(c)
	defer func() {
		if r := recover(); r != nil {
			err = Write(c, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
		d.logRequest(c, v)
		endTurn(c, v)
	}()
	if err := joinFields(c); err != nil {
		return Write(c, err)
	}
	if err := wholePut(c); err != nil {
		return Write(c, err)
	}
	if done, err := d.cors(c); err != nil {
		return Write(c, err)
	} else if done {
		return nil
	}
	if err := c.Next(); err != nil {
		return Write(c, err)
	}
	return nil
}

// handleError answers what fails outside the gate: requests that fasthttp
// refuses before any handler runs.
func (d *Door) handleError(c *fiber.Ctx, err error) error {
	v := d.open(c)
	defer d.logRequest(c, v)
	return Write(c, err)
}

// logRequest writes the access line. It holds no query at all: the query is where
// browsers have to put their keys.
func (d *Door) logRequest(c *fiber.Ctx, v *requestInfo) {
	if !d.log.Enabled(c.Context(), slog.LevelInfo) {
		return
	}
	attrs := append(d.asked(c, v.id),
		slog.Int("status", c.Response().StatusCode()),
		slog.Duration("duration", time.Since(v.start)),
	)
	if !c.Response().IsBodyStream() {
		attrs = append(attrs, slog.Int("bytes", len(c.Response().Body())))
	}
	if v.who.ClientID != "" {
		attrs = append(attrs, slog.String("clientId", v.who.ClientID), slog.String("keyId", v.who.KeyID))
	}
	d.log.LogAttrs(c.Context(), slog.LevelInfo, "request", attrs...)
}

// asked is what an access line says of the request itself; its id comes first.
func (d *Door) asked(c *fiber.Ctx, requestID string) []slog.Attr {
	path := c.Path()
	if len(path) > maxLoggedPath {
		path = path[:maxLoggedPath]
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("requestId", requestID),
		slog.String("method", strings.Clone(c.Method())),
		slog.String("path", strings.Clone(path)),
		slog.String("addr", d.ClientAddr(c).String()),
	)
	if id := infoOf(c).foreignID; id != "" {
		attrs = append(attrs, slog.String("clientRequestId", id))
	}
	return attrs
}

// LogRepeats is for a request that may come again, the same but for a time stamp in its
// query, where no handler sees it: a poll. What it returns is called each time; it writes
// the access line and returns the new request id.
func (d *Door) LogRepeats(c *fiber.Ctx) func() string {
	if !d.log.Enabled(c.Context(), slog.LevelInfo) {
		return newRequestID
	}
	asked := append(d.asked(c, ""), slog.Int("status", fiber.StatusOK))
	return func() string {
		id := newRequestID()
		attrs := slices.Clone(asked)
		attrs[0].Value = slog.StringValue(id)
		d.log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
		return id
	}
}
