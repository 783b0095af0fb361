package browser

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
	"github.com/jobcast/jobcast/jobs/action/browser/steps"
)

// Actions returns the actions that work in a browser, one for each type of step.
func (b *Browsers) Actions() []action.Action {
	var all []action.Action
	for _, kind := range steps.Types() {
		all = append(all, step{b, kind})
	}
	return all
}

// step is an action of one type. All steps of an attempt share a session.
type step struct {
	b    *Browsers
	kind string
}

// UsesBrowser implements action.Browsing.
func (step) UsesBrowser() {}

// Type implements action.Action.
func (s step) Type() string { return s.kind }

// Schema implements action.Action.
func (s step) Schema() json.RawMessage { return steps.Schema(s.kind) }

func (s step) options() steps.Options { return steps.Options{AllowEvaluate: s.b.o.AllowEvaluate} }

// Validate implements action.Action. A server without a browser takes no step.
func (s step) Validate(raw json.RawMessage) []jobs.FieldError {
	_, faults := steps.Parse(raw, s.options())
	if _, err := s.b.found(); err != nil {
		faults = append(faults, jobs.FieldError{Detail: err.Error()})
	}
	return faults
}

// Secrets implements action.Confided.
func (s step) Secrets(raw json.RawMessage) []jobs.SecretUse {
	parsed, _ := steps.Parse(raw, s.options()) // of what is not valid there are none
	return parsed.Secrets()
}

// Run implements action.Action.
func (s step) Run(ctx context.Context, raw json.RawMessage, env jobs.Env) (any, error) {
	todo, faults := steps.Parse(raw, s.options())
	if len(faults) > 0 {
		return nil, action.Invalid(faults)
	}
	kept, err := env.Scope.Keep(s.b, func() (io.Closer, error) { return s.b.open(ctx, env) })
	if err != nil {
		return nil, err
	}
	session := kept.(*session) // only open makes what is kept under s.b
	result, err := session.steps.Run(ctx, todo, env)
	if err == nil {
		return result, nil
	}
	if err = session.explain(ctx, err); !errors.Is(err, jobs.ErrNoFault) {
		session.steps.KeepFailure(ctx, err, env)
	}
	return nil, err
}
