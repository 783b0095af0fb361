package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// completedOverhead is more than a job.completed event needs around its result
// and its artifacts.
const completedOverhead = envelopeBytes + 96

// encode marshals v compactly. Unlike json.Marshal it leaves <, > and & alone,
// so that text does not grow sixfold on its way into an event.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// actionResult is what one action of a job gave.
type actionResult struct {
	kind    string // the action's type
	value   any
	encoded json.RawMessage
}

// cut returns the result in at most limit bytes; one that cannot be made so
// small is replaced by its type and a note.
func (r actionResult) cut(limit int) actionResult {
	if len(r.encoded) <= limit {
		return r
	}
	if s, ok := r.value.(Shortener); ok {
		short := s.Shorten(limit)
		if raw, err := encode(short); err == nil && len(raw) <= limit {
			return actionResult{r.kind, short, raw}
		}
	}
	stub, err := encode(struct {
		Type      string `json:"type"`
		Truncated bool   `json:"truncated"`
	}{r.kind, true})
	if err != nil {
		stub = json.RawMessage("{}")
	}
	return actionResult{kind: r.kind, encoded: stub}
}

// actionsResult joins results to {"actions":[…]} of at most limit bytes. If
// they are too large together, small ones stay whole and the large ones are cut
// to one common size.
func actionsResult(results []actionResult, limit int) json.RawMessage {
	const head, tail = `{"actions":[`, `]}`
	level := fairShare(results, limit-len(head)-len(tail)-len(results))
	out := []byte(head)
	for i, r := range results {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, r.cut(level).encoded...)
	}
	return append(out, tail...)
}

// fairShare returns the largest size such that results cut to it have room
// bytes or fewer together.
func fairShare(results []actionResult, room int) int {
	sizes := make([]int, len(results))
	for i, r := range results {
		sizes[i] = len(r.encoded)
	}
	slices.Sort(sizes)
	for i, size := range sizes {
		share := room / (len(sizes) - i)
		if size > share {
			return share
		}
		room -= size
	}
	return MaxResultBytes
}
