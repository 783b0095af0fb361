package eventlog

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Type names what happened to a job. The names are a contract with clients.
type Type string

// All event types. The first five are those of the original gateway.
const (
	TypeCreated   Type = "job.created"
	TypeStarted   Type = "job.started"
	TypeProgress  Type = "job.progress"
	TypeCompleted Type = "job.completed"
	TypeFailed    Type = "job.failed"
	TypeRetrying  Type = "job.retrying"
	TypeCancelled Type = "job.cancelled"
	TypeLog       Type = "job.log"
	TypeArtifact  Type = "job.artifact"
)

// Status returns the status of a job right after an event of this type, as it stands in
// the event: pending, processing, completed, failed or cancelled.
func (t Type) Status() string {
	switch t {
	case TypeCreated, TypeRetrying:
		return "pending"
	case TypeCompleted, TypeFailed, TypeCancelled:
		return strings.TrimPrefix(string(t), "job.")
	default:
		return "processing"
	}
}

// Terminal reports whether an event of this type is the last of its job.
func (t Type) Terminal() bool {
	return t == TypeCompleted || t == TypeFailed || t == TypeCancelled
}

// Limits of the frames of an event.
const (
	// MaxFrameBytes bounds a line, a message and a block on every stream, with all
	// that is around its data: many readers take no line of 64 KiB or more.
	MaxFrameBytes = 65_000

	MaxEventBytes = 64_800 // one encoded event; no transport puts more than 200 bytes around it
)

// Event is one committed change of one job. It is immutable once published.
type Event struct {
	Client string // owner of the log
	Seq    uint64 // place in the log: 1, 2, 3, …
	ID     string // the cursor `<epoch>-<seq>` of this event
	Type   Type
	JobID  string
	JSON   []byte // the whole event as it stands on the wire, compact, one line
}

// Epoch returns the epoch of the event's cursor.
func (e *Event) Epoch() string {
	epoch, _, _ := strings.Cut(e.ID, "-")
	return epoch
}

// FrameJSON is the event's JSON as streams give it out: at most MaxEventBytes. Logs
// from before that bound may hold a job.completed that is larger; its result is left
// out, and `omitted` in its data names it.
func (e *Event) FrameJSON() []byte {
	if len(e.JSON) <= MaxEventBytes {
		return e.JSON
	}
	head, data, _ := bytes.Cut(e.JSON, []byte(`,"data":`)) // nothing before it holds text of a job
	var in struct {
		CompletedAt json.RawMessage `json:"completedAt"`
		Artifacts   json.RawMessage `json:"artifacts,omitempty"`
		Omitted     []string        `json:"omitted"`
	}
	if json.Unmarshal(bytes.TrimSuffix(data, []byte("}")), &in) != nil {
		return e.JSON
	}
	in.Omitted = []string{"result"}
	var short bytes.Buffer
	enc := json.NewEncoder(&short)
	enc.SetEscapeHTML(false) // text must not grow
	if enc.Encode(in) != nil {
		return e.JSON
	}
	return slices.Concat(head, []byte(`,"data":`), bytes.TrimSpace(short.Bytes()), []byte("}"))
}
