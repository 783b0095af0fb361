package contract

import (
	"bytes"
	"hash/fnv"
)

// maxAlike is how many values of one shape are checked in a process. A suite reads hundreds
// of thousands of events, and the thousandth of a shape says no more than the first few.
const maxAlike = 16

// fresh reports whether a value for a schema is one of the first of its shape.
func (d *documents) fresh(schema string, text []byte) bool {
	key := shape(schema, text)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.alike[key]++
	return d.alike[key] <= maxAlike
}

// telling are the members whose value belongs to a shape: of which kind something is.
var telling = map[string]bool{"type": true, "status": true, "event": true, "level": true, "reason": true, "code": true}

// shape is the same for JSON texts with the same members, in order, and the same kinds of
// values.
func shape(schema string, text []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(schema))
	told := false
	for i := 0; i < len(text); {
		n := 1
		switch c := text[i]; {
		case c == '"':
			n = stringBytes(text[i:])
			name := i+n < len(text) && text[i+n] == ':'
			if name || told {
				_, _ = h.Write(text[i : i+n])
			} else {
				_, _ = h.Write([]byte{'"'})
			}
			told = name && n > 2 && telling[string(text[i+1:i+n-1])]
		case c == '-' || c >= '0' && c <= '9':
			n = len(text[i:]) - len(bytes.TrimLeft(text[i:], "-+.eE0123456789"))
			_, _ = h.Write([]byte{'0'})
			told = false
		case c == ':':
		default:
			_, _ = h.Write(text[i : i+1])
			told = false
		}
		i += n
	}
	return h.Sum64()
}

// stringBytes is the length of the JSON string that text begins with.
func stringBytes(text []byte) int {
	for i := 1; ; i++ {
		n := bytes.IndexAny(text[i:], `"\`)
		if n < 0 {
			return len(text)
		}
		if i += n; text[i] == '"' {
			return i + 1
		}
		i++
		if i >= len(text) {
			return len(text)
		}
	}
}
