package action

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// maxWaitMs caps one wait: an hour. What waits keeps its place in memory.
const maxWaitMs = 3_600_000

// Wait is the action {type: "wait", ms: 0..3600000}. Its result repeats both.
type Wait struct{}

type waitSpec struct {
	Type string `json:"type"`
	Ms   *int64 `json:"ms"`
}

type waitResult struct {
	Type string `json:"type"`
	Ms   int64  `json:"ms"`
}

// Type implements Action.
func (Wait) Type() string { return "wait" }

// Validate implements Action.
func (Wait) Validate(raw json.RawMessage) []jobs.FieldError {
	_, f := parseWait(raw)
	return f
}

func parseWait(raw json.RawMessage) (waitSpec, faults) {
	var s waitSpec
	f := decode(raw, &s)
	if len(f) > 0 {
		return s, f
	}
	if s.Ms == nil || *s.Ms < 0 || *s.Ms > maxWaitMs {
		f.addf("/ms", "must be an integer between 0 and %d", maxWaitMs)
	}
	return s, f
}

// pause is what Run would do, for who can wait without it.
func (w Wait) pause(raw json.RawMessage) (time.Duration, any, bool) {
	s, f := parseWait(raw)
	if len(f) > 0 {
		return 0, nil, false
	}
	return time.Duration(*s.Ms) * time.Millisecond, waitResult{w.Type(), *s.Ms}, true
}

// Run implements Action: it sleeps, and ends at once when ctx does.
func (w Wait) Run(ctx context.Context, raw json.RawMessage, _ jobs.Env) (any, error) {
	s, f := parseWait(raw)
	if len(f) > 0 {
		return nil, f.invalid()
	}
	timer := time.NewTimer(time.Duration(*s.Ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return waitResult{w.Type(), *s.Ms}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
