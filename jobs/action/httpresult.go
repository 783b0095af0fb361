package action

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jobcast/jobcast/jobs/redact"
)

// maxResultHeaders caps the names and values kept of a response, in bytes.
const maxResultHeaders = 8 << 10

// httpResult is the result of an http action.
type httpResult struct {
	Type          string         `json:"type"`
	Status        int            `json:"status"`
	Headers       map[string]any `json:"headers"` // lower-case names; see resultHeaders
	Body          string         `json:"body"`    // at most 4 KiB, UTF-8
	BodyTruncated bool           `json:"bodyTruncated"`
	Charset       string         `json:"charset"`   // by which the body was read
	BodyLossy     bool           `json:"bodyLossy"` // what could not be decoded is U+FFFD
	Artifact      *string        `json:"artifact"`  // name of the one that holds the whole body; null: none

	retryAfter time.Duration // when to ask again; 0: not said
}

// retryAfter returns what a Retry-After says (RFC 9110 section 10.2.3): seconds, or
// a time, which is taken by the clock of whoever named it. 0: nothing of use.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text != "" && strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil { // too large a number
			n = math.MaxInt32
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(at.Sub(now), 0)
}

// Shorten implements jobs.Shortener: it cuts the body, and drops the headers
// if that is not enough.
func (r httpResult) Shorten(maxBytes int) any {
	body := r.Body
	r.Body, r.BodyTruncated = "", r.BodyTruncated || body != ""
	if encodedLen(r) > maxBytes {
		r.Headers = map[string]any{}
	}
	room := maxBytes - encodedLen(r)
	// The largest cut whose encoding, without its quotes, fits.
	n := sort.Search(len(body), func(n int) bool { return encodedLen(cut(body, n+1))-2 > room })
	r.Body = cut(body, n)
	return r
}

// encodedLen returns how many bytes of JSON v takes, HTML characters unescaped.
func encodedLen(v any) int {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil { // neither a string nor a httpResult can fail
		return 0
	}
	return b.Len() - len("\n")
}

// cut returns the longest prefix of s of at most n bytes that does not end
// inside a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// resultHeaders keeps the headers of a response, in the order of their names,
// as far as maxResultHeaders goes. The value is a string; of set-cookie always,
// and of a header that must not be joined if it came several times, a list.
func resultHeaders(h http.Header, secrets *redact.Redactor) map[string]any {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	kept, room := make(map[string]any, len(names)), maxResultHeaders
	for _, name := range names {
		lines := make([]string, len(h[name]))
		room -= len(name)
		for i, line := range h[name] {
			lines[i] = secrets.Text(headerText(line))
			room -= len(lines[i]) + len(", ")
		}
		if room < 0 {
			break
		}
		name = secrets.Text(strings.ToLower(name))
		if name == "set-cookie" || (len(lines) > 1 && single(name)) {
			kept[name] = lines
		} else {
			kept[name] = strings.Join(lines, ", ")
		}
	}
	return kept
}

// withText adds the beginning of the body.
func (r httpResult) withText(head []byte, contentType string, secrets *redact.Redactor) httpResult {
	e := excerptOf(head, contentType, secrets)
	r.Body, r.BodyTruncated, r.Charset, r.BodyLossy = e.text, e.truncated, e.charset, e.lossy
	return r
}
