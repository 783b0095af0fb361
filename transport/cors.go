package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/net/idna"
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
		return false, Refuse(Forbidden, "Pages from this origin may not call this server.")
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

// parseOrigins reads a list of origins as browsers write them; nil means all. `null` is
// the origin of pages that have none.
func parseOrigins(list []string) ([]string, error) {
	var origins []string
	for _, text := range list {
		if text = strings.TrimSpace(text); text == "*" {
			return nil, nil
		}
		origin, err := parseOrigin(text)
		if err != nil {
			return nil, fmt.Errorf("origin %q: %w", text, err)
		}
		origins = append(origins, origin)
	}
	return origins, nil
}

// parseOrigin writes an origin as a browser does (WHATWG URL, "serialization of an
// origin"): in lower case, its host in ASCII, without the scheme's own port. What can
// never come from a browser is refused, with what to write.
func parseOrigin(text string) (string, error) {
	if strings.EqualFold(text, "null") {
		return "null", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		if strings.HasPrefix(strings.ToLower(text), "file:") {
			return "", errors.New("pages from files have the origin null: write null")
		}
		return "", errors.New("write scheme://host or scheme://host:port, null, or * for all")
	}
	host, port := u.Hostname(), u.Port()
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" {
		return "", fmt.Errorf("an origin ends with its host and port: write %s://%s", u.Scheme, u.Host)
	}
	if strings.Contains(host, "*") {
		return "", errors.New("no browser sends a wildcard: write each origin, or * for all")
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errors.New("its port is not 1 to 65535")
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.WithZone("").String()
		if ip.Is6() {
			host = "[" + host + "]"
		}
	} else if ascii := strings.ToLower(host); strings.IndexFunc(ascii, func(r rune) bool { return r > '~' }) < 0 {
		host = ascii
	} else if host, err = idna.Lookup.ToASCII(host); err != nil {
		return "", fmt.Errorf("browsers do not accept this host: %w", err)
	}
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	if port != "" {
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}
