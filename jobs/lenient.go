package jobs

import "encoding/json"

// CheckMessage returns nil if b is one JSON value (RFC 8259), else *MalformedError.
// It is for messages on a connection, which encoders of all kinds have made, and of
// which little is looked at. It takes what CheckJSON refuses beyond the grammar, as
// JSON.parse does: any depth, a member that stands twice (the last one counts), an
// escaped surrogate without its pair (U+FFFD stands for it) and any number. It
// needs memory for the nesting, one byte for each level, and no stack.
func CheckMessage(b []byte) error {
	c := checker{b: b, lenient: true}
	c.space()
	if err := c.scan(); err != nil {
		return err
	}
	return c.end()
}

// SplitArray returns the items of a JSON array as CheckMessage takes it, which are
// parts of b; ok is false if b is no such array.
func SplitArray(b []byte) (items []json.RawMessage, ok bool) {
	c := checker{b: b, lenient: true}
	c.space()
	if !c.take('[') {
		return nil, false
	}
	for first := true; ; first = false {
		more, err := c.item(first)
		if err == nil && !more && c.end() == nil {
			return items, true
		}
		start := c.i
		if err != nil || !more || c.scan() != nil {
			return nil, false
		}
		items = append(items, b[start:c.i])
	}
}

// scan reads one value. It does not recurse.
func (c *checker) scan() error {
	var few [32]byte
	open := few[:0] // the brackets that close what is open
	for {
		first := true // of an array or object
		switch {
		case c.take('{'):
			open = append(open, '}')
		case c.take('['):
			open = append(open, ']')
		default:
			first = false
			if err := c.value(0); err != nil {
				return err
			}
		}
		var more bool
		var err error
		if open, more, err = c.between(open, first); err != nil || !more {
			return err
		}
	}
}

// between reads what stands between two values: closing brackets, a comma unless the
// value that follows is the first in its place, a member's name. more is false
// after the last one.
func (c *checker) between(open []byte, first bool) (_ []byte, more bool, err error) {
	for len(open) > 0 {
		end := open[len(open)-1]
		c.space()
		switch {
		case c.take(end):
			open, first = open[:len(open)-1], false
			continue
		case !first && !c.take(','):
			return open, false, c.unexpected("in an array or object")
		}
		c.space()
		if end == '}' {
			_, err = c.memberName(false)
		}
		return open, true, err
	}
	return open, false, nil
}
