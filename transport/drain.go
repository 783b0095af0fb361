package transport

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Drain makes the door refuse what is new. It cannot be undone. Requests that
// wait (Context) stop waiting.
func (d *Door) Drain() { d.drain() }

// Draining reports whether Drain was called.
func (d *Door) Draining() bool { return d.draining.Err() != nil }

// Context ends when the door begins to drain. It is for waiting, not for
// commands: a command that has begun is let finish.
func (d *Door) Context() context.Context { return d.draining }

// Wait returns when no request is being handled. Requests that wait have to be ended
// before, and the connections cut of those that are not to be waited for.
func (d *Door) Wait() { d.handlers.Wait() }

// Admit refuses with draining once Drain was called. It is the last check
// before a request takes effect.
func (d *Door) Admit() error {
	if d.Draining() {
		return refuseDraining()
	}
	return nil
}

// Abandon reports whether this request's connection is to be closed without an
// answer: an event-stream request on a connection that was open when draining
// began. An EventSource dies for ever of a 503 but retries a connection that
// closes on it.
func (d *Door) Abandon(c *fiber.Ctx) bool {
	return d.Draining() && AcceptsOnlyEventStream(c)
}

func refuseDraining() *Problem {
	return Refuse(Draining, "The server is shutting down; try again in a moment.")
}

// seconds rounds up to whole seconds, the unit of HTTP headers.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
