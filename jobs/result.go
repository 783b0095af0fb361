package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
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

// maxDataBytes caps what a job's actions keep in its result together: it must stay whole
// beside what is left of the actions' own results when they are cut.
const maxDataBytes = 32 << 10

// data is what actions keep for their job's result.
type data struct {
	values map[string]json.RawMessage
	size   int // of the text
}

// set keeps a value, which is compact JSON.
func (d *data) set(name string, value json.RawMessage) error {
	key, err := encode(name)
	if err != nil {
		return err
	}
	size := d.size + len(key) + len(value) + len(":,")
	if old, known := d.values[name]; known {
		size = d.size + len(value) - len(old)
	}
	if size > maxDataBytes {
		return &ActionError{
			Class: ClassResultSize, Message: fmt.Sprintf("result.data would be larger than %d bytes", maxDataBytes),
		}
	}
	if d.values == nil {
		d.values = make(map[string]json.RawMessage)
	}
	d.values[name], d.size = value, size
	return nil
}

// text is the object of all values, in the order of their names; nil if there are none.
func (d *data) text() json.RawMessage {
	if len(d.values) == 0 {
		return nil
	}
	out := make([]byte, 0, d.size+len("{}"))
	for _, name := range slices.Sorted(maps.Keys(d.values)) {
		key, err := encode(name)
		if err != nil { // set has encoded it before
			continue
		}
		out = append(append(append(append(out, ','), key...), ':'), d.values[name]...)
	}
	out[0] = '{'
	return append(out, '}')
}

// actionsResult joins results to {"actions":[…]} of at most limit bytes, or to
// {"actions":[…],"data":{…}} if there are data, which are never cut. If they are too
// large together, small ones stay whole and the large ones are cut to one common size.
func actionsResult(results []actionResult, data json.RawMessage, limit int) json.RawMessage {
	head, tail := `{"actions":[`, `]}`
	if data != nil {
		tail = `],"data":` + string(data) + `}`
	}
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
