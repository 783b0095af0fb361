package client

import (
	"encoding/json"
	"fmt"
	"time"
)

// EventType says what happened.
type EventType string

// The types of events. All but EventReset are changes of a job.
const (
	EventCreated   EventType = "job.created"
	EventStarted   EventType = "job.started"
	EventProgress  EventType = "job.progress"
	EventCompleted EventType = "job.completed"
	EventFailed    EventType = "job.failed"
	EventRetrying  EventType = "job.retrying"
	EventCancelled EventType = "job.cancelled"
	EventLog       EventType = "job.log"
	EventArtifact  EventType = "job.artifact"

	// EventReset says that the events right after the reader's cursor are not
	// there. What follows it begins anew: a job at its first event, a client's
	// log at its newest. Its data is a Reset, its JobID is that of the watch.
	EventReset EventType = "reset"
)

// Terminal reports whether an event of this type is the last of its job.
func (t EventType) Terminal() bool {
	return t == EventCompleted || t == EventFailed || t == EventCancelled
}

// Event is one committed change of one job, or an EventReset.
type Event struct {
	ID     string          `json:"id"` // a cursor: WatchOptions.After takes it, on any transport and at any time
	Type   EventType       `json:"type"`
	JobID  string          `json:"jobId"`
	Status Status          `json:"status"` // of the job, right after the event
	Time   time.Time       `json:"timestamp"`
	Data   json.RawMessage `json:"data"`

	raw json.RawMessage
}

// Raw returns the event as the server wrote it: one line of JSON.
func (e Event) Raw() json.RawMessage { return e.raw }

// Decode reads the data into v, for example a Progress.
func (e Event) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("data of %s event %s: %w", e.Type, e.ID, err)
	}
	return nil
}

// The data of events; see docs/protocol.md for all members.
type (
	// Progress is the data of an EventProgress.
	Progress struct {
		Progress float64 `json:"progress"` // 0..100
		Message  string  `json:"message"`
		Step     string  `json:"step"`
	}
	// Failure is the data of an EventFailed and of an EventRetrying, whose
	// last two members only the latter has.
	Failure struct {
		Error         string    `json:"error"` // a class such as TimeoutError
		ErrorMessage  string    `json:"errorMessage"`
		Attempt       int       `json:"attempt"`
		NextAttemptAt time.Time `json:"nextAttemptAt"`
	}
	// Completion is the data of an EventCompleted.
	Completion struct {
		CompletedAt time.Time       `json:"completedAt"`
		Artifacts   []Artifact      `json:"artifacts"`
		Result      json.RawMessage `json:"result"`
	}
	// LogLine is the data of an EventLog.
	LogLine struct {
		Level string `json:"level"` // debug, info, warn or error
		Line  string `json:"line"`
	}
	// Reset is the data of an EventReset.
	Reset struct {
		Room   string `json:"room"`
		Reason string `json:"reason"` // pruned, epoch, future or invalid
		Oldest string `json:"oldest"` // the cursor before the oldest event that is kept
		Cursor string `json:"cursor"` // where the watch goes on
	}
)

// parseEvent reads an event and keeps its text, which must not change later.
func parseEvent(text []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("read event: %w", err)
	}
	if e.ID == "" || e.Type == "" {
		return e, fmt.Errorf("read event: it has no id or no type")
	}
	e.raw = text
	return e, nil
}

// resetEvent turns a reset into the event that stands in the place of a gap.
func resetEvent(job string, r Reset) Event {
	data, _ := json.Marshal(r) // strings only
	e := Event{ID: r.Cursor, Type: EventReset, JobID: job, Data: data}
	e.raw, _ = json.Marshal(struct { // raw JSON and strings only
		Type  EventType       `json:"type"`
		JobID string          `json:"jobId,omitempty"`
		Data  json.RawMessage `json:"data"`
	}{EventReset, job, data})
	return e
}
