package browser

import (
	"context"
	"encoding/json"
	"io"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
)

// Actions returns the actions that work in a browser.
func (b *Browsers) Actions() []action.Action { return []action.Action{step{b, "navigate"}} }

// step is an action of one type. All steps of an attempt work on the same page.
type step struct {
	b    *Browsers
	kind string
}

// UsesBrowser implements action.Browsing.
func (step) UsesBrowser() {}

// Type implements action.Action.
func (s step) Type() string { return s.kind }

// Validate implements action.Action. A server without a browser takes no step.
func (s step) Validate(raw json.RawMessage) []jobs.FieldError {
	_, faults := parseNavigate(raw)
	if err := s.b.Missing(); err != nil {
		faults = append(faults, jobs.FieldError{Detail: err.Error()})
	}
	return faults
}

// Run implements action.Action.
func (s step) Run(ctx context.Context, raw json.RawMessage, env jobs.Env) (any, error) {
	todo, faults := parseNavigate(raw)
	if len(faults) > 0 {
		return nil, action.Invalid(faults)
	}
	kept, err := env.Scope.Keep(s.b, func() (io.Closer, error) { return s.b.open(ctx, env) })
	if err != nil {
		return nil, err
	}
	session := kept.(*session)
	result, err := session.page.run(ctx, todo)
	if err != nil {
		return nil, session.explain(ctx, err)
	}
	return result, nil
}
