// Package action holds the built-in actions: what a job can do without a
// worker. Each action has one file.
package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// Classes of failure that the actions report.
const (
	ClassBlocked          = "BlockedAddress"   // not retried
	ClassNetwork          = "NetworkError"     // retried
	ClassTimeout          = jobs.ClassTimeout  // retried
	ClassStatus           = "UnexpectedStatus" // retried
	ClassTooManyRedirects = "TooManyRedirects" // not retried
	ClassInvalid          = "InvalidAction"    // not retried
)

// Action is one kind of step.
type Action interface {
	// Type is its name in a job's list of actions.
	Type() string
	// Validate returns everything wrong with raw, a JSON object. Pointers are
	// relative to it.
	Validate(raw json.RawMessage) []jobs.FieldError
	// Schema is the JSON schema (draft 2020-12) of such actions.
	Schema() json.RawMessage
	// Run does what raw says; see jobs.Runner.
	Run(ctx context.Context, raw json.RawMessage, env jobs.Env) (any, error)
}

// Browsing is an Action that works in a browser, of which there are few.
type Browsing interface {
	Action
	UsesBrowser()
}

// Confided is an Action that may name secrets.
type Confided interface {
	Action
	// Secrets returns where it names them; see jobs.ActionValidator.
	Secrets(raw json.RawMessage) []jobs.SecretUse
}

// Options adjusts the built-in actions; the zero value is the safe one.
type Options struct {
	// AllowPrivateAddresses lets actions reach addresses that are not public:
	// this machine, its network, the metadata services of clouds.
	AllowPrivateAddresses bool
	// Hosts are those that actions of any job may reach.
	Hosts jobs.Hosts
}

// Registry knows actions by their type. It validates them for jobs.ParseSubmit
// and runs them for jobs.Processor. It does not change after New.
type Registry struct{ byType map[string]Action }

// New returns a registry of the given actions.
func New(actions ...Action) *Registry {
	r := &Registry{byType: make(map[string]Action, len(actions))}
	for _, a := range actions {
		r.byType[a.Type()] = a
	}
	return r
}

// Builtin returns a registry of all built-in actions of this package, and of more.
func Builtin(o Options, more ...Action) *Registry {
	return New(append([]Action{NewHTTP(o), Wait{}}, more...)...)
}

// ValidateAction implements jobs.ActionValidator.
func (r *Registry) ValidateAction(raw json.RawMessage) []jobs.FieldError {
	a, fault := r.find(raw)
	if fault != nil {
		return []jobs.FieldError{*fault}
	}
	return a.Validate(raw)
}

// UsesBrowser implements jobs.ActionValidator.
func (r *Registry) UsesBrowser(raw json.RawMessage) bool {
	a, fault := r.find(raw)
	if fault != nil {
		return false
	}
	_, ok := a.(Browsing)
	return ok
}

// Secrets implements jobs.ActionValidator.
func (r *Registry) Secrets(raw json.RawMessage) []jobs.SecretUse {
	if !bytes.Contains(raw, []byte(`secret`)) && !bytes.Contains(raw, []byte(`\u`)) {
		return nil
	}
	a, fault := r.find(raw)
	if fault != nil {
		return nil
	}
	if c, ok := a.(Confided); ok {
		return c.Secrets(raw)
	}
	return nil
}

// Run implements jobs.Runner.
func (r *Registry) Run(ctx context.Context, raw json.RawMessage, env jobs.Env) (any, error) {
	a, fault := r.find(raw)
	if fault != nil {
		return nil, &jobs.ActionError{Class: ClassInvalid, Message: fault.Pointer + " " + fault.Detail}
	}
	return a.Run(ctx, raw, env)
}

// Pause implements jobs.Pauser.
func (r *Registry) Pause(raw json.RawMessage) (d time.Duration, result any, ok bool) {
	a, fault := r.find(raw)
	if fault != nil {
		return 0, nil, false
	}
	w, ok := a.(Wait)
	if !ok {
		return 0, nil, false
	}
	return w.pause(raw)
}

func (r *Registry) find(raw json.RawMessage) (Action, *jobs.FieldError) {
	if !bytes.HasPrefix(raw, []byte("{")) {
		return nil, &jobs.FieldError{Detail: "must be an object"}
	}
	kind, _ := jobs.Text(jobs.Member(raw, "type"))
	if kind == "" {
		return nil, &jobs.FieldError{Pointer: "/type", Detail: "must name the type of the action"}
	}
	a, ok := r.byType[kind]
	if !ok {
		return nil, &jobs.FieldError{Pointer: "/type", Detail: "unknown action type"}
	}
	return a, nil
}

// faults collects what is wrong with an action.
type faults []jobs.FieldError

func (f *faults) addf(pointer, format string, args ...any) {
	*f = append(*f, jobs.FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// invalid is Invalid of f.
func (f faults) invalid() error { return Invalid(f) }

// Invalid turns faults found at run time into a failure: the job was accepted
// by a server that knew other rules.
func Invalid(f []jobs.FieldError) error {
	err := &jobs.InvalidError{Fields: f}
	return &jobs.ActionError{Class: ClassInvalid, Message: err.Error()}
}

// decode reads raw into dst and returns what is wrong with it.
func decode(raw json.RawMessage, dst any) faults {
	err := jobs.DecodeObject(raw, dst)
	var invalid *jobs.InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return invalid.Fields
	default:
		return faults{{Detail: err.Error()}}
	}
}
