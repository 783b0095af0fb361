package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// Error classes that jobcast itself gives to attempts that did not succeed.
const (
	ClassLeaseExpired = "LeaseExpired" // the holder went silent; the attempt counts
	ClassInterrupted  = "Interrupted"  // handed back at shutdown; the attempt does not count
	ClassTimeout      = "TimeoutError" // the attempt ran longer than timeoutMs
	ClassExpired      = "Expired"      // nobody began the job in time
	ClassWorker       = "WorkerError"  // default of a worker's failure
	ClassInternal     = "InternalError"
)

// Limits on what one event may carry. They keep a single event from filling a
// reader's memory or a page of history.
const (
	MaxResultBytes       = 63 << 10 // encoded result
	MaxMessageBytes      = 1 << 10  // progress message
	MaxErrorClassBytes   = 128
	MaxErrorMessageBytes = 8 << 10
)

// Body is an event before the log has given it a place.
type Body struct {
	Type eventlog.Type
	Data json.RawMessage // compact JSON object
}

// The data objects of the events, members in wire order.
type (
	createdData struct {
		CreatedAt Time `json:"createdAt"`
	}
	startedData struct {
		StartedAt Time `json:"startedAt"`
		Attempt   int  `json:"attempt"`
	}
	progressData struct {
		Progress float64 `json:"progress"`
		Message  string  `json:"message,omitempty"`
		Step     string  `json:"step,omitempty"`
	}
	completedData struct {
		CompletedAt Time            `json:"completedAt"`
		Artifacts   []Artifact      `json:"artifacts"`
		Result      json.RawMessage `json:"result"`
	}
	failedData struct {
		Error        string `json:"error"`
		ErrorMessage string `json:"errorMessage"`
		CompletedAt  Time   `json:"completedAt"`
	}
	retryingData struct {
		Error         string `json:"error"`
		ErrorMessage  string `json:"errorMessage"`
		Attempt       int    `json:"attempt"`
		NextAttemptAt Time   `json:"nextAttemptAt"`
	}
	cancelledData struct {
		CompletedAt Time `json:"completedAt"`
	}
	logData struct {
		Level string `json:"level"`
		Line  string `json:"line"`
	}
)

// Created is the first event of every job.
func Created(at time.Time) Body { return body(eventlog.TypeCreated, createdData{At(at)}) }

// Started says that attempt n (1, 2, …) began.
func Started(at time.Time, attempt int) Body {
	return body(eventlog.TypeStarted, startedData{At(at), attempt})
}

// Progressed reports how far a job is, 0..100; message and step may be empty.
func Progressed(progress float64, message, step string) Body {
	if n := int(progress); float64(n) == progress && verbatim(message) && verbatim(step) {
		return Body{Type: eventlog.TypeProgress, Data: plainProgress(n, message, step)}
	}
	return body(eventlog.TypeProgress, progressData{progress, message, step})
}

// plainProgress is the JSON of progressData with plain texts, as most of them are.
func plainProgress(n int, message, step string) []byte {
	b := make([]byte, 0, len(`{"progress":100,"message":"","step":""}`)+len(message)+len(step))
	b = strconv.AppendInt(append(b, `{"progress":`...), int64(n), 10)
	if message != "" {
		b = append(append(append(b, `,"message":"`...), message...), '"')
	}
	if step != "" {
		b = append(append(append(b, `,"step":"`...), step...), '"')
	}
	return append(b, '}')
}

// verbatim reports whether a text stands for itself between the quotes of a JSON string.
func verbatim(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// Executing is the progress that comes before action i of n (1, 2, …), which is of a kind.
func Executing(i, n int, kind string) Body {
	return Progressed(math.Round(100*float64(i)/float64(n)), fmt.Sprintf("Executing action %d of %d: %s", i, n, kind), kind)
}

// ExecutingFirst is the progress that comes before the first of a job's actions.
func ExecutingFirst(actions json.RawMessage) Body {
	n, kind := actionsHead(actions)
	return Executing(1, max(n, 1), kind)
}

// CompletedWith is the terminal event of success; result is a JSON object.
func CompletedWith(at time.Time, artifacts []Artifact, result json.RawMessage) Body {
	if artifacts == nil {
		artifacts = []Artifact{}
	}
	if len(result) == 0 {
		result = json.RawMessage("{}")
	}
	return body(eventlog.TypeCompleted, completedData{At(at), artifacts, result})
}

// FailedWith is the terminal event after the last attempt.
func FailedWith(at time.Time, class, message string) Body {
	return body(eventlog.TypeFailed, failedData{class, message, At(at)})
}

// Retrying says that an attempt ended without success and another will follow.
func Retrying(class, message string, attempt int, next time.Time) Body {
	return body(eventlog.TypeRetrying, retryingData{class, message, attempt, At(next)})
}

// CancelledAt is the terminal event of a cancellation.
func CancelledAt(at time.Time) Body { return body(eventlog.TypeCancelled, cancelledData{At(at)}) }

// Logged carries one line that the job wrote.
func Logged(level, line string) Body { return body(eventlog.TypeLog, logData{level, line}) }

// ArtifactAdded says that a file is ready.
func ArtifactAdded(a Artifact) Body { return body(eventlog.TypeArtifact, a) }

// Fits reports whether the event that b becomes has at most MaxEventBytes.
func (b Body) Fits() bool { return len(b.Data)+envelopeBytes <= eventlog.MaxEventBytes }

// envelopeBytes is more than an event has around its data.
const envelopeBytes = 192

func body(t eventlog.Type, data any) Body {
	raw, err := encode(data)
	if err != nil { // only a broken RawMessage can cause it, and those are validated at the door
		raw = json.RawMessage("{}")
	}
	return Body{Type: t, Data: raw}
}

// AppendTail appends an event's JSON after its id: everything from the comma
// before "type" to the closing brace. The log stores this part, because the id
// is known only when the event gets its place.
func AppendTail(dst []byte, b Body, jobID string, at time.Time) []byte {
	dst = append(dst, `,"type":"`...)
	dst = append(dst, b.Type...)
	dst = append(dst, `","jobId":"`...)
	dst = append(dst, jobID...)
	dst = append(dst, `","status":"`...)
	dst = append(dst, b.Type.Status()...)
	dst = append(dst, `","timestamp":"`...)
	dst = at.UTC().AppendFormat(dst, TimeFormat)
	dst = append(dst, `","data":`...)
	dst = append(dst, b.Data...)
	return append(dst, '}')
}

// AppendJSON appends the whole event: its id, then a tail made by AppendTail.
func AppendJSON(dst []byte, id string, tail []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, id...)
	dst = append(dst, '"')
	return append(dst, tail...)
}
