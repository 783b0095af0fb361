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

// Job is a job as the server describes it. Zero values, and raw messages that are
// "null", stand where a member does not apply.
type Job struct {
	ID            string          `json:"id"`
	ClientID      string          `json:"clientId"`
	Status        Status          `json:"status"`
	Queue         string          `json:"queue,omitempty"` // empty: the server runs the actions itself
	Actions       json.RawMessage `json:"actions"`
	Payload       json.RawMessage `json:"payload"` // only with a queue
	Metadata      json.RawMessage `json:"metadata"`
	MaxAttempts   int             `json:"maxAttempts"`
	Timeout       time.Duration   `json:"-"` // of each attempt; as JSON timeoutMs
	Priority      int             `json:"priority"`
	RunAt         time.Time       `json:"runAt,omitzero"`
	ExpiresAt     time.Time       `json:"expiresAt,omitzero"` // it fails if nobody has begun it by then
	Attempt       int             `json:"attempt"`            // attempts begun and counted
	Progress      *float64        `json:"progress"`           // 0..100; nil: nothing was reported
	Message       string          `json:"message,omitempty"`
	Step          string          `json:"step,omitempty"`
	Result        json.RawMessage `json:"result"`
	Artifacts     []Artifact      `json:"artifacts"`
	Error         string          `json:"error,omitempty"` // class of the newest failure
	ErrorMessage  string          `json:"errorMessage,omitempty"`
	CreatedAt     time.Time       `json:"createdAt"`
	StartedAt     time.Time       `json:"startedAt,omitzero"`
	CompletedAt   time.Time       `json:"completedAt,omitzero"`
	NextAttemptAt time.Time       `json:"nextAttemptAt,omitzero"`
	RetryOf       string          `json:"retryOf,omitempty"`
	Title         string          `json:"title,omitempty"`
	Console       string          `json:"console,omitempty"` // from which level on its pages log
	State         *BrowserState   `json:"state,omitempty"`   // of the browser; nil: none
	Cursor        string          `json:"cursor"`            // the newest event that this object reflects

	// Omitted names members that were left out because they are large, as in the
	// Job of a Problem; Get has them.
	Omitted []string `json:"omitted,omitempty"`

	raw json.RawMessage
}

type jobMembers Job // without the methods

// wireJob is a job on the wire, where times are in milliseconds.
type wireJob struct {
	*jobMembers
	TimeoutMs int64 `json:"timeoutMs"`
}

// MarshalJSON writes the members as the wire has them; Raw is the server's own
// text.
func (j Job) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireJob{(*jobMembers)(&j), milliseconds(j.Timeout)})
}

// UnmarshalJSON reads what the wire has, and keeps the text for Raw.
func (j *Job) UnmarshalJSON(data []byte) error {
	wire := wireJob{jobMembers: (*jobMembers)(j)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	j.Timeout = time.Duration(wire.TimeoutMs) * time.Millisecond
	j.raw = append(json.RawMessage(nil), data...)
	return nil
}

// milliseconds is d on the wire. A part of one counts as one, so that no time
// becomes the zero that means a default.
func milliseconds(d time.Duration) int64 {
	n := d.Milliseconds()
	switch rest := d % time.Millisecond; {
	case rest > 0:
		n++
	case rest < 0:
		n--
	}
	return n
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

// Submission is what a submit asks for: Actions, or Queue and Payload. Zero means
// the default of each field.
type Submission struct {
	Actions     []any          `json:"actions,omitempty"` // 1 to 100, each an object; see [Wait]
	Queue       string         `json:"queue,omitempty"`   // [a-z0-9._-]{1,64}
	Payload     any            `json:"payload,omitempty"`
	MaxAttempts int            `json:"maxAttempts,omitempty"` // 1..25; 0: 3
	Timeout     time.Duration  `json:"-"`                     // of each attempt, 1 s to 24 h; 0: 5 min; as JSON timeoutMs
	RunAt       time.Time      `json:"runAt,omitzero"`        // not before; zero: now
	ExpiresIn   time.Duration  `json:"-"`                     // fails if nobody has begun it by then, from now or from RunAt, 1 s to 365 d; 0: as the server is set; as JSON expiresInMs
	Priority    int            `json:"priority,omitempty"`    // -100..100, higher first; 0: 0
	Metadata    map[string]any `json:"metadata,omitempty"`    // at most 16 KiB as JSON; nil: none
	Console     string         `json:"console,omitempty"`     // debug, info, warn or error: pages log from this level on; empty: they do not

	State *BrowserState `json:"state,omitempty"` // of the browser; nil: none

	// Body, if set, is the whole body as JSON, in place of all of the above.
	Body json.RawMessage `json:"-"`
	// IdempotencyKey is 1 to 255 visible ASCII characters. Submits with the
	// same one make one job, as long as the job is kept. Empty: a new one, so
	// that the repeats of this one call make one job.
	IdempotencyKey string `json:"-"`
}

// BrowserState says which browser state a job begins with, and which it leaves behind when it
// completes. One of Use and Save is needed.
type BrowserState struct {
	Use     string   `json:"use,omitempty"`
	Save    string   `json:"save,omitempty"`
	Origins []string `json:"origins,omitempty"` // of these alone, 1 to 20; nil: of those that the pages were at
}

type submissionMembers Submission // without the methods

// wireSubmission is a submission on the wire, where times are in milliseconds.
type wireSubmission struct {
	*submissionMembers
	TimeoutMs   int64 `json:"timeoutMs,omitempty"`
	ExpiresInMs int64 `json:"expiresInMs,omitempty"`
}

// body is the body of the request, which is Body to the letter.
func (s Submission) body() ([]byte, error) {
	if s.Body != nil {
		return s.Body, nil
	}
	return json.Marshal(s)
}

// MarshalJSON writes the body of the request: Body, or the members that are set.
func (s Submission) MarshalJSON() ([]byte, error) {
	if s.Body != nil {
		return s.Body, nil
	}
	return json.Marshal(wireSubmission{(*submissionMembers)(&s), milliseconds(s.Timeout), milliseconds(s.ExpiresIn)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Submission) UnmarshalJSON(data []byte) error {
	wire := wireSubmission{submissionMembers: (*submissionMembers)(s)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	s.Timeout = time.Duration(wire.TimeoutMs) * time.Millisecond
	s.ExpiresIn = time.Duration(wire.ExpiresInMs) * time.Millisecond
	return nil
}

// Wait is the action that waits for d.
func Wait(d time.Duration) any {
	return struct {
		Type string `json:"type"`
		Ms   int64  `json:"ms"`
	}{"wait", milliseconds(d)}
}

// Key is a key of the caller's client. Zero values stand where a member does not
// apply.
type Key struct {
	ID             string    `json:"id"`
	ClientID       string    `json:"clientId"`
	Name           string    `json:"name"`
	Scopes         []string  `json:"scopes"`                   // of submit, watch, work, admin
	MaxConnections int       `json:"maxConnections,omitempty"` // live streams; 0: as the server is set
	AllowHosts     []string  `json:"allowHosts,omitempty"`     // what its jobs' actions may reach; none: as the server is set
	DenyHosts      []string  `json:"denyHosts,omitempty"`      // and what not
	CreatedAt      time.Time `json:"createdAt"`
	ExpiresAt      time.Time `json:"expiresAt,omitzero"`
	RevokedAt      time.Time `json:"revokedAt,omitzero"`
	LastUsedAt     time.Time `json:"lastUsedAt,omitzero"`
	Secret         string    `json:"key,omitempty"` // only in the answer that creates the key
}

// NewKey is what a new key is to be. Zero means the default of each field.
type NewKey struct {
	Name           string    `json:"name,omitempty"`
	Scopes         []string  `json:"scopes,omitempty"`         // empty: submit, watch, work
	MaxConnections int       `json:"maxConnections,omitempty"` // live streams, 1..100000; 0: as the server is set
	AllowHosts     []string  `json:"allowHosts,omitempty"`     // what its jobs' actions may reach; none: as the server is set
	DenyHosts      []string  `json:"denyHosts,omitempty"`      // and what not
	ExpiresAt      time.Time `json:"expiresAt,omitzero"`       // zero: never
}
