package transport

import (
	"fmt"
	"net/http"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// Code names a refusal for machines: the member `code` of a problem. The names
// are a contract with clients.
type Code string

// Every refusal there is; the table below says how each looks.
const (
	Malformed            Code = "malformed"
	AmbiguousCredentials Code = "ambiguous_credentials"
	Unauthenticated      Code = "unauthenticated"
	Forbidden            Code = "forbidden"
	NotFound             Code = "not_found"
	MethodNotAllowed     Code = "method_not_allowed"
	NotAcceptable        Code = "not_acceptable"
	Timeout              Code = "timeout"
	Conflict             Code = "conflict"
	LeaseLost            Code = "lease_lost"
	CursorGone           Code = "cursor_gone"
	PreconditionFailed   Code = "precondition_failed"
	TooLarge             Code = "too_large"
	UnsupportedMediaType Code = "unsupported_media_type"
	RangeNotSatisfiable  Code = "range_not_satisfiable"
	Invalid              Code = "invalid"
	IdempotencyMismatch  Code = "idempotency_mismatch"
	UpgradeRequired      Code = "upgrade_required"
	ConnectionLimit      Code = "connection_limit"
	LoginLimit           Code = "login_limit"
	JobLimit             Code = "job_limit"
	KeyLimit             Code = "key_limit"
	SecretLimit          Code = "secret_limit"
	HeadersTooLarge      Code = "headers_too_large"
	Internal             Code = "internal"
	Draining             Code = "draining"
	Unavailable          Code = "unavailable"
	StorageFull          Code = "storage_full"
	ArtifactLimit        Code = "artifact_limit"
)

// row is how a code looks on the wire.
type row struct {
	status int
	title  string
	// retryAfter is the Retry-After header unless the refusal names its own;
	// 0: none.
	retryAfter time.Duration
}

// table is the one map from a refusal to its looks. It is never written to.
var table = map[Code]row{
	Malformed:            {400, "Malformed request", 0},
	AmbiguousCredentials: {400, "Two different credentials", 0},
	Unauthenticated:      {401, "Not authenticated", 0},
	Forbidden:            {403, "Not allowed", 0},
	NotFound:             {404, "Not found", 0},
	MethodNotAllowed:     {405, "Method not allowed", 0},
	NotAcceptable:        {406, "No acceptable format", 0},
	Timeout:              {408, "Request took too long", 0},
	Conflict:             {409, "Conflict with the job's state", 0},
	LeaseLost:            {409, "Lease lost", 0},
	CursorGone:           {410, "Cursor gone", 0},
	PreconditionFailed:   {412, "A condition of the request does not hold", 0},
	TooLarge:             {413, "Too large", 0},
	UnsupportedMediaType: {415, "Unsupported media type", 0},
	RangeNotSatisfiable:  {416, "The range lies beyond the end", 0},
	Invalid:              {422, "Invalid request", 0},
	IdempotencyMismatch:  {422, "Idempotency-Key was used for another request", 0},
	UpgradeRequired:      {426, "Upgrade required", 0},
	ConnectionLimit:      {429, "Too many live streams", 5 * time.Second},
	LoginLimit:           {429, "Too many failed logins", 60 * time.Second},
	JobLimit:             {429, "Too many jobs", 10 * time.Second},
	KeyLimit:             {429, "Too many keys", 60 * time.Second},
	SecretLimit:          {429, "Too many secrets", 60 * time.Second},
	HeadersTooLarge:      {431, "Headers too large", 0},
	Internal:             {500, "Internal error", 0},
	Draining:             {503, "Shutting down", 2 * time.Second},
	Unavailable:          {503, "Temporarily unavailable", time.Second},
	StorageFull:          {507, "Storage full", 30 * time.Second},
	ArtifactLimit:        {507, "Artifacts too large together", 60 * time.Second},
}

// Problem is a refusal as it stands on the wire: application/problem+json of
// RFC 9457, and the members of the `error` frame of streams. It is an error, so
// handlers return it. Members that do not apply are absent.
//
// Type is the relative URI `/problems/<code>`. It identifies the kind of
// problem and is stable; it is no resource that can be fetched.
type Problem struct {
	Type     string            `json:"type"`
	Title    string            `json:"title"`
	Status   int               `json:"status"`
	Detail   string            `json:"detail,omitempty"`
	Instance string            `json:"instance,omitempty"` // the request id
	Code     Code              `json:"code"`
	Errors   []jobs.FieldError `json:"errors,omitempty"`

	Reason      eventlog.Reason `json:"reason,omitempty"`      // cursor_gone
	Oldest      string          `json:"oldest,omitempty"`      // cursor_gone: cursor before the oldest event kept
	LastEventID string          `json:"lastEventId,omitempty"` // cursor_gone: where to go on
	Job         *jobs.Abridged  `json:"job,omitempty"`         // conflict: as it is now
	JobStatus   jobs.Status     `json:"jobStatus,omitempty"`   // lease_lost: `status` is taken by RFC 9457
	*Figures                    // job_limit, key_limit, secret_limit, artifact_limit, storage_full; nil: a disk is full that nobody measured

	headers []header
	retry   time.Duration // Retry-After; 0: none
	cause   error         // for the log only
}

// Figures say what a bound that is reached is: jobs, keys, secrets, or bytes.
type Figures struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"`
	Asked int64 `json:"asked"` // what the refused request needs besides, at least
}

type header struct{ name, value string }

// Refuse makes a problem; detail is one sentence for a person and must hold
// no secret. An unknown code is an internal error.
func Refuse(code Code, detail string) *Problem {
	r, ok := table[code]
	if !ok {
		code, r = Internal, table[Internal]
	}
	p := &Problem{Type: "/problems/" + string(code), Title: r.title, Status: r.status, Detail: detail, Code: code, retry: r.retryAfter}
	if code == Unauthenticated {
		p.With("WWW-Authenticate", "Bearer") // RFC 9110 11.6.1: a 401 must name a scheme
	}
	return p
}

// Error implements error.
func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Code, p.Detail) }

// Unwrap returns the cause, or nil.
func (p *Problem) Unwrap() error { return p.cause }

// Because keeps the cause of a refusal that is our own fault, and returns p.
// [Write] logs it; the caller never sees it.
func (p *Problem) Because(err error) *Problem {
	p.cause = err
	return p
}

// With sets a response header of the refusal and returns p.
func (p *Problem) With(name, value string) *Problem {
	for i := range p.headers {
		if p.headers[i].name == name {
			p.headers[i].value = value
			return p
		}
	}
	p.headers = append(p.headers, header{name, value})
	return p
}

// RetryAfter sets how long the caller should wait and returns p. The
// Retry-After header has whole seconds, rounded up, at least one.
func (p *Problem) RetryAfter(d time.Duration) *Problem {
	p.retry = max(d, time.Second)
	return p
}

// Retry returns how long the caller should wait; 0: nothing is known.
func (p *Problem) Retry() time.Duration { return p.retry }

// Passing reports whether the same request may succeed later: the statuses 429
// and 503. An EventSource dies of them for ever; see [PassingRefusal].
func (p *Problem) Passing() bool {
	return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
}

// Gone refuses a cursor that cannot be continued from: 410 on long-poll.
// oldest and last are cursors.
func Gone(reason eventlog.Reason, oldest, last string) *Problem {
	p := Refuse(CursorGone, "The events right after this cursor are not available ("+string(reason)+").")
	p.Reason, p.Oldest, p.LastEventID = reason, oldest, last
	return p
}

// InvalidField refuses one thing of a request: pointer is an RFC 6901 pointer
// into the body, or `?name` for a query parameter.
func InvalidField(pointer, detail string) *Problem {
	p := Refuse(Invalid, pointer+": "+detail)
	p.Errors = []jobs.FieldError{{Pointer: pointer, Detail: detail}}
	return p
}
