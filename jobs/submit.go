package jobs

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"
)

// What a submit may ask for, and what it gets when it does not say.
const (
	MaxActions       = 100      // keeps a job's result inside one event
	MaxQueueName     = 64       // bytes
	MaxMetadataBytes = 16 << 10 // it travels with every copy of the job
	MaxAttemptsLimit = 25       // the back-off of the last one is long past its cap
	MinTimeout       = time.Second
	MaxTimeout       = 24 * time.Hour
	MinExpiry        = time.Second
	MaxExpiry        = 365 * 24 * time.Hour // as far ahead as RunAt may be
	MaxPriority      = 100
	MaxTitleBytes    = 256
	MaxStepTimeoutMs = 30_000 // of one step in a browser

	DefaultMaxAttempts = 3
	DefaultTimeout     = 5 * time.Minute
)

// ActionValidator checks one action of a submit.
type ActionValidator interface {
	// ValidateAction returns everything wrong with an action, a JSON object
	// that passed CheckJSON, without white space between its tokens. Pointers are relative to it, e.g. /url.
	ValidateAction(raw json.RawMessage) []FieldError
	// UsesBrowser reports whether a valid action works in a browser.
	UsesBrowser(raw json.RawMessage) bool
	Confider
}

// SubmitOptions is what ParseSubmit must know of its surroundings.
type SubmitOptions struct {
	Actions ActionValidator  // nil: no action is known, only queues can be used
	Now     func() time.Time // nil: time.Now
}

// submitBody is the body of a submit, members in the order of the contract.
type submitBody struct {
	Actions     []json.RawMessage `json:"actions"`
	Steps       []json.RawMessage `json:"steps"` // as actions are called in a recording of Chrome's
	Queue       *string           `json:"queue"`
	Payload     json.RawMessage   `json:"payload"`
	MaxAttempts *int              `json:"maxAttempts"`
	TimeoutMs   *int64            `json:"timeoutMs"`
	RunAt       *string           `json:"runAt"`
	ExpiresInMs *int64            `json:"expiresInMs"`
	Priority    *int              `json:"priority"`
	Metadata    json.RawMessage   `json:"metadata"`
	Title       *string           `json:"title"`
	Console     *string           `json:"console"`
	State       *StateUse         `json:"state"`
	StepTimeout *int64            `json:"timeout"`           // of a recording: milliseconds of each step that has none
	Attribute   *string           `json:"selectorAttribute"` // of a recording: what its selectors were made of
}

// ParseSubmit reads the body of a submit and fills in the defaults. It returns
// *MalformedError if body is not strict JSON (see CheckJSON), *InvalidError
// with every fault if it parses but asks for something impossible. The caller
// has bounded the size of body; the Spec shares no memory with it.
func ParseSubmit(body []byte, o SubmitOptions) (Spec, error) {
	var in submitBody
	var f faults
	err := DecodeObject(body, &in)
	var invalid *InvalidError
	switch {
	case err == nil:
	case errors.As(err, &invalid):
		f.list = invalid.Fields
	default:
		return Spec{}, err
	}
	s := f.spec(in, o)
	if err := f.err(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// spec is what in asks for, with the defaults. A member that failed to decode is among
// the faults already; what checks the members looks there, so as not to report it twice.
func (f *faults) spec(in submitBody, o SubmitOptions) Spec {
	s := Spec{MaxAttempts: DefaultMaxAttempts, Timeout: DefaultTimeout}
	f.work(&s, in, o)
	if in.MaxAttempts != nil {
		s.MaxAttempts = *in.MaxAttempts
		f.inRange("/maxAttempts", int64(s.MaxAttempts), 1, MaxAttemptsLimit)
	}
	if in.TimeoutMs != nil {
		if f.inRange("/timeoutMs", *in.TimeoutMs, MinTimeout.Milliseconds(), MaxTimeout.Milliseconds()) {
			s.Timeout = time.Duration(*in.TimeoutMs) * time.Millisecond
		}
	}
	if in.ExpiresInMs != nil {
		if f.inRange("/expiresInMs", *in.ExpiresInMs, MinExpiry.Milliseconds(), MaxExpiry.Milliseconds()) {
			s.ExpiresIn = time.Duration(*in.ExpiresInMs) * time.Millisecond
		}
	}
	if in.Priority != nil {
		s.Priority = *in.Priority
		f.inRange("/priority", int64(s.Priority), -MaxPriority, MaxPriority)
	}
	f.runAt(&s, in.RunAt, o)
	f.metadata(&s, in.Metadata)
	if in.Title != nil {
		if s.Title = *in.Title; len(s.Title) > MaxTitleBytes {
			f.addf("/title", "must not be longer than %d bytes", MaxTitleBytes)
		}
	}
	f.console(&s, in.Console)
	f.state(&s, in.State)
	return s
}

// console reads from which level on pages log.
func (f *faults) console(s *Spec, level *string) {
	if level == nil || f.has("/console") {
		return
	}
	i := slices.Index(LogLevels, *level)
	switch {
	case i < 0:
		f.add("/console", "must be debug, info, warn or error")
	case !s.Browser && len(f.list) == 0: // else what is wrong may be why there is none
		f.add("/console", "only a job with steps in a browser has a console")
	default:
		s.Console = LogLevels[i]
	}
}

func (f *faults) has(pointer string) bool {
	for _, e := range f.list {
		if e.Pointer == pointer {
			return true
		}
	}
	return false
}

func (f *faults) inRange(at string, v, low, high int64) bool {
	if f.has(at) || (v >= low && v <= high) {
		return true
	}
	f.addf(at, "must be between %d and %d", low, high)
	return false
}

// work reads what the job consists of: actions, or a queue and its payload.
func (f *faults) work(s *Spec, in submitBody, o SubmitOptions) {
	s.Payload = json.RawMessage("null")
	list, at := in.Actions, "/actions"
	if in.Steps != nil {
		if in.Actions != nil {
			f.add("/steps", "are actions by another name: a job has one of them")
			return
		}
		list, at = in.Steps, "/steps"
	}
	switch {
	case in.StepTimeout == nil:
	case in.Queue != nil && list == nil:
		f.add("/timeout", "only steps have it; an attempt has timeoutMs")
	default:
		f.inRange("/timeout", *in.StepTimeout, 1, MaxStepTimeoutMs)
	}
	switch {
	case list != nil && in.Queue != nil:
		f.add("/queue", "a job has either actions or a queue, not both")
	case in.Queue != nil:
		if s.Queue = *in.Queue; !ValidQueue(s.Queue) && !f.has("/queue") {
			f.addf("/queue", "must be 1 to %d characters of a-z, 0-9, dot, underscore and hyphen", MaxQueueName)
		}
		if in.Payload != nil {
			s.Payload = in.Payload
		}
	case list != nil:
		f.actions(s, list, at, in.StepTimeout, o)
	case !f.has("") && !f.has("/actions") && !f.has("/steps") && !f.has("/queue"):
		f.add("", "a job needs actions or a queue")
	}
	if in.Queue == nil && in.Payload != nil && string(in.Payload) != "null" {
		f.add("/payload", "only a job with a queue has a payload")
	}
}

// fewSecrets refuses a job that names more secrets than may be looked for.
func (f *faults) fewSecrets(uses []SecretUse) {
	var names []string
	for _, u := range uses {
		if slices.Contains(names, u.Name) {
			continue
		}
		if names = append(names, u.Name); len(names) > MaxJobSecrets {
			f.addf(u.Pointer, "is one more than the %d secrets that a job may name", MaxJobSecrets)
			return
		}
	}
}

// actions reads a list of actions, the body's member. Those that are steps in a
// browser get the time-out of all steps, unless they have one.
func (f *faults) actions(s *Spec, list []json.RawMessage, member string, timeout *int64, o SubmitOptions) {
	if len(list) == 0 || len(list) > MaxActions {
		f.addf(member, "must have 1 to %d actions", MaxActions)
		return
	}
	for i, raw := range list {
		at := member + "/" + strconv.Itoa(i)
		switch {
		case len(raw) == 0 || raw[0] != '{':
			f.add(at, "must be an object")
		case o.Actions == nil:
			f.add(at, "this server runs no actions")
		default:
			for _, e := range o.Actions.ValidateAction(raw) {
				f.add(at+e.Pointer, e.Detail)
			}
			for _, u := range o.Actions.Secrets(raw) {
				s.Secrets = append(s.Secrets, SecretUse{Pointer: at + u.Pointer, Name: u.Name})
			}
			if o.Actions.UsesBrowser(raw) {
				s.Browser = true
				if timeout != nil {
					list[i] = timed(raw, *timeout)
				}
			}
		}
	}
	f.fewSecrets(s.Secrets)
	size := 2
	for _, raw := range list {
		size += len(raw) + 1
	}
	all := append(make([]byte, 0, size), '[')
	for i, raw := range list {
		if i > 0 {
			all = append(all, ',')
		}
		all = append(all, raw...)
	}
	all = append(all, ']')
	s.Actions = all
}

// timed returns a step with a time-out of ms, unless it has one.
func timed(step json.RawMessage, ms int64) json.RawMessage {
	if Member(step, "timeout") != nil {
		return step
	}
	with := strconv.AppendInt([]byte(`{"timeout":`), ms, 10)
	return append(append(with, ','), step[1:]...)
}

func (f *faults) runAt(s *Spec, text *string, o SubmitOptions) {
	if text == nil || f.has("/runAt") {
		return
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	t, err := ParseTime(*text)
	if err != nil {
		f.add("/runAt", err.Error())
		return
	}
	// TimeFormat cannot write a year before 0, which a zone may turn the year 0
	// into; any other time in the past simply means now.
	if t.Unix() < 0 || t.After(now().AddDate(1, 0, 0)) {
		f.add("/runAt", "must not be more than a year ahead or before 1970")
		return
	}
	s.RunAt = t.UTC()
}

func (f *faults) metadata(s *Spec, raw json.RawMessage) {
	if raw == nil || string(raw) == "null" {
		return
	}
	if raw[0] != '{' {
		f.add("/metadata", "must be an object")
		return
	}
	s.Metadata = raw
	if len(s.Metadata) > MaxMetadataBytes {
		f.addf("/metadata", "must not be larger than %d bytes", MaxMetadataBytes)
	}
}

// ValidQueue reports whether name is a queue's name: [a-z0-9._-]{1,64}.
func ValidQueue(name string) bool {
	if name == "" || len(name) > MaxQueueName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
