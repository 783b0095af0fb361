package transport

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
)

// MaxWait is the longest that a caller may ask to wait, on long-polls and with
// `Prefer: wait`. It bounds how long a request holds its memory.
const MaxWait = 60 * time.Second

// StartFrom reads where a subscription starts. The header Last-Event-ID wins
// over `?lastEventId=`, that over `?tail=N`, that over `?from=start|now`: an EventSource
// sends the query it was opened with and a fresh header together. Empty is absent. A
// cursor that does not parse is malformed in the query and Invalid in the
// header, where a browser could not correct it.
func StartFrom(c *fiber.Ctx) (hub.Start, error) {
	from, err := parseFrom(c.Query("from"))
	if err != nil {
		return hub.Start{}, err
	}
	tail := 0
	if s := c.Query("tail"); s != "" {
		if tail, err = parseTail(s); err != nil {
			return hub.Start{}, err
		}
	}
	if s := c.Get("Last-Event-ID"); s != "" {
		if cursor, ok := parseCursor(s); ok {
			return hub.Start{Cursor: &cursor}, nil
		}
		return hub.Start{From: from, Invalid: true}, nil
	}
	if s := c.Query("lastEventId"); s != "" {
		cursor, ok := parseCursor(s)
		if !ok {
			return hub.Start{}, Refuse(Malformed, "lastEventId is not a cursor.")
		}
		return hub.Start{Cursor: &cursor}, nil
	}
	return hub.Start{From: from, Tail: tail}, nil
}

// ParseStart reads a start given in a frame: lastEventId (a cursor) wins over
// tail (a number, or absent), that over from; all may be empty.
func ParseStart(lastEventID, from string, tail json.RawMessage) (hub.Start, error) {
	f, err := parseFrom(from)
	if err != nil {
		return hub.Start{}, err
	}
	n := 0
	if len(tail) > 0 && string(tail) != "null" {
		if n, err = parseTail(string(tail)); err != nil {
			return hub.Start{}, err
		}
	}
	if lastEventID == "" {
		return hub.Start{From: f, Tail: n}, nil
	}
	cursor, ok := parseCursor(lastEventID)
	if !ok {
		return hub.Start{From: f, Invalid: true}, nil
	}
	return hub.Start{Cursor: &cursor}, nil
}

// Reading is how a reader of events wants them.
type Reading struct {
	Start     hub.Start
	Wait      time.Duration // `?wait=`, whole seconds 0..60: how long a long-poll may wait
	Conflate  bool          // `?conflate=1`: of each batch only the newest progress per job and attempt
	Heartbeat bool          // `?heartbeat=event`: SSE says its signs of life as `event: ping`, not as comments
}

// ReadingFrom reads the whole query of an events request. Values outside the
// named ones are invalid; parameters with other names are ignored.
func ReadingFrom(c *fiber.Ctx) (r Reading, err error) {
	if r.Start, err = StartFrom(c); err != nil {
		return Reading{}, err
	}
	if r.Wait, err = parseWait(c.Query("wait")); err != nil {
		return Reading{}, err
	}
	switch c.Query("conflate") {
	case "", "0":
	case "1":
		r.Conflate = true
	default:
		return Reading{}, InvalidField("?conflate", "must be 1 or 0")
	}
	switch c.Query("heartbeat") {
	case "":
	case "event":
		r.Heartbeat = true
	default:
		return Reading{}, InvalidField("?heartbeat", "must be event")
	}
	return r, nil
}

func parseFrom(s string) (hub.From, error) {
	switch s {
	case "":
		return hub.Default, nil
	case "start":
		return hub.FromStart, nil
	case "now":
		return hub.FromNow, nil
	}
	return 0, InvalidField("?from", "must be start or now")
}

// maxTail bounds how many events a reader may ask to begin with.
const maxTail = 10_000

func parseTail(s string) (int, error) {
	n, ok := parseCount(s)
	if !ok || n < 1 || n > maxTail {
		return 0, InvalidField("?tail", "must be 1 to "+strconv.Itoa(maxTail))
	}
	return n, nil
}

// parseCursor is jobs.ParseCursor on a copy, because the epoch of the result is
// a part of its argument.
func parseCursor(s string) (eventlog.Cursor, bool) { return eventlog.ParseCursor(strings.Clone(s)) }

func parseWait(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	n, ok := parseCount(s)
	if !ok || n > int(MaxWait/time.Second) {
		return 0, InvalidField("?wait", "must be whole seconds from 0 to 60")
	}
	return time.Duration(n) * time.Second, nil
}

// parseCount reads a plain decimal number of at most nine digits.
func parseCount(s string) (int, bool) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
