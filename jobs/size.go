package jobs

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Limits on what an answer or a frame holds of jobs.
const (
	// MaxPageBytes ends a page of a list and an answer to a claim, as it ends an
	// answer to a long-poll.
	MaxPageBytes = 1 << 20
	// MaxBriefBytes bounds a job that is not asked for as such: in control frames
	// and in refusals. With the frame around it, it stays below MaxFrameBytes.
	MaxBriefBytes = 64_000

	leaveOutBytes = 1 << 10 // members of at most so many bytes are never left out
	jobShellBytes = 1 << 10 // more than a job has without what Size counts
	artifactShell = 64      // more than an artifact has around its strings
	// more than one has with them: the name stands in its URL too
	mostArtifactBytes = artifactShell + 2*MaxArtifactName + 192
	stateShell        = 64 // more than a state has around its texts
	mostStateBytes    = stateShell + 2*MaxSealedName + maxOriginBytes + MaxOrigins*len(`"",`)
	omissionsBytes    = 64 // more than the names of what is left out take
)

// Size is how many bytes a job has as JSON, or slightly more.
func (j *Job) Size() int {
	n := jobShellBytes + omissionsBytes + len(j.Actions) + len(j.Payload) + len(j.Metadata) + len(j.Result) + j.artifactBytes() + j.State.bytes()
	for _, s := range []*string{j.Queue, j.Message, j.Step, j.Error, j.ErrorMessage} {
		if s != nil {
			n += textBytes(*s)
		}
	}
	return n
}

// MostSize is not less than the Size of a job of which only this is known: the bytes
// of its payload, actions, result and metadata together, those of its error message,
// and how many artifacts it has.
func MostSize(members, errorMessage, artifacts int) int {
	const worst = len(`\u0000`) // a byte of text as JSON
	return jobShellBytes + omissionsBytes + mostStateBytes + members + MaxQueueName + artifacts*mostArtifactBytes +
		worst*(errorMessage+MaxMessageBytes+MaxStepBytes+MaxErrorClassBytes)
}

func (j *Job) artifactBytes() (n int) {
	for _, a := range j.Artifacts {
		n += artifactShell + textBytes(a.Name) + textBytes(a.ContentType) + textBytes(a.URL)
	}
	return n
}

// textBytes is how long a string gets inside JSON, or slightly more.
func textBytes(s string) int {
	n := len(s)
	for i, r := range s {
		switch {
		case r < ' ', r == '\u2028', r == '\u2029':
			n += len(`\u0000`) - 1
		case r == '"', r == '\\':
			n++
		case r == utf8.RuneError:
			if _, width := utf8.DecodeRuneInString(s[i:]); width == 1 {
				n += len(`\ufffd`) - 1
			}
		}
	}
	return n
}

// BriefBytes bounds each of n jobs in one answer that nobody asked for as such, so that
// they have no more than MaxPageBytes together, but for what AbridgeTo does not leave out.
func BriefBytes(n int) int { return min(MaxBriefBytes, MaxPageBytes/max(n, 1)) }

// Unread are the sizes of members of a job that were not read, in bytes of JSON.
type Unread struct{ Payload, Actions, Result, Metadata int }

// Abridge leaves out large members until the job has at most MaxBriefBytes, and
// names them in Omitted: payload, actions, result, metadata and artifacts, in this
// order, but none of at most 1 KiB. What remains always fits: the strings of a job
// are bounded. The members that u counts were not read; those of them that are not
// in Omitted afterwards are to be read.
func (j *Job) Abridge(u Unread) { j.AbridgeTo(MaxBriefBytes, u) }

// AbridgeTo is Abridge with another limit. What remains may be more than a limit that is
// much lower.
func (j *Job) AbridgeTo(limit int, u Unread) {
	size := j.Size() + u.Payload + u.Actions + u.Result + u.Metadata
	omit := func(name string, bytes int, drop func()) {
		if size > limit && bytes > leaveOutBytes {
			j.Omitted = append(j.Omitted, name)
			size -= bytes
			drop()
		}
	}
	omit("payload", len(j.Payload)+u.Payload, func() { j.Payload = nil })
	omit("actions", len(j.Actions)+u.Actions, func() { j.Actions = nil })
	omit("result", len(j.Result)+u.Result, func() { j.Result = nil })
	omit("metadata", len(j.Metadata)+u.Metadata, func() { j.Metadata = nil })
	omit("artifacts", j.artifactBytes(), func() { j.Artifacts = nil })
}

// Abridged is a job whose JSON has no member that Omitted names; that of a Job has
// null there. Frames and refusals show jobs so.
type Abridged struct{ Job }

// Shown is how an answer shows a job that may be abridged: one that is whole is encoded at
// less cost.
func (j Job) Shown() any {
	if len(j.Omitted) > 0 {
		return Abridged{j}
	}
	return j
}

// MarshalJSON implements json.Marshaler.
func (a Abridged) MarshalJSON() ([]byte, error) {
	out := abridged(a.Job)
	for name, member := range map[string]*json.RawMessage{
		"payload": &out.Payload, "actions": &out.Actions, "result": &out.Result, "metadata": &out.Metadata,
	} {
		if len(*member) == 0 && !slices.Contains(a.Omitted, name) {
			*member = json.RawMessage("null")
		}
	}
	return encode(out)
}

// abridged is a Job, except that nil members which can be left out are.
type abridged struct {
	ID            string          `json:"id"`
	ClientID      string          `json:"clientId"`
	Status        Status          `json:"status"`
	Queue         *string         `json:"queue"`
	Actions       json.RawMessage `json:"actions,omitempty"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	MaxAttempts   int             `json:"maxAttempts"`
	TimeoutMs     int64           `json:"timeoutMs"`
	Priority      int             `json:"priority"`
	RunAt         *Time           `json:"runAt"`
	ExpiresAt     *Time           `json:"expiresAt"`
	Attempt       int             `json:"attempt"`
	Progress      *float64        `json:"progress"`
	Message       *string         `json:"message"`
	Step          *string         `json:"step"`
	Result        json.RawMessage `json:"result,omitempty"`
	Artifacts     []Artifact      `json:"artifacts,omitzero"`
	Error         *string         `json:"error"`
	ErrorMessage  *string         `json:"errorMessage"`
	CreatedAt     Time            `json:"createdAt"`
	StartedAt     *Time           `json:"startedAt"`
	CompletedAt   *Time           `json:"completedAt"`
	NextAttemptAt *Time           `json:"nextAttemptAt"`
	RetryOf       *string         `json:"retryOf"`
	Title         *string         `json:"title"`
	Console       *string         `json:"console"`
	State         *StateUse       `json:"state"`
	Cursor        string          `json:"cursor"`
	Browser       bool            `json:"-"`
	Hosts         Hosts           `json:"-"`
	Omitted       []string        `json:"omitted,omitempty"`
}
