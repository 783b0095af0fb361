package action

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// maxResultHeaders caps the names and values kept of a response, in bytes.
const maxResultHeaders = 8 << 10

// httpResult is the result of an http action.
type httpResult struct {
	Type          string            `json:"type"`
	Status        int               `json:"status"`
	Headers       map[string]string `json:"headers"` // lower-case names; of several values, all
	Body          string            `json:"body"`    // at most 4 KiB, UTF-8
	BodyTruncated bool              `json:"bodyTruncated"`
	Artifact      *string           `json:"artifact"` // name of the one that holds the whole body; null: none
}

// Shorten implements jobs.Shortener: it cuts the body, and drops the headers
// if that is not enough.
func (r httpResult) Shorten(maxBytes int) any {
	body := r.Body
	r.Body, r.BodyTruncated = "", r.BodyTruncated || body != ""
	if encodedLen(r) > maxBytes {
		r.Headers = map[string]string{}
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

// excerpt makes at most maxExcerpt bytes of UTF-8 of the head of a body, which
// has one byte more than that if the body goes on. Bytes that are no UTF-8
// become U+FFFD.
func excerpt(head []byte) (text string, truncated bool) {
	truncated = len(head) > maxExcerpt
	if truncated {
		// A character that the limit splits is left out, not called broken.
		head = head[:maxExcerpt]
		for i := 1; i < utf8.UTFMax && i <= len(head); i++ {
			if utf8.RuneStart(head[len(head)-i]) {
				if !utf8.FullRune(head[len(head)-i:]) {
					head = head[:len(head)-i]
				}
				break
			}
		}
	}
	text = strings.ToValidUTF8(string(head), "\uFFFD")
	short := cut(text, maxExcerpt)
	return short, truncated || len(short) < len(text)
}

// resultHeaders keeps the headers of a response, in the order of their names,
// as far as maxResultHeaders goes.
func resultHeaders(h http.Header) map[string]string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	kept, room := make(map[string]string, len(names)), maxResultHeaders
	for _, name := range names {
		value := strings.ToValidUTF8(strings.Join(h[name], ", "), "\uFFFD")
		if room -= len(name) + len(value); room < 0 {
			break
		}
		kept[strings.ToLower(name)] = value
	}
	return kept
}
