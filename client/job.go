package client

import (
	"encoding/json"
	"time"
)

// Status is where a job stands.
type Status string

// The states of a job.
const (
	Pending    Status = "pending"
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
)

// Terminal reports whether the job has ended.
func (s Status) Terminal() bool { return s == Completed || s == Failed || s == Cancelled }

// Job is a job as the server describes it. Pointers are nil and raw messages
// are "null" where a member does not apply.
type Job struct {
	ID            string          `json:"id"`
	ClientID      string          `json:"clientId"`
	Status        Status          `json:"status"`
	Queue         *string         `json:"queue"` // nil: the server runs the actions itself
	Actions       json.RawMessage `json:"actions"`
	Payload       json.RawMessage `json:"payload"` // only with a queue
	Metadata      json.RawMessage `json:"metadata"`
	MaxAttempts   int             `json:"maxAttempts"`
	TimeoutMs     int64           `json:"timeoutMs"` // per attempt
	Priority      int             `json:"priority"`
	RunAt         *time.Time      `json:"runAt"`
	ExpiresAt     *time.Time      `json:"expiresAt"` // it fails if nobody has begun it by then
	Attempt       int             `json:"attempt"`   // attempts begun and counted
	Progress      *float64        `json:"progress"`  // 0..100
	Message       *string         `json:"message"`
	Step          *string         `json:"step"`
	Result        json.RawMessage `json:"result"`
	Artifacts     []Artifact      `json:"artifacts"`
	Error         *string         `json:"error"` // class of the newest failure
	ErrorMessage  *string         `json:"errorMessage"`
	CreatedAt     time.Time       `json:"createdAt"`
	StartedAt     *time.Time      `json:"startedAt"`
	CompletedAt   *time.Time      `json:"completedAt"`
	NextAttemptAt *time.Time      `json:"nextAttemptAt"`
	RetryOf       *string         `json:"retryOf"`
	Cursor        string          `json:"cursor"` // the newest event that this object reflects

	// Omitted names members that were left out because they are large, as in the
	// Job of a Problem; Get has them.
	Omitted []string `json:"omitted"`

	raw json.RawMessage
}

// UnmarshalJSON keeps the text beside the members, for Raw.
func (j *Job) UnmarshalJSON(data []byte) error {
	type plain Job
	if err := json.Unmarshal(data, (*plain)(j)); err != nil {
		return err
	}
	j.raw = append(json.RawMessage(nil), data...)
	return nil
}

// Raw returns the job as the server wrote it, also members that this version of
// the package does not know.
func (j *Job) Raw() json.RawMessage { return j.raw }

// Artifact is a file that a job left behind.
type Artifact struct {
	Name        string `json:"name"`
	Size        int64  `json:"size"` // bytes
	ContentType string `json:"contentType"`
	URL         string `json:"url"` // on the server, beginning with a slash
}

// Submission is what a submit asks for: Actions, or Queue and Payload.
type Submission struct {
	Actions     []any          `json:"actions,omitempty"` // 1 to 100, each an object; see [Wait]
	Queue       string         `json:"queue,omitempty"`   // [a-z0-9._-]{1,64}
	Payload     any            `json:"payload,omitempty"`
	MaxAttempts int            `json:"maxAttempts,omitempty"` // 1..25; 0: 3
	TimeoutMs   int64          `json:"timeoutMs,omitempty"`   // of each attempt, 1000..86400000; 0: 300000
	RunAt       *time.Time     `json:"runAt,omitempty"`       // not before; nil: now
	ExpiresInMs int64          `json:"expiresInMs,omitempty"` // fails if nobody has begun it by then, from now or from RunAt; 0: as the server says
	Priority    int            `json:"priority,omitempty"`    // -100..100, higher first
	Metadata    map[string]any `json:"metadata,omitempty"`    // at most 16 KiB as JSON

	// Body, if set, is the whole body as JSON, in place of all of the above.
	Body json.RawMessage `json:"-"`
	// IdempotencyKey is 1 to 255 visible ASCII characters. Submits with the
	// same one make one job, as long as the job is kept. Empty: a new one, so
	// that the repeats of this one call make one job.
	IdempotencyKey string `json:"-"`
}

// body returns the JSON to send.
func (s Submission) body() ([]byte, error) {
	if s.Body != nil {
		return s.Body, nil
	}
	return json.Marshal(s)
}

// Wait is the action that waits.
func Wait(d time.Duration) any {
	return struct {
		Type string `json:"type"`
		Ms   int64  `json:"ms"`
	}{"wait", d.Milliseconds()}
}

// Key is a key of the caller's client. Secret is there only in the answer that
// creates it.
type Key struct {
	ID             string     `json:"id"`
	ClientID       string     `json:"clientId"`
	Name           string     `json:"name"`
	Scopes         []string   `json:"scopes"` // of submit, watch, work, admin
	MaxConnections *int       `json:"maxConnections"`
	CreatedAt      time.Time  `json:"createdAt"`
	ExpiresAt      *time.Time `json:"expiresAt"`
	RevokedAt      *time.Time `json:"revokedAt"`
	LastUsedAt     *time.Time `json:"lastUsedAt"`
	Secret         string     `json:"key"`
}

// NewKey is what a new key is to be; the zero value is useful.
type NewKey struct {
	Name           string     `json:"name,omitempty"`
	Scopes         []string   `json:"scopes,omitempty"` // empty: submit, watch, work
	MaxConnections *int       `json:"maxConnections,omitempty"`
	ExpiresAt      *time.Time `json:"expiresAt,omitempty"`
}
