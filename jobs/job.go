package jobs

import (
	"encoding/json"
	"time"
)

// Status is where a job stands; see the diagram in the package comment.
type Status string

// The five states of a job.
const (
	Pending    Status = "pending"
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
)

// Terminal reports whether no further event can follow.
func (s Status) Terminal() bool { return s == Completed || s == Failed || s == Cancelled }

// Valid reports whether s is one of the five states.
func (s Status) Valid() bool {
	return s == Pending || s == Processing || s.Terminal()
}

// TimeFormat is how every time stands on the wire: RFC 3339, UTC, three decimals.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Time is a moment that marshals in TimeFormat.
type Time struct{ time.Time }

// At truncates t to the precision of the wire.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// String returns t in TimeFormat.
func (t Time) String() string { return t.UTC().Format(TimeFormat) }

// MarshalJSON writes t in TimeFormat.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(make([]byte, 0, len(TimeFormat)+2), `"`+TimeFormat+`"`), nil
}

// Job is a job as clients see it: the object of the REST API and of the
// `subscribed` frame. Members that do not apply are null.
type Job struct {
	ID            string          `json:"id"` // UUIDv7
	ClientID      string          `json:"clientId"`
	Status        Status          `json:"status"`
	Queue         *string         `json:"queue"`   // null: jobcast runs the actions itself
	Actions       json.RawMessage `json:"actions"` // array, or null when queue is set
	Payload       json.RawMessage `json:"payload"` // any JSON, only with queue
	Metadata      json.RawMessage `json:"metadata"`
	MaxAttempts   int             `json:"maxAttempts"`
	TimeoutMs     int64           `json:"timeoutMs"` // per attempt
	Priority      int             `json:"priority"`  // higher first
	RunAt         *Time           `json:"runAt"`     // not before, as asked for at submit
	ExpiresAt     *Time           `json:"expiresAt"` // if nobody has begun it by then, it fails
	Attempt       int             `json:"attempt"`   // attempts begun and counted
	Progress      *float64        `json:"progress"`  // 0..100, newest progress event
	Message       *string         `json:"message"`
	Step          *string         `json:"step"`
	Result        json.RawMessage `json:"result"`
	Artifacts     []Artifact      `json:"artifacts"`
	Error         *string         `json:"error"` // class of the newest failure
	ErrorMessage  *string         `json:"errorMessage"`
	CreatedAt     Time            `json:"createdAt"`
	StartedAt     *Time           `json:"startedAt"`
	CompletedAt   *Time           `json:"completedAt"`   // set by the terminal event
	NextAttemptAt *Time           `json:"nextAttemptAt"` // set while a retry waits
	RetryOf       *string         `json:"retryOf"`       // the job that this one repeats
	Title         *string         `json:"title"`         // for people
	Console       *string         `json:"console"`       // from which level on pages log into job.log
	State         *StateUse       `json:"state"`         // of the browser, to begin with and to leave behind
	Cursor        string          `json:"cursor"`        // newest event this object reflects

	Browser bool  `json:"-"` // its actions need a browser
	Hosts   Hosts `json:"-"` // what its actions may reach; not read by List

	// Omitted names members that were left out because they are large; see Abridge.
	Omitted []string `json:"omitted,omitempty"`
}

// bare returns the job without what may be large.
func (j Job) bare() Job {
	j.Actions, j.Payload, j.Metadata, j.Result, j.Artifacts = nil, nil, nil, nil, nil
	return j
}

// Artifact is a file that a job left behind.
type Artifact struct {
	Name        string `json:"name"`
	Size        int64  `json:"size"` // bytes
	ContentType string `json:"contentType"`
	URL         string `json:"url"`
}

// Spec is what a submit asks for, validated and with its defaults filled in.
// Exactly one of Actions and Queue is set.
type Spec struct {
	Actions     json.RawMessage // compact JSON array of 1..100 actions
	Queue       string          // [a-z0-9._-]{1,64}
	Payload     json.RawMessage // compact JSON; "null" when absent
	Metadata    json.RawMessage // compact JSON object of at most 16 KiB, or nil
	MaxAttempts int             // 1..25
	Timeout     time.Duration   // 1 s..24 h, per attempt
	RunAt       time.Time       // zero: now
	ExpiresIn   time.Duration   // 1 s..365 d, from the submit or, if that is later, from RunAt; 0: never
	Priority    int             // -100..100
	RetryOf     string          // id of the job that this one repeats, or empty
	Title       string          // at most 256 bytes; empty: none
	Console     string          // a level of LogLine, from which on pages log into job.log; empty: they do not
	Browser     bool            // the actions need a browser
	Hosts       Hosts           // what the actions may reach
	State       *StateUse       // of a browser, to begin with and to leave behind; nil: none
	Secrets     []SecretUse     // where the actions name secrets; not kept
}

// Size is how many bytes those members of s have that may be large.
func (s Spec) Size() int { return len(s.Actions) + len(s.Payload) + len(s.Metadata) }

// Idempotency ties a submit, of one job or of a batch, to a key chosen by the caller. The zero value
// means none was given.
type Idempotency struct {
	Key  string   // 1..255 visible ASCII
	Hash [32]byte // SHA-256 over method, path and body
}
