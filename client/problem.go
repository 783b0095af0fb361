package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// Problem is a refusal of the server (RFC 9457). Branch on Code, or use
// errors.Is with one of the sentinels below.
type Problem struct {
	Code     string       `json:"code"` // see docs/protocol.md; empty when not jobcast answered but something in front of it
	Status   int          `json:"status"`
	Title    string       `json:"title"`
	Detail   string       `json:"detail"`
	Instance string       `json:"instance"` // the request's id, by which the server's log knows it
	Errors   []FieldError `json:"errors"`   // what is wrong where in the request

	Job         *Job   `json:"job"`         // of ErrConflict: as it is now
	JobStatus   Status `json:"jobStatus"`   // of ErrLeaseLost
	Reason      string `json:"reason"`      // of ErrCursorGone: pruned, epoch, future or invalid
	Oldest      string `json:"oldest"`      // of ErrCursorGone
	LastEventID string `json:"lastEventId"` // of ErrCursorGone: where to go on

	Limit int64 `json:"limit"` // of ErrJobLimit, ErrKeyLimit, ErrArtifactLimit, ErrStorageFull: the bound, jobs, keys or bytes
	Used  int64 `json:"used"`  // how much of it is taken
	Asked int64 `json:"asked"` // how much more the request needs

	RetryAfter time.Duration `json:"-"` // how long to wait before another try; 0: not said
}

// FieldError is one thing wrong with a request.
type FieldError struct {
	Pointer string `json:"pointer"` // RFC 6901, e.g. /actions/0/url
	Detail  string `json:"detail"`
}

// Error implements error.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Code == "" {
		return fmt.Sprintf("HTTP status %d: %s", p.Status, text)
	}
	return p.Code + ": " + text
}

// code is a sentinel: errors.Is finds it in a Problem with that code.
type code string

func (c code) Error() string { return string(c) }

// Is lets errors.Is compare a problem with the sentinels.
func (p *Problem) Is(target error) bool {
	c, ok := target.(code)
	return ok && p.Code == string(c)
}

// Refusals that callers branch on; errors.Is finds them in what the package's
// methods return.
const (
	ErrUnauthenticated     = code("unauthenticated")      // no key, or none that is good
	ErrForbidden           = code("forbidden")            // the key has not the scope
	ErrNotFound            = code("not_found")            // also of another client's
	ErrInvalid             = code("invalid")              // Problem.Errors says what is wrong where
	ErrConflict            = code("conflict")             // not as the job stands; see Problem.Job
	ErrLeaseLost           = code("lease_lost")           // the job is not this worker's any more
	ErrCursorGone          = code("cursor_gone")          // a watch makes an EventReset of it
	ErrIdempotencyMismatch = code("idempotency_mismatch") // the key was used for another body
	ErrTooLarge            = code("too_large")            // the body is larger than the server's --max-body, or --max-batch-body
	ErrConnectionLimit     = code("connection_limit")     // too many live streams; tried again
	ErrDraining            = code("draining")             // the server goes down; tried again
	ErrUnavailable         = code("unavailable")          // something of the server's does not work; tried again
	ErrStorageFull         = code("storage_full")         // the server has no room
	ErrJobLimit            = code("job_limit")            // the client has as many jobs as it may
	ErrKeyLimit            = code("key_limit")            // the client has as many live keys as it may
	ErrArtifactLimit       = code("artifact_limit")       // its artifacts are as large together as they may be
)

// LostError says that the server could not be reached for as long as the caller
// wanted to try.
type LostError struct {
	For time.Duration // how long there was no success
	Err error         // of the last try
}

// Error implements error.
func (e *LostError) Error() string {
	return fmt.Sprintf("connection lost, given up after %s: %v", e.For.Round(time.Millisecond), e.Err)
}

// Unwrap returns the error of the last try.
func (e *LostError) Unwrap() error { return e.Err }

// maxProblemBytes bounds a refusal; the longest holds a job.
const maxProblemBytes = 1 << 20

// readProblem reads the refusal in a response. It does not close the body.
func readProblem(resp *http.Response) *Problem {
	p := &Problem{}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "application/problem+json" && resp.Body != nil {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblemBytes))
		if err != nil || json.Unmarshal(body, p) != nil {
			p = &Problem{}
		}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		p.RetryAfter = min(time.Duration(n)*time.Second, maxAskedWait)
	}
	return p
}

// maxAskedWait caps how long a server or a proxy can make us wait: nobody
// should be sent away for ever.
const maxAskedWait = 5 * time.Minute

// passing reports whether the same request may soon succeed: the server or a
// proxy before it is not available. A bound on jobs or keys is no such thing, because
// only the caller can decide whether to wait until some of them end.
func passing(err error) bool {
	var p *Problem
	if !errors.As(err, &p) {
		return true // no answer at all
	}
	if p.Is(ErrJobLimit) || p.Is(ErrKeyLimit) {
		return false
	}
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return true
	}
	return false
}

// askedWait is how long the refusal asks to wait; 0: it does not say.
func askedWait(err error) time.Duration {
	var p *Problem
	if errors.As(err, &p) {
		return p.RetryAfter
	}
	return 0
}
