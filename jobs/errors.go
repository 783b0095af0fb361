package jobs

import (
	"errors"
	"fmt"
	"strings"
)

// Refusals that callers branch on. The transport layer maps each to one
// problem of its error table.
var (
	// ErrNotFound: no such job, or it belongs to another client.
	ErrNotFound = errors.New("no such job")
	// ErrLeaseLost: the lease token is unknown, expired or was taken away.
	ErrLeaseLost = errors.New("the lease is lost")
	// ErrIdempotencyMismatch: the key was used for another request.
	ErrIdempotencyMismatch = errors.New("this Idempotency-Key was used for a different request")
	// ErrUnavailable: the store does not answer at the moment, and a commit's
	// fate is unknown; ask again with the same Idempotency-Key.
	ErrUnavailable = errors.New("the store is not available")
	// ErrLost: the files of the store were removed or replaced under it. It
	// is ErrUnavailable until they are back.
	ErrLost = fmt.Errorf("%w: its files are gone", ErrUnavailable)
	// ErrNotTried: the caller has not waited until it was the change's turn; nothing
	// was done.
	ErrNotTried = errors.New("the changes before this one took too long")
	// ErrStorageFull: the disk is full; nothing was stored.
	ErrStorageFull = errors.New("storage is full")
	// ErrClosed: the store is shutting down.
	ErrClosed = errors.New("the store is closed")
)

// ConflictError refuses a change that the job's state does not allow.
type ConflictError struct {
	Job    Job    // as it is now
	Detail string // one sentence for a person
}

func (e *ConflictError) Error() string { return e.Detail }

// FieldError is one thing wrong with a request body.
type FieldError struct {
	Pointer string `json:"pointer"` // RFC 6901, e.g. /actions/0/url
	Detail  string `json:"detail"`
}

// InvalidError says that a request parses but asks for something impossible.
type InvalidError struct{ Fields []FieldError }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Pointer + ": " + f.Detail
	}
	return strings.Join(parts, "; ")
}
