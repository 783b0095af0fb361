package transport

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// kind says what several lines of one header field mean (RFC 9110 5.3).
type kind uint8

const (
	list   kind = iota // they are one list
	single             // there is one value; two different ones are malformed
	once               // there is one line; more are malformed
	cursor             // there is one value; two different ones are no cursor, which a stream answers with reset
)

// field is a header field that is read here and may come in several lines.
type field struct {
	name string // in canonical form
	kind kind
}

// fields are all of them, at most 64. Left out on purpose are Authorization and
// X-API-Key, of which every line is looked at (see [Credential]); X-Forwarded-For,
// whose lines are walked from the last (see [Door.ClientAddr]); X-Request-Id, which
// only the log repeats; and Host, Content-Length and Transfer-Encoding, which the
// server refuses when they come twice.
var fields = [...]field{
	{"Accept", list},
	{"Access-Control-Request-Headers", list},
	{"Cache-Control", list},
	{"Connection", list},
	{"Content-Encoding", list},
	{"Expect", list},
	{"If-Match", list},
	{"If-None-Match", list},
	{"Prefer", list},
	{"Sec-Websocket-Extensions", list},
	{"Sec-Websocket-Protocol", list},
	{"Upgrade", list},

	{"Access-Control-Request-Method", single},
	{"Content-Range", single},
	{"Content-Type", single},
	{"Idempotency-Key", once},
	{"If-Modified-Since", single},
	{"If-Range", single},
	{"If-Unmodified-Since", single},
	{"Origin", single},
	{"Range", single},
	{"Sec-Websocket-Key", single},
	{"Sec-Websocket-Version", single},
	{"X-Lease-Token", once},

	{"Last-Event-Id", cursor},
}

// fieldAt finds a field by its name in lower case.
var fieldAt = func() map[string]int {
	at := make(map[string]int, len(fields))
	for i, f := range fields {
		at[strings.ToLower(f.name)] = i
	}
	return at
}()

// maxFieldName is the length of the longest name in fields.
const maxFieldName = len("Access-Control-Request-Headers")

// knownField returns where a header line's name stands in fields.
func knownField(line []byte) (at int, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || colon > maxFieldName {
		return 0, false
	}
	var lower [maxFieldName]byte
	for i, b := range line[:colon] {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	at, ok = fieldAt[string(lower[:colon])]
	return at, ok
}

// joinFields makes one line of each field that came in several. Readers take the
// first line, as all of fasthttp's and fiber's do; from here on that is the whole.
func joinFields(c *fiber.Ctx) error {
	var seen, twice uint64 // bit i stands for fields[i]
	for line := range bytes.SplitSeq(c.Request().Header.RawHeaders(), []byte("\n")) {
		if at, ok := knownField(line); ok {
			twice |= seen & (1 << at)
			seen |= 1 << at
		}
	}
	for at := 0; twice != 0; at, twice = at+1, twice>>1 {
		if twice&1 == 1 {
			if err := fields[at].join(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// wholePut refuses a PUT of a part: what the part was meant for would become the
// whole (RFC 9110 14.5).
func wholePut(c *fiber.Ctx) error {
	if c.Method() == fiber.MethodPut && c.Get(fiber.HeaderContentRange) != "" {
		return Refuse(Malformed, "A PUT replaces the whole resource; Content-Range is not accepted.")
	}
	return nil
}

// join makes one line of those of f.
func (f field) join(c *fiber.Ctx) error {
	h := &c.Request().Header
	values := f.lines(h.RawHeaders())
	switch {
	case f.kind == once:
		return Refuse(Malformed, "The header "+f.name+" is given more than once.")
	case f.kind != list && len(slices.Compact(slices.Clone(values))) == 1:
		values = values[:1]
	case f.kind == single:
		return Refuse(Malformed, "The header "+f.name+" is given more than once, with different values.")
	}
	closes := h.ConnectionClose() // which the framing may ask for as well, and Del and Set forget
	h.Del(f.name)                 // Set replaces the first line only
	h.Set(f.name, strings.Join(values, ", "))
	if closes {
		h.SetConnectionClose()
	}
	return nil
}

// lines returns the values of f in a header as it came, where the parsed one keeps
// the last Content-Type only. A line that begins with a blank goes on with the one
// before it (RFC 9112 5.2).
func (f field) lines(raw []byte) []string {
	var values []string
	mine := false
	for line := range bytes.SplitSeq(raw, []byte("\n")) {
		if mine && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			values[len(values)-1] += " " + string(bytes.TrimSpace(line))
			continue
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if mine = found && strings.EqualFold(string(name), f.name); mine {
			values = append(values, string(bytes.TrimSpace(value)))
		}
	}
	return values
}
