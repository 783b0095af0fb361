// Package redact takes secrets out of texts: in whatever spelling JSON, HTML, URLs and base64
// give them. Parts of a secret, and what is made of it otherwise, it does not know.
package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	// redacted stands where a secret stood. It means itself in JSON, HTML and URLs.
	redacted = "***"
	// minEncoded is how much of a secret's base64 must be its own to be looked for.
	minEncoded = 8
	// minSpaced is how much of a secret without white space, or of one in a name, is looked for.
	minSpaced = 3
)

// Redactor takes secrets out of the texts that leave an attempt. The zero value, and a nil one, know none. It is
// safe for concurrent use.
type Redactor struct {
	mu      sync.Mutex // guards what follows
	secrets []secret
	longest int // bytes that a secret may have in a text, about
}

// secret is a text that must not be told.
type secret struct {
	value   string
	anchor  string    // stands in each of its spellings as it is; empty: nothing does
	spelled *spelling // nil: only the value itself is looked for
	encoded []string  // what base64 makes of it wherever it begins
}

// Add has a value be taken out of all texts from now on, and what pages make of its white
// space without meaning to. An empty one is none.
func (d *Redactor) Add(value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.know(value)
	for _, v := range spaced(value) {
		if len(v) >= minSpaced {
			d.know(v)
		}
	}
}

// spaced are the forms of a text that have other white space: fields take out line breaks,
// and what shows or reads a text the outer white space, and all but one space within.
func spaced(value string) []string {
	whole := strings.NewReplacer("\r", "", "\n", "").Replace(value)
	visible := strings.NewReplacer("\u200b", "", "\u00ad", "").Replace(value)
	ascii := func(c rune) bool { return c < utf8.RuneSelf && unicode.IsSpace(c) }
	lines := strings.ReplaceAll(value, "\r\n", "\n")
	return []string{
		whole, lines, strings.TrimSpace(whole), strings.TrimSpace(lines), strings.TrimSpace(value),
		strings.Join(strings.FieldsFunc(value, ascii), " "), strings.Join(strings.Fields(visible), " "),
	}
}

// know adds a text; d.mu is held.
func (d *Redactor) know(value string) {
	if value == "" || slices.ContainsFunc(d.secrets, func(s secret) bool { return s.value == value }) {
		return
	}
	s := secret{value: value}
	longest := len(value)
	if utf8.ValidString(value) {
		s.spelled, s.encoded = newSpelling(value), encodings(value)
		s.anchor = longestPlain(string(s.spelled.runes[:s.spelled.head]))
		longest *= len("%25ff") // of each byte
	}
	d.secrets, d.longest = append(d.secrets, s), max(d.longest, longest)
}

// Empty reports whether there are no secrets.
func (d *Redactor) Empty() bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.secrets) == 0
}

// Text returns a text without secrets.
func (d *Redactor) Text(text string) string {
	out, _ := d.Cut(text, len(text))
	return out
}

// Cut returns at most limit bytes, or about, of a text without secrets, and whether it was
// longer. What is cut at first and redacted then may end with a part of a secret.
func (d *Redactor) Cut(text string, limit int) (_ string, longer bool) {
	var secrets []secret
	var longest int
	if d != nil {
		d.mu.Lock()
		secrets, longest = d.secrets, d.longest
		d.mu.Unlock()
	}
	longer = len(text) > limit
	if longer {
		text = text[:min(len(text), limit+longest)]
	}
	var spans [][]int
	for _, s := range secrets {
		spans = append(spans, s.in(text)...)
	}
	if text = without(text, spans, limit); longer {
		text = strings.ToValidUTF8(text, "")
	}
	return text, longer
}

// without returns at most limit bytes, or about, of a text without some of its places.
func without(text string, spans [][]int, limit int) string {
	slices.SortFunc(spans, func(a, b []int) int { return a[0] - b[0] })
	var out strings.Builder
	at := 0
	for i := 0; i < len(spans) && spans[i][0] < limit; {
		begin, end := spans[i][0], spans[i][1]
		for i++; i < len(spans) && spans[i][0] < end; i++ {
			end = max(end, spans[i][1])
		}
		out.WriteString(text[at:begin])
		out.WriteString(redacted)
		at = end
	}
	if at < limit {
		out.WriteString(text[at:min(limit, len(text))])
	}
	return out.String()
}

// FileName returns a file's name as cleaned makes it, without secrets. They are taken out
// before and after that: whoever told it may have cleaned it already, and have put
// something else at its ends.
func (d *Redactor) FileName(name string, cleaned func(string) string) string {
	name = cleaned(d.Text(name))
	d.mu.Lock()
	secrets := d.secrets
	d.mu.Unlock()
	var spans [][]int
	for _, s := range secrets {
		if core := strings.Trim(cleaned(s.value), "_.-"); len(core) >= minSpaced {
			spans = literal(spans, name, core)
		}
	}
	return cleaned(without(name, spans, len(name)))
}

// Value returns JSON of which no text, name or number has a secret.
func (d *Redactor) Value(raw json.RawMessage) (json.RawMessage, error) {
	if d.Empty() {
		return raw, nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode value: %w", err)
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(d.walk(v)); err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	return json.RawMessage(strings.TrimSuffix(out.String(), "\n")), nil
}

func (d *Redactor) walk(v any) any {
	switch v := v.(type) {
	case string:
		return d.Text(v)
	case json.Number:
		if text := d.Text(string(v)); text != string(v) {
			return text
		}
	case []any:
		for i := range v {
			v[i] = d.walk(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[d.Text(name)] = d.walk(member)
		}
		return out
	}
	return v
}

// in returns where in a text the secret stands.
func (s secret) in(text string) (spans [][]int) {
	if s.spelled == nil {
		spans = literal(spans, text, s.value)
	} else if strings.Contains(text, s.anchor) {
		spans = s.spelled.in(text)
	}
	for _, e := range s.encoded {
		spans = literal(spans, text, e)
	}
	return spans
}

func literal(spans [][]int, text, value string) [][]int {
	for at := 0; ; {
		i := strings.Index(text[at:], value)
		if i < 0 {
			return spans
		}
		spans = append(spans, []int{at + i, at + i + len(value)})
		at += i + len(value)
	}
}

// plain reports whether a character stands for itself wherever it stands.
func plain(c rune) bool {
	return c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c))
}

// longestPlain returns the longest part of a text that stands for itself.
func longestPlain(value string) (longest string) {
	for _, part := range strings.FieldsFunc(value, func(c rune) bool { return !plain(c) }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}

// encodings returns what base64 makes of a text that stands in a longer one, for each place
// among three bytes where it may begin, without what its neighbours have a part in.
func encodings(value string) (all []string) {
	for shift := range 3 {
		whole := base64.StdEncoding.EncodeToString(append(make([]byte, shift), value...))
		from, to := (shift*8+5)/6, (shift+len(value))*8/6
		if to-from < minEncoded {
			continue
		}
		core := whole[from:to]
		all = append(all, core)
		if web := strings.NewReplacer("+", "-", "/", "_").Replace(core); web != core {
			all = append(all, web)
		}
	}
	return all
}
