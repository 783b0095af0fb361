package transport

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

// FromError maps an error of any layer to its problem. A *Problem stays what it
// is; what is not known here is an internal error whose text goes to the log
// and never to the caller. The result is the caller's own to change.
func FromError(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		own := *p
		return &own
	}
	for _, from := range []func(error) *Problem{fromJobs, fromAuth, fromHTTP} {
		if p := from(err); p != nil {
			return p
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Refuse(Unavailable, "The server could not answer in time; it is unknown whether the request took effect.").Because(err)
	}
	return Refuse(Internal, "Something went wrong. The log has the details under this request id.").Because(err)
}

// Answer is FromError for a command in a connection, which no middleware sees. Trouble
// of our own is logged, under the id of the request that opened the connection.
func Answer(err error, log *slog.Logger, request, command string) *Problem {
	p := FromError(err)
	if p.Status >= http.StatusInternalServerError {
		p.Instance = request
		log.Warn("command failed", "requestId", request, "command", command, "code", string(p.Code), "error", err)
	}
	return p
}

func fromJobs(err error) *Problem {
	var conflict *jobs.ConflictError
	var invalid *jobs.InvalidError
	var malformed *jobs.MalformedError
	var limit *jobs.LimitError
	switch {
	case errors.As(err, &conflict):
		p := Refuse(Conflict, conflict.Detail)
		p.Job = &jobs.Abridged{Job: conflict.Job}
		return p
	case errors.As(err, &invalid):
		p := Refuse(Invalid, invalid.Error())
		p.Errors = invalid.Fields
		return p
	case errors.As(err, &limit):
		p := Refuse(Code(limit.What), limit.Error())
		p.Figures = &Figures{Limit: limit.Max, Used: limit.Used, Asked: limit.Asked}
		return p
	case errors.As(err, &malformed):
		return Refuse(Malformed, malformed.Error())
	case errors.Is(err, jobs.ErrArtifactChanged):
		return Refuse(PreconditionFailed, "The artifact has changed since the condition was checked.")
	case errors.Is(err, jobs.ErrNotFound):
		return Refuse(NotFound, "There is no such job.")
	case errors.Is(err, jobs.ErrNotSealed):
		return Refuse(NotFound, "There is nothing of this name.")
	case errors.Is(err, jobs.ErrLeaseLost):
		return Refuse(LeaseLost, "The lease is unknown, has ended or was taken away.")
	case errors.Is(err, jobs.ErrIdempotencyMismatch):
		return Refuse(IdempotencyMismatch, "This Idempotency-Key was used for a different request.")
	case errors.Is(err, jobs.ErrNotTried):
		return Refuse(Unavailable, "The request was not started, because those before it took too long; nothing was changed.").Because(err)
	case errors.Is(err, jobs.ErrLost): // the store has logged it
		return Refuse(Unavailable, "The server's data was removed or replaced while it ran. It stores nothing until the data is back or it is restarted.")
	case errors.Is(err, jobs.ErrUnavailable):
		return Refuse(Unavailable, "The store does not answer; try again, and repeat a change with the same Idempotency-Key.").Because(err)
	case errors.Is(err, jobs.ErrStorageFull):
		return Refuse(StorageFull, "The disk is full; nothing was stored.").Because(err)
	case errors.Is(err, jobs.ErrClosed):
		return refuseDraining()
	}
	return nil
}

func fromAuth(err error) *Problem {
	var limit *auth.LoginLimitError
	var invalid *auth.InvalidError
	var keys *auth.KeyLimitError
	switch {
	case errors.As(err, &keys):
		p := Refuse(KeyLimit, keys.Error())
		p.Figures = &Figures{Limit: keys.Max, Used: keys.Used, Asked: 1}
		return p
	case errors.As(err, &invalid):
		return InvalidField("/"+invalid.Field, invalid.Detail)
	case errors.Is(err, auth.ErrUnauthenticated):
		return Refuse(Unauthenticated, "A valid key or token is needed.")
	case errors.As(err, &limit):
		return Refuse(LoginLimit, "Too many failed logins from this address.").RetryAfter(limit.RetryAfter)
	case errors.Is(err, auth.ErrConnectionLimit):
		return Refuse(ConnectionLimit, "This credential has as many open streams as it may have.")
	case errors.Is(err, auth.ErrNoCode):
		return Refuse(Unauthenticated, "The code is not good: it was used, is more than five minutes old, or there never was one.")
	case errors.Is(err, auth.ErrSentAway):
		return Refuse(Forbidden, "An administrator has ended this connection.")
	case errors.Is(err, auth.ErrNoConnection):
		return Refuse(NotFound, "There is no such connection.")
	case errors.Is(err, auth.ErrNoKey):
		return Refuse(NotFound, "There is no such key.")
	}
	return nil
}

// fromHTTP maps what fiber and fasthttp refuse by themselves. Their texts quote
// the request, so none is passed on.
func fromHTTP(err error) *Problem {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fromStatus(http.StatusRequestEntityTooLarge)
	case errors.As(err, &small):
		return fromStatus(http.StatusRequestHeaderFieldsTooLarge)
	case errors.Is(err, fasthttp.ErrTimeout):
		return fromStatus(http.StatusRequestTimeout)
	}
	var fe *fiber.Error
	if errors.As(err, &fe) {
		return fromStatus(fe.Code)
	}
	return nil
}

func fromStatus(status int) *Problem {
	switch status {
	case http.StatusBadRequest:
		return Refuse(Malformed, "This is not a valid HTTP request.")
	case http.StatusNotFound:
		return Refuse(NotFound, "There is nothing at this path.")
	case http.StatusMethodNotAllowed:
		return Refuse(MethodNotAllowed, "The header Allow names the methods of this path.")
	case http.StatusRequestTimeout:
		return Refuse(Timeout, "The request did not arrive in time.")
	case http.StatusRequestEntityTooLarge:
		return Refuse(TooLarge, "The request body is larger than allowed.")
	case http.StatusUpgradeRequired:
		return Refuse(UpgradeRequired, "This path speaks WebSocket only.").With("Upgrade", "websocket")
	case http.StatusRequestHeaderFieldsTooLarge:
		return Refuse(HeadersTooLarge, "The request line and headers are larger than allowed.")
	}
	return nil
}
