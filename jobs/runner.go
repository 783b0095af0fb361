package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/jobcast/jobcast/jobs/redact"
)

// Runner runs actions; see the package action for the built-in ones.
type Runner interface {
	// Run does one action and returns its result, which must marshal to a JSON
	// object. It returns soon after ctx has ended, whatever it was doing; one
	// that does not is abandoned: its job goes on without it, and it may still
	// be at work while the next attempt runs. An error that wraps *ActionError
	// tells the client what went wrong; of any other error, and of a panic, the
	// client learns no more than ClassInternal.
	Run(ctx context.Context, action json.RawMessage, env Env) (result any, err error)
}

// ErrNoFault is what Run returns, maybe wrapped, if it was stopped through no fault of its
// job, such as another job that took down what both used. The job is handed back, and its
// attempt does not count.
var ErrNoFault = errors.New("the attempt was stopped through no fault of its job")

// Env tells an action what it is part of.
type Env struct {
	Client  string
	JobID   string
	Attempt int   // 1, 2, …
	Index   int   // place in the job's list: 0, 1, …
	Hosts   Hosts // what the job may reach

	Console string // from which level of LogLevels on its pages are to log; empty: they are not

	Scope *Scope // of the attempt

	// Redactor knows the secrets that all the job's actions name: a page may show at once what
	// an earlier attempt did with them. What an action tells must have passed it. Nil: there
	// are none.
	Redactor *redact.Redactor
	// Secret returns a secret of the client, which must stand in nothing that leaves the
	// action but for where the job wants it. Its error is what Run is to return.
	Secret func(ctx context.Context, name string) (Secret, error)

	State *BrowserState // nil: the job has nothing to do with any

	// Save reads r to its end into an artifact of the job; contentType is what
	// its source calls it and may be empty, size its bytes or negative if they
	// are not known. Its error, if r gave none, is what Run is to return.
	Save func(ctx context.Context, name, contentType string, size int64, r io.Reader) (Artifact, error)

	// Log appends lines to the job's log, after its progress. Its error says that they are
	// not there, or maybe not.
	Log func(ctx context.Context, lines []LogLine) error

	// Open opens an artifact that the job has by now.
	Open func(ctx context.Context, name string) (io.ReadCloser, error)

	// Data keeps value, which is JSON, as the member name of the job's result.data; a
	// later one of the same name replaces it. Its error is what Run is to return.
	Data func(name string, value json.RawMessage) error
}

// Classes of an action that may not leave what it wants to.
const (
	ClassArtifact      = "ArtifactError"  // the job has too many artifacts, or this one is too large; not retried
	ClassArtifactLimit = "ArtifactLimit"  // the client's artifacts are as large as they may be; not retried
	ClassStorageFull   = "StorageFull"    // the server has no room; retried
	ClassSecret        = "SecretError"    // a secret is gone, or not meant for where it was to go; not retried
	ClassState         = "StateError"     // a browser state is gone, too large, or one too many; not retried
	ClassResultSize    = "ResultTooLarge" // what the job keeps in its result; not retried
)

// ActionError is the failure of an action in words that its client may read.
type ActionError struct {
	Class     string // e.g. NetworkError
	Message   string // for a person; no secret, nothing about the server's inside
	Retryable bool   // another attempt may fare better
	Err       error  // the cause, for the log only; may be nil

	// RetryAfter is how long the next attempt should wait at least, because whoever
	// was asked said so; at most ten minutes count.
	RetryAfter time.Duration
}

func (e *ActionError) Error() string { return e.Class + ": " + e.Message }

// Unwrap returns the cause.
func (e *ActionError) Unwrap() error { return e.Err }

// Shortener is a result that can be made smaller. All results of a job travel
// in one event, so a job of many actions may have to cut their excerpts.
type Shortener interface {
	// Shorten returns a copy that marshals to at most maxBytes, if it can.
	Shorten(maxBytes int) any
}
