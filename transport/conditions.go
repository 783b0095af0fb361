package transport

import (
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Validators tell one state of a resource from another (RFC 9110 8.8).
type Validators struct {
	ETag     string    // a strong entity-tag with its quotes; empty: the resource has no representation now
	Modified time.Time // zero: unknown
}

// Set sends the validators with an answer.
func (v Validators) Set(c *fiber.Ctx) {
	c.Set(fiber.HeaderETag, v.ETag)
	if !v.Modified.IsZero() {
		c.Set(fiber.HeaderLastModified, v.Modified.UTC().Format(http.TimeFormat))
	}
}

// Conditions holds a request's preconditions against the state of its resource, in
// the order of RFC 9110 13.2.2. It is called when nothing else speaks against the
// request. fresh means 304: the caller has what a GET or HEAD would bring. A
// condition that does not hold is refused with precondition_failed.
//
// Dates are compared in whole seconds, and are ignored if they do not parse or the
// resource has none. If-Range belongs to the range, see [WantsRange].
func Conditions(c *fiber.Ctx, now Validators) (fresh bool, err error) {
	reads := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead
	if tags := c.Get(fiber.HeaderIfMatch); tags != "" {
		if !anyTag(tags, now.ETag, strong) {
			return false, failed(fiber.HeaderIfMatch)
		}
	} else if since, ok := now.since(c, fiber.HeaderIfUnmodifiedSince); ok && since > 0 {
		return false, failed(fiber.HeaderIfUnmodifiedSince)
	}
	if tags := c.Get(fiber.HeaderIfNoneMatch); tags != "" {
		switch {
		case !anyTag(tags, now.ETag, weak):
		case reads:
			return true, nil
		default:
			return false, failed(fiber.HeaderIfNoneMatch)
		}
	} else if since, ok := now.since(c, fiber.HeaderIfModifiedSince); ok && reads && since <= 0 {
		return true, nil
	}
	return false, nil
}

// WantsRange returns the Range of a GET whose If-Range, if there is one, names these
// very bytes (RFC 9110 13.1.5). A date never does: a second is too coarse for it.
func WantsRange(c *fiber.Ctx, now Validators) (ranges string, ok bool) {
	ranges = c.Get(fiber.HeaderRange)
	ifRange := c.Get(fiber.HeaderIfRange)
	return ranges, ranges != "" && c.Method() == fiber.MethodGet && (ifRange == "" || ifRange == now.ETag)
}

func failed(header string) error {
	return Refuse(PreconditionFailed, "The condition in "+header+" does not hold.")
}

// since returns how much later than the date in a header the last change was.
func (v Validators) since(c *fiber.Ctx, header string) (time.Duration, bool) {
	date, err := http.ParseTime(c.Get(header))
	return v.Modified.Truncate(time.Second).Sub(date), err == nil && !v.Modified.IsZero()
}

// comparison is how entity-tags are compared (RFC 9110 8.8.3.2).
type comparison bool

const (
	strong comparison = true  // a weak tag equals none
	weak   comparison = false // weakness does not count
)

// anyTag reports whether a list of entity-tags holds tag, which is strong, or is `*`
// while there is a tag. The list ends where it is not well-formed.
func anyTag(list, tag string, how comparison) bool {
	if tag == "" {
		return false
	}
	if strings.Trim(list, " \t") == "*" {
		return true
	}
	for {
		list = strings.TrimLeft(list, " \t,")
		rest, isWeak := strings.CutPrefix(list, "W/")
		if !strings.HasPrefix(rest, `"`) {
			return false
		}
		end := strings.IndexByte(rest[1:], '"') + 2 // behind the second quote; commas may stand between
		if end < 2 {
			return false
		}
		if rest[:end] == tag && (how == weak || !isWeak) {
			return true
		}
		list = rest[end:]
	}
}
