package transport

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// What the answer to a preflight grants (Fetch standard, CORS protocol).
// Fiber's own middleware is not used: it passes requests of foreign origins on,
// and it does not run for what the server refuses before routing.
const (
	allowMethods = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
	allowHeaders = "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, " +
		"X-API-Key, X-Lease-Token, X-Request-Id"
	exposeHeaders = "Location, X-Request-Id, Retry-After, Idempotent-Replayed, Preference-Applied, ETag, Last-Event-ID"
	preflightAge  = "7200" // seconds; browsers cap it at about this
)

// OriginAllowed reports whether a page of this origin may call: every one if no
// list was given, else those listed and the server's own (the origin's host is
// the one that the request was sent to). A request without Origin does not come
// from a page.
func (d *Door) OriginAllowed(origin, host string) bool {
	if origin == "" || len(d.origins) == 0 {
		return true
	}
	origin = strings.ToLower(origin)
	if slices.Contains(d.origins, origin) {
		return true
	}
	_, own, ok := strings.Cut(origin, "://")
	return ok && own != "" && own == strings.ToLower(host)
}

// allowOrigin sets the headers that let a page read the answer, refusals too. Pages of
// listed origins may send the browser's own credentials along: no cookie means anything
// here, but applications set withCredentials for a balancer in front. Where all origins
// may call, browsers take no such answer, and none is given.
func (d *Door) allowOrigin(c *fiber.Ctx) {
	origin := c.Get(fiber.HeaderOrigin)
	if len(d.origins) == 0 {
		c.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	} else {
		c.Vary(fiber.HeaderOrigin)
		if origin == "" || !d.OriginAllowed(origin, string(c.Request().Host())) {
			return
		}
		c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
		if slices.Contains(d.origins, strings.ToLower(origin)) {
			c.Set(fiber.HeaderAccessControlAllowCredentials, "true")
		}
	}
	c.Set(fiber.HeaderAccessControlExposeHeaders, exposeHeaders)
}

// cors refuses foreign origins with forbidden, also on reads and upgrades,
// which browsers send without asking first. It answers a preflight and then
// reports done.
func (d *Door) cors(c *fiber.Ctx) (done bool, err error) {
	if !d.OriginAllowed(c.Get(fiber.HeaderOrigin), string(c.Request().Host())) {
		return false, Refuse(Forbidden, "Pages of this origin may not call this server.")
	}
	if c.Method() != fiber.MethodOptions || c.Get(fiber.HeaderAccessControlRequestMethod) == "" {
		return false, nil
	}
	c.Set(fiber.HeaderAccessControlAllowMethods, allowMethods)
	c.Set(fiber.HeaderAccessControlAllowHeaders, allowHeaders+extraHeaders(c))
	c.Vary(fiber.HeaderAccessControlRequestHeaders)
	c.Set(fiber.HeaderAccessControlMaxAge, preflightAge)
	c.Status(fiber.StatusNoContent)
	return true, nil
}

// maxExtraHeaders bounds what a preflight may ask for, in bytes.
const maxExtraHeaders = 1 << 10

// extraHeaders returns the header names that a page asks for, as a continuation of
// a list: clients of Socket.IO may be set up to send headers of the application's
// own. They mean nothing here, and as there are no cookies, they do no harm.
func extraHeaders(c *fiber.Ctx) string {
	asked := c.Get(fiber.HeaderAccessControlRequestHeaders)
	if asked == "" || len(asked) > maxExtraHeaders || strings.Trim(strings.ToLower(asked), "abcdefghijklmnopqrstuvwxyz0123456789-_, ") != "" {
		return ""
	}
	return ", " + asked
}

// parseOrigins checks and lowers a list of origins; nil means all. `null` is
// the origin of pages that have none.
func parseOrigins(list []string) ([]string, error) {
	var origins []string
	for _, o := range list {
		o = strings.ToLower(strings.TrimSpace(o))
		if o == "*" {
			return nil, nil
		}
		u, err := url.Parse(o)
		if o != "null" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != o) {
			return nil, fmt.Errorf("origin %q is not scheme://host[:port], null or *", o)
		}
		origins = append(origins, o)
	}
	return origins, nil
}
