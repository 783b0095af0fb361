package redact

import (
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// headRunes is how much of a secret's beginning is a secret too, if it is longer: one
	// word has a bit for each.
	headRunes = 64
	// maxEscapes bounds the backslashes in the middle of a character: JSON in JSON, six times.
	maxEscapes = 64
	maxEntity  = 20 // characters between & and ;
)

// spelling finds a text in which each character may be written as JSON, HTML or a URL would
// have it, or as it is: who makes a URL of a text chooses which of its characters are
// escaped. It takes as long as the text that it is looked for in, whatever stands there.
type spelling struct {
	runes []rune
	head  int             // so many of them are looked for
	at    map[rune]uint64 // where in the head a character stands, as bits
}

func newSpelling(value string) *spelling {
	s := &spelling{runes: []rune(value), at: make(map[rune]uint64)}
	s.head = min(len(s.runes), headRunes)
	for i, c := range s.runes[:s.head] {
		s.at[c] |= 1 << i
	}
	return s
}

// in returns where the text stands in another, or its beginning if that is long enough. Of
// those that overlap it returns the first.
func (s *spelling) in(text string) (spans [][]int) {
	// Bit i of follows[at]: what is left of the head after i characters stands at this place.
	follows, r := make([]uint64, len(text)+1), reader{text: text}
	var some [8]sign
	for at := len(text) - 1; at >= 0; at-- {
		for _, c := range r.read(some[:0], at) {
			if here := s.at[c.is]; here != 0 {
				follows[at] |= here & (follows[c.end]>>1 | 1<<(s.head-1))
			}
		}
	}
	for at := 0; at < len(text); at++ {
		if follows[at]&1 != 0 {
			end := s.end(text, at)
			spans = append(spans, []int{at, end})
			at = end - 1
		}
	}
	return spans
}

// end returns where the text, or as much of it as stands at a place, ends.
func (s *spelling) end(text string, at int) (end int) {
	var some [8]sign
	r := reader{text: text}
	places, next := []int{at}, []int(nil)
	for _, c := range s.runes {
		next = next[:0]
		for _, p := range places {
			for _, x := range r.read(some[:0], p) {
				if x.is == c && !slices.Contains(next, x.end) {
					next = append(next, x.end)
				}
			}
		}
		if len(next) == 0 {
			break
		}
		places, next, end = next, places, slices.Max(next)
	}
	return end
}

// sign is a way to read what stands at a place: as a character, which ends there.
type sign struct {
	is  rune
	end int
}

// reader reads a text. It remembers the run of backslashes that it was in last, because
// there may be nothing else in the text.
type reader struct {
	text     string
	from, to int
}

// read adds all ways to read what stands at a place.
func (r *reader) read(all []sign, at int) []sign {
	if at >= len(r.text) {
		return all
	}
	c, size := utf8.DecodeRuneInString(r.text[at:])
	all = append(all, sign{c, at + size})
	switch c {
	case '+':
		all = append(all, sign{' ', at + 1})
	case '\\':
		all = r.escaped(all, at)
	case '%':
		all = percented(all, r.text, at)
	case '&':
		all = entity(all, r.text, at)
	}
	return all
}

// escaped reads what JSON and JavaScript write with backslashes: more of them, where it
// stands in a text of theirs once more.
func (r *reader) escaped(all []sign, at int) []sign {
	run := r.run(at)
	for end := max(run-1, at+2); end <= run; end++ { // the last one may begin what follows
		all = append(all, sign{'\\', end})
	}
	if run == len(r.text) {
		return all
	}
	if i := strings.IndexByte(`nrtbf"/'`, r.text[run]); i >= 0 {
		all = append(all, sign{rune("\n\r\t\b\f\"/'"[i]), run + 1})
	}
	c, end, ok := unit(r.text, run)
	if ok && utf16.IsSurrogate(c) {
		next := end
		for next < len(r.text) && r.text[next] == '\\' && next-end < maxEscapes {
			next++
		}
		low, last, _ := unit(r.text, next)
		c, end, ok = utf16.DecodeRune(c, low), last, next > end
		ok = ok && c != utf8.RuneError
	}
	if ok {
		all = append(all, sign{c, end})
	}
	return all
}

// run returns the end of the run of backslashes that a place is in.
func (r *reader) run(at int) int {
	switch {
	case r.from <= at && at < r.to:
	case at+1 == r.from && r.from < r.to:
		r.from = at
	default:
		r.from, r.to = at, at+1
		for r.to < len(r.text) && r.text[r.to] == '\\' {
			r.to++
		}
	}
	return r.to
}

// unit reads a unit of UTF-16 as u00e4.
func unit(text string, at int) (c rune, end int, ok bool) {
	if end = at + len("u00e4"); end > len(text) || text[at] != 'u' {
		return 0, at, false
	}
	c, ok = codeOf(text[at+1:end], 16)
	return c, end, ok
}

// percented reads what URLs write with percent signs, once or twice.
func percented(all []sign, text string, at int) []sign {
	for _, prefix := range []string{"%", "%25"} {
		first, end, ok := octet(text, at, prefix)
		bytes := []byte{byte(first)}
		for ok && !utf8.FullRune(bytes) {
			var more rune
			from := end
			if more, end, ok = octet(text, from, "%"); more == '%' {
				more, end, ok = octet(text, from, "%25")
			}
			bytes = append(bytes, byte(more))
		}
		c, size := utf8.DecodeRune(bytes)
		if !ok || size != len(bytes) || c == utf8.RuneError {
			continue
		}
		all = append(all, sign{c, end})
		if c == '+' {
			all = append(all, sign{' ', end})
		}
	}
	return all
}

// octet reads a byte as %e4.
func octet(text string, at int, prefix string) (b rune, end int, ok bool) {
	if end = at + len(prefix) + 2; end > len(text) || text[at:end-2] != prefix {
		return 0, at, false
	}
	b, ok = codeOf(text[end-2:end], 16)
	return b, end, ok
}

// entities are those that HTML is written with.
var entities = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\'', "nbsp": '\u00a0'}

// entity reads what HTML writes with ampersands.
func entity(all []sign, text string, at int) []sign {
	name, _, ok := strings.Cut(text[at+1:min(len(text), at+2+maxEntity)], ";")
	c, known := entities[name]
	if digits, is := strings.CutPrefix(name, "#"); is {
		if hex := strings.TrimLeft(digits, "xX"); len(hex) < len(digits) {
			c, known = codeOf(hex, 16)
		} else {
			c, known = codeOf(digits, 10)
		}
	}
	if ok && known {
		all = append(all, sign{c, at + 1 + len(name) + 1})
	}
	return all
}

// codeOf reads a character's number.
func codeOf(digits string, base rune) (n rune, ok bool) {
	for _, c := range []byte(digits) {
		d := base
		switch {
		case '0' <= c && c <= '9':
			d = rune(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			d = rune(c|0x20-'a') + 10
		}
		if n = n*base + d; d >= base || n > utf8.MaxRune {
			return 0, false
		}
	}
	return n, digits != ""
}
