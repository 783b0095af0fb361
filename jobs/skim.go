package jobs

import (
	"bytes"
	"encoding/json"
)

// skim goes over a JSON text that CheckJSON has let pass, to find a little in it. It
// judges nothing and looks into no string, so it is much faster than a parser: a store
// skims a job's actions while others wait for its commit. In a text that is no JSON it
// finds anything or nothing.
type skim struct {
	b []byte
	i int // the next byte
}

// actionsHead returns how many actions a job has, and of what kind the first one is.
func actionsHead(actions json.RawMessage) (n int, kind string) {
	s := skim{b: actions}
	for s.enter('[', n == 0) {
		start := s.i
		s.value()
		if n++; n == 1 {
			kind = actionKind(actions[start:s.i])
		}
	}
	return n, kind
}

// actionKind returns the type of an action, a JSON object.
func actionKind(action json.RawMessage) (kind string) {
	s := skim{b: action}
	for first := true; s.enter('{', first); first = false {
		name := s.token()
		s.space()
		if s.i < len(s.b) {
			s.i++ // the colon
		}
		s.space()
		value := s.token()
		if textOf(name) == "type" {
			return textOf(value)
		}
	}
	return ""
}

// textOf returns what a string says, which stands in its quotes; empty if it is none.
func textOf(quoted []byte) string {
	if len(quoted) < 2 || quoted[0] != '"' {
		return ""
	}
	return string(content(quoted, bytes.IndexByte(quoted, '\\') >= 0))
}

// enter comes to the next item or member of what opens with a bracket, and reports whether
// there is one.
func (s *skim) enter(bracket byte, first bool) bool {
	s.space()
	switch {
	case s.i >= len(s.b):
		return false
	case first && s.b[s.i] != bracket, !first && s.b[s.i] != ',':
		return false
	}
	s.i++
	s.space()
	return s.i < len(s.b) && (!first || s.b[s.i] != bracket+2) // ']' and '}' come two after what opens them
}

func (s *skim) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// token passes one value and returns it.
func (s *skim) token() []byte {
	start := s.i
	s.value()
	return s.b[start:s.i]
}

// value passes one value, and stops at what follows it.
func (s *skim) value() {
	if s.i >= len(s.b) {
		return
	}
	switch s.b[s.i] {
	case '"':
		s.text()
	case '{', '[':
		s.nested()
	default:
		for s.i < len(s.b) && !ends[s.b[s.i]] {
			s.i++
		}
	}
}

// nested passes an array or object.
func (s *skim) nested() {
	for depth, i := 0, s.i; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case !nests[c]:
			continue
		case c == '"':
			s.i = i
			s.text()
			i = s.i - 1
			continue
		case c == '{' || c == '[':
			depth++
			continue
		}
		if depth--; depth == 0 {
			s.i = i + 1
			return
		}
	}
	s.i = len(s.b)
}

// The bytes that end a number or a word, and those that matter inside an array or object.
var (
	ends  = [256]bool{',': true, ':': true, '}': true, ']': true, ' ': true, '\t': true, '\n': true, '\r': true}
	nests = [256]bool{'"': true, '{': true, '[': true, '}': true, ']': true}
)

// text passes a string.
func (s *skim) text() {
	start := s.i
	for s.i++; ; {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			s.i = len(s.b)
			return
		}
		s.i += n + 1
		slashes := 0
		for at := s.i - 2; at > start && s.b[at] == '\\'; at-- {
			slashes++
		}
		if slashes%2 == 0 { // else the quote is escaped
			return
		}
	}
}
