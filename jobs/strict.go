package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// MaxJSONDepth is how deep a request body may nest. It protects decoders that
// recurse, ours and those of every reader the text is handed to.
const MaxJSONDepth = 64

// maxNumberBytes caps one number. The longest finite integer has 309 digits;
// Python refuses to read integers of more than 4,300.
const maxNumberBytes = 400

// safeNumberBytes is a length up to which a number without an exponent is
// finite whatever its digits are, so that it need not be converted.
const safeNumberBytes = 300

// MalformedError says that a text is not JSON as this program takes it.
type MalformedError struct {
	Detail string // one sentence without the place
	Offset int    // byte at which it was seen
	Line   int    // of NDJSON the line, from 1 on, in which Offset counts; 0: the text is one value
}

func (e *MalformedError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s at byte %d of line %d", e.Detail, e.Offset, e.Line)
	}
	return fmt.Sprintf("%s at byte %d", e.Detail, e.Offset)
}

// CheckJSON reads b once and returns nil if it is one JSON value (RFC 8259)
// that no decoder chokes on, else *MalformedError. Beyond the grammar it
// refuses: bytes that are not UTF-8; arrays and objects nested deeper than
// maxDepth; a member name that stands twice in an object, however it is
// escaped; an escaped surrogate without its pair, which cannot be written
// as UTF-8; a number that is not finite as a float64 or longer than 400 bytes;
// anything but white space after the value.
func CheckJSON(b []byte, maxDepth int) error {
	c := checker{b: b, maxDepth: maxDepth}
	c.space()
	if err := c.value(0); err != nil {
		return err
	}
	return c.end()
}

// compactJSON is CheckJSON, and returns b without white space between its tokens, in
// memory of its own.
func compactJSON(b []byte, maxDepth int) (json.RawMessage, error) {
	c := checker{b: b, maxDepth: maxDepth}
	c.space()
	compact, err := c.compact(func() error { return c.value(0) })
	if err == nil {
		err = c.end()
	}
	return compact, err
}

// checker is a recursive descent over b; i is the next byte. Its recursion is
// bounded by maxDepth.
type checker struct {
	b        []byte
	i        int
	maxDepth int
	lenient  bool // see CheckMessage
	name     int  // where the member's name that was read last begins

	// compact collects what is read without its white space.
	compacting bool
	compacted  []byte // what was read up to mark
	mark       int
}

func (c *checker) fail(detail string) *MalformedError {
	return &MalformedError{Detail: detail, Offset: c.i}
}

// unexpected names the byte that stands where it may not, or the missing end.
func (c *checker) unexpected(where string) *MalformedError {
	if c.i >= len(c.b) {
		return c.fail("the text ends " + where)
	}
	return c.fail(fmt.Sprintf("unexpected %q %s", c.b[c.i], where))
}

// end refuses what follows the text's one value.
func (c *checker) end() error {
	c.space()
	if c.i < len(c.b) {
		return c.fail("text after the JSON value")
	}
	return nil
}

func (c *checker) space() {
	start := c.i
	for c.i < len(c.b) && (c.b[c.i] == ' ' || c.b[c.i] == '\t' || c.b[c.i] == '\n' || c.b[c.i] == '\r') {
		c.i++
	}
	if c.compacting && c.i > start {
		c.compacted = append(c.compacted, c.b[c.mark:start]...)
		c.mark = c.i
	}
}

// compact reads one value with read and returns it without white space between its
// tokens, in memory of its own.
func (c *checker) compact(read func() error) (json.RawMessage, error) {
	c.compacting, c.compacted, c.mark = true, nil, c.i
	err := read()
	c.compacting = false
	return append(c.compacted, c.b[c.mark:c.i]...), err
}

// next reports whether ch comes next.
func (c *checker) next(ch byte) bool { return c.i < len(c.b) && c.b[c.i] == ch }

// take consumes ch if it is next.
func (c *checker) take(ch byte) bool {
	if !c.next(ch) {
		return false
	}
	c.i++
	return true
}

func (c *checker) value(depth int) error {
	if c.i >= len(c.b) {
		return c.unexpected("where a value is expected")
	}
	switch ch := c.b[c.i]; {
	case ch == '{':
		return c.object(depth)
	case ch == '[':
		return c.array(depth)
	case ch == '"':
		_, err := c.text(false)
		return err
	case ch == '-' || isDigit(ch):
		return c.number()
	default:
		return c.word()
	}
}

func (c *checker) word() error {
	for _, w := range [...]string{"true", "false", "null"} {
		if len(c.b)-c.i >= len(w) && string(c.b[c.i:c.i+len(w)]) == w {
			c.i += len(w)
			return nil
		}
	}
	return c.unexpected("where a value is expected")
}

func (c *checker) array(depth int) error {
	if err := c.open(depth); err != nil {
		return err
	}
	for first := true; ; first = false {
		if more, err := c.item(first); err != nil || !more {
			return err
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
	}
}

func (c *checker) object(depth int) error {
	if err := c.open(depth); err != nil {
		return err
	}
	var seen names
	for first := true; ; first = false {
		name, more, err := c.member(first)
		if err != nil || !more {
			return err
		}
		if !seen.add(name) {
			return c.twice()
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
	}
}

// open reads the bracket that opens an array or object.
func (c *checker) open(depth int) error {
	if depth >= c.maxDepth && !c.lenient {
		return c.fail(fmt.Sprintf("nested deeper than %d", c.maxDepth))
	}
	c.i++
	return nil
}

// item comes to an array's next item; more is false after the last one.
func (c *checker) item(first bool) (more bool, err error) {
	c.space()
	switch {
	case c.take(']'):
		return false, nil
	case !first && !c.take(','):
		return false, c.unexpected("in an array")
	}
	c.space()
	return true, nil
}

// member comes to the value of an object's next member, and returns its name, which
// is valid as long as b is; more is false after the last one.
func (c *checker) member(first bool) (name []byte, more bool, err error) {
	c.space()
	switch {
	case c.take('}'):
		return nil, false, nil
	case !first && !c.take(','):
		return nil, false, c.unexpected("in an object")
	}
	c.space()
	name, err = c.memberName(true)
	return name, err == nil, err
}

// twice refuses the member whose name was read last.
func (c *checker) twice() error {
	return &MalformedError{Detail: "duplicate member name in an object", Offset: c.name}
}

// memberName reads a member's name and comes to its value. With want it returns the
// name.
func (c *checker) memberName(want bool) ([]byte, error) {
	if !c.next('"') {
		return nil, c.unexpected("where a member name is expected")
	}
	c.name = c.i
	name, err := c.text(want)
	if err != nil {
		return nil, err
	}
	c.space()
	if !c.take(':') {
		return nil, c.unexpected("after a member name")
	}
	c.space()
	return name, nil
}

// text reads a string from its opening quote. With want it also returns the
// unescaped content, which is valid as long as b is.
func (c *checker) text(want bool) ([]byte, error) {
	start, escaped := c.i, false
	c.i++
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; {
		case ch == '"':
			c.i++
			if !want {
				return nil, nil
			}
			return content(c.b[start:c.i], escaped), nil
		case ch == '\\':
			escaped = true
			if err := c.escape(); err != nil {
				return nil, err
			}
		case ch < ' ':
			return nil, c.fail("raw control character in a string")
		case ch < utf8.RuneSelf:
			c.i++
		default:
			r, size := utf8.DecodeRune(c.b[c.i:])
			if r == utf8.RuneError && size == 1 {
				return nil, c.fail("not UTF-8")
			}
			c.i += size
		}
	}
	return nil, c.unexpected("inside a string")
}

// content returns what a checked string, quotes included, says.
func content(quoted []byte, escaped bool) []byte {
	if !escaped {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	// A checked string always decodes; if it did not, the raw text would
	// still be compared exactly.
	if json.Unmarshal(quoted, &s) != nil {
		return quoted
	}
	return []byte(s)
}

func (c *checker) escape() error {
	if c.i+1 >= len(c.b) {
		c.i = len(c.b)
		return c.unexpected("inside a string")
	}
	switch c.b[c.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.i += 2
		return nil
	case 'u':
		return c.unicode()
	}
	return c.fail("unknown escape in a string")
}

// unicode reads \u and four digits, and for the first half of a pair also the second.
func (c *checker) unicode() error {
	u, ok := c.hex4(c.i)
	switch {
	case !ok:
		return c.fail(`\u without four hexadecimal digits`)
	case u < 0xD800 || u > 0xDFFF:
		c.i += 6
		return nil
	}
	low, ok := c.hex4(c.i + 6)
	if u > 0xDBFF || !ok || low < 0xDC00 || low > 0xDFFF {
		if c.lenient {
			c.i += 6
			return nil
		}
		return c.fail("escaped surrogate without its pair")
	}
	c.i += 12
	return nil
}

// hex4 reads \u and four hexadecimal digits at i.
func (c *checker) hex4(i int) (uint64, bool) {
	if i+6 > len(c.b) || c.b[i] != '\\' || c.b[i+1] != 'u' {
		return 0, false
	}
	for _, ch := range c.b[i+2 : i+6] {
		if !isDigit(ch) && (ch < 'a' || ch > 'f') && (ch < 'A' || ch > 'F') {
			return 0, false
		}
	}
	u, err := strconv.ParseUint(string(c.b[i+2:i+6]), 16, 32)
	return u, err == nil
}

func (c *checker) number() error {
	start := c.i
	c.take('-')
	if !c.take('0') && !c.digits() {
		return c.unexpected("in a number")
	}
	if c.take('.') && !c.digits() {
		return c.unexpected("in a number")
	}
	exponent := c.take('e') || c.take('E')
	if exponent {
		if !c.take('+') {
			c.take('-')
		}
		if !c.digits() {
			return c.unexpected("in a number")
		}
	}
	n := c.i - start
	if c.lenient {
		return nil
	}
	if n > maxNumberBytes {
		return &MalformedError{Detail: fmt.Sprintf("a number of more than %d bytes", maxNumberBytes), Offset: start}
	}
	if exponent || n > safeNumberBytes {
		f, err := strconv.ParseFloat(string(c.b[start:c.i]), 64)
		if err != nil || math.IsInf(f, 0) {
			return &MalformedError{Detail: "a number outside the range of a double", Offset: start}
		}
	}
	return nil
}

// digits consumes one digit or more.
func (c *checker) digits() bool {
	start := c.i
	for c.i < len(c.b) && isDigit(c.b[c.i]) {
		c.i++
	}
	return c.i > start
}

func isDigit(ch byte) bool { return ch >= '0' && ch <= '9' }
