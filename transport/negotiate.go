package transport

import (
	"mime"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// EventFormat is how events are answered.
type EventFormat int

// The formats of the event URLs. JSON is the long-poll there, and an ordinary
// answer elsewhere. The order is what is preferred when a wildcard leaves it open.
const (
	JSONFormat EventFormat = iota
	EventStream
	NDJSON
)

// String returns the media type.
func (f EventFormat) String() string {
	return [...]string{fiber.MIMEApplicationJSON, "text/event-stream", "application/x-ndjson"}[f]
}

// Kind names the format in metrics and logs.
func (f EventFormat) Kind() string { return formatKinds[f] }

var formatKinds = [...]string{JSONFormat: Register("poll"), EventStream: Register("sse"), NDJSON: Register("ndjson")}

var formats = [...]EventFormat{JSONFormat, EventStream, NDJSON}

// maxAcceptRanges is how many elements of an Accept header are read; browsers
// send fewer than ten. The rest is ignored.
const maxAcceptRanges = 32

// acceptRange is one element of an Accept header (RFC 9110 12.5.1).
type acceptRange struct {
	media string  // lower case, e.g. text/event-stream, text/*, */*
	q     float64 // 0..1
}

// specificity is 2 for a full type, 1 for `type/*`, 0 for `*/*`.
func (r acceptRange) specificity() int {
	switch {
	case r.media == "*/*":
		return 0
	case strings.HasSuffix(r.media, "/*"):
		return 1
	default:
		return 2
	}
}

func (r acceptRange) matches(media string) bool {
	switch r.specificity() {
	case 0:
		return true
	case 1:
		return strings.HasPrefix(media, strings.TrimSuffix(r.media, "*"))
	default:
		return r.media == media
	}
}

// Negotiate picks the format of an answer with events, or refuses with
// not_acceptable. No Accept header is `*/*`, and `*/*` is JSON.
func Negotiate(c *fiber.Ctx) (EventFormat, error) {
	header := c.Get(fiber.HeaderAccept)
	if header == "" {
		return JSONFormat, nil
	}
	if f, ok := negotiate(parseAccept(header)); ok {
		return f, nil
	}
	return 0, Refuse(NotAcceptable, "The available types are text/event-stream, application/x-ndjson and application/json.")
}

// WantsJSON refuses with not_acceptable who does not take JSON, for an answer that is
// nothing else.
func WantsJSON(c *fiber.Ctx) error {
	ranges := parseAccept(c.Get(fiber.HeaderAccept))
	at, found := mostExact(ranges, JSONFormat)
	if c.Get(fiber.HeaderAccept) == "" || found && ranges[at].q > 0 {
		return nil
	}
	return Refuse(NotAcceptable, "The available type is application/json.")
}

// AcceptsOnlyEventStream reports whether nothing but text/event-stream is
// acceptable: what an EventSource sends.
func AcceptsOnlyEventStream(c *fiber.Ctx) bool {
	only := false
	for _, r := range parseAccept(c.Get(fiber.HeaderAccept)) {
		if r.q == 0 {
			continue
		}
		if r.media != EventStream.String() {
			return false
		}
		only = true
	}
	return only
}

// PassingRefusal reports whether a refusal with 429 or 503 must be dressed as
// 200 + `retry:` + `event: problem` + close: an EventSource that reconnects
// dies for ever of those statuses. See [Problem.Passing].
func PassingRefusal(c *fiber.Ctx) bool {
	return c.Get("Last-Event-ID") != "" && AcceptsOnlyEventStream(c)
}

// negotiate picks by weight, then by how exactly the format was asked for, then
// by place in the header. The weight of a format is that of the most exact
// range that matches it, so `*/*, text/event-stream;q=0` excludes streams.
func negotiate(ranges []acceptRange) (best EventFormat, ok bool) {
	var top acceptRange
	topAt := 0
	for _, f := range formats {
		at, found := mostExact(ranges, f)
		if !found || ranges[at].q == 0 {
			continue
		}
		r := ranges[at]
		better := !ok || r.q > top.q ||
			r.q == top.q && r.specificity() > top.specificity() ||
			r.q == top.q && r.specificity() == top.specificity() && at < topAt
		if better {
			best, top, topAt, ok = f, r, at, true
		}
	}
	return best, ok
}

func mostExact(ranges []acceptRange, f EventFormat) (at int, found bool) {
	for i, r := range ranges {
		if r.matches(f.String()) && (!found || r.specificity() > ranges[at].specificity()) {
			at, found = i, true
		}
	}
	return at, found
}

// parseAccept reads an Accept header. Elements that are no media range or whose
// weight is no number are left out; other parameters are ignored.
func parseAccept(header string) []acceptRange {
	var ranges []acceptRange
	for element := range strings.SplitSeq(header, ",") {
		if len(ranges) == maxAcceptRanges {
			break
		}
		media, params, err := mime.ParseMediaType(element)
		if err != nil || strings.Count(media, "/") != 1 {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		ranges = append(ranges, acceptRange{media, q})
	}
	return ranges
}
