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
}

func (e *MalformedError) Error() string {
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
	c.space()
	if c.i < len(b) {
		return c.fail("text after the JSON value")
	}
	return nil
}

// checker is a recursive descent over b; i is the next byte. Its recursion is
// bounded by maxDepth.
type checker struct {
	b        []byte
	i        int
	maxDepth int
	lenient  bool // see CheckMessage
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

func (c *checker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

// take consumes ch if it is next.
func (c *checker) take(ch byte) bool {
	if c.i < len(c.b) && c.b[c.i] == ch {
		c.i++
		return true
	}
	return false
}

func (c *checker) value(depth int) error {
	if c.i >= len(c.b) {
		return c.unexpected("where a value is expected")
	}
	switch ch := c.b[c.i]; {
	case ch == '{' || ch == '[':
		if depth >= c.maxDepth {
			return c.fail(fmt.Sprintf("nested deeper than %d", c.maxDepth))
		}
		c.i++
		if ch == '{' {
			return c.object(depth + 1)
		}
		return c.array(depth + 1)
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
	c.space()
	if c.take(']') {
		return nil
	}
	for {
		c.space()
		if err := c.value(depth); err != nil {
			return err
		}
		c.space()
		switch {
		case c.take(','):
		case c.take(']'):
			return nil
		default:
			return c.unexpected("in an array")
		}
	}
}

func (c *checker) object(depth int) error {
	c.space()
	if c.take('}') {
		return nil
	}
	var seen names
	for {
		c.space()
		if err := c.member(&seen, depth); err != nil {
			return err
		}
		c.space()
		switch {
		case c.take(','):
		case c.take('}'):
			return nil
		default:
			return c.unexpected("in an object")
		}
	}
}

// member is one member of an object.
type member struct {
	name  string
	value json.RawMessage // a part of the object's text
	known bool            // whoever decodes it has a place for it
}

// splitObject returns the members of a text that CheckJSON or CheckMessage has
// passed; false if it is no object.
func splitObject(b []byte) (all []member, ok bool) {
	c := checker{b: b, lenient: true}
	if !c.take('{') {
		return nil, false
	}
	for c.space(); !c.take('}'); c.space() {
		c.take(',')
		c.space()
		name, _ := c.name(true)
		start := c.i
		if c.skim() != nil {
			return nil, false
		}
		all = append(all, member{name: name, value: b[start:c.i]})
	}
	return all, true
}

func (c *checker) member(seen *names, depth int) error {
	start := c.i
	name, err := c.name(true)
	if err != nil {
		return err
	}
	if !seen.add(name) {
		return &MalformedError{Detail: "duplicate member name in an object", Offset: start}
	}
	return c.value(depth)
}

// name reads a member's name and comes to its value. With want it returns the name.
func (c *checker) name(want bool) (string, error) {
	if c.i >= len(c.b) || c.b[c.i] != '"' {
		return "", c.unexpected("where a member name is expected")
	}
	name, err := c.text(want)
	if err != nil {
		return "", err
	}
	c.space()
	if !c.take(':') {
		return "", c.unexpected("after a member name")
	}
	c.space()
	return name, nil
}

// text reads a string from its opening quote. With want it also returns the
// unescaped content.
func (c *checker) text(want bool) (string, error) {
	start, escaped := c.i, false
	c.i++
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; {
		case ch == '"':
			c.i++
			if !want {
				return "", nil
			}
			return content(c.b[start:c.i], escaped), nil
		case ch == '\\':
			escaped = true
			if err := c.escape(); err != nil {
				return "", err
			}
		case ch < ' ':
			return "", c.fail("raw control character in a string")
		case ch < utf8.RuneSelf:
			c.i++
		default:
			r, size := utf8.DecodeRune(c.b[c.i:])
			if r == utf8.RuneError && size == 1 {
				return "", c.fail("not UTF-8")
			}
			c.i += size
		}
	}
	return "", c.unexpected("inside a string")
}

// content returns what a checked string, quotes included, says.
func content(quoted []byte, escaped bool) string {
	if !escaped {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	// A checked string always decodes; if it did not, the raw text would
	// still be compared exactly.
	if json.Unmarshal(quoted, &s) != nil {
		return string(quoted)
	}
	return s
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
