package rest

import (
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport"
)

// preferredWait returns the wait preference of the request (RFC 7240 4.3),
// 0 without one, at most [transport.MaxWait].
func preferredWait(c *fiber.Ctx) time.Duration {
	wait, ok := parsePrefer(c.Get("Prefer"))
	if !ok {
		return 0
	}
	return min(wait, transport.MaxWait)
}

// parsePrefer reads `wait=N` from a Prefer header: preferences are separated
// by commas, their parameters by semicolons, names compare without case, the
// first of a name counts. A value that is no number of seconds is ignored, as
// preferences are.
func parsePrefer(line string) (time.Duration, bool) {
	for preference := range strings.SplitSeq(line, ",") {
		token, _, _ := strings.Cut(preference, ";")
		name, value, _ := strings.Cut(token, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(value, " \t\""), 10, 31)
		return time.Duration(seconds) * time.Second, err == nil
	}
	return 0, false
}
