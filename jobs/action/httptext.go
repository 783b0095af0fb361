package action

import (
	"errors"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/jobcast/jobcast/jobs/redact"
)

const (
	// maxHead is how much of a body the excerpt is made of: UTF-16 needs two bytes
	// for what may be one.
	maxHead = 2 * maxExcerpt
	// sniffed is how far a body is searched for <meta charset>.
	sniffed = 1000
)

const utf8Name = "utf-8"

// excerpt is the beginning of a body as text.
type excerpt struct {
	text      string // UTF-8, at most maxExcerpt bytes
	truncated bool   // the body has more
	charset   string // by which it was read, e.g. "utf-8"
	lossy     bool   // some of it could not be decoded, and is U+FFFD in text
}

// headOf is how much of a body is looked at: a secret that begins in the excerpt may end
// behind it. Of a longer one the beginning is known.
func headOf(secrets *redact.Redactor) int64 {
	if secrets.Empty() {
		return maxHead
	}
	return 4 * maxHead
}

// excerptOf reads the head of a body, which has more than headOf bytes if the
// body goes on.
func excerptOf(head []byte, contentType string, secrets *redact.Redactor) excerpt {
	most := int(headOf(secrets))
	e := excerpt{truncated: len(head) > most}
	if e.truncated {
		head = head[:most]
	}
	var from encoding.Encoding
	from, e.charset = encodingOf(head, contentType)
	whole := decodeText(from, head, most/2, !e.truncated)
	if from == unicode.UTF8 { // where U+FFFD may have been sent
		e.lossy = !utf8.Valid(wholeRunes(head, e.truncated))
	} else {
		e.lossy = strings.Contains(whole, "\uFFFD")
	}
	text, longer := secrets.Cut(whole, maxExcerpt)
	e.text = cut(text, maxExcerpt)
	e.truncated = e.truncated || longer || len(e.text) < len(text)
	return e
}

// encodingOf says how a body is written: by its byte order mark, the header, in
// HTML by a <meta>, and else as browsers guess: text that is no UTF-8 is
// windows-1252. Everything else is UTF-8, as JSON is.
func encodingOf(head []byte, contentType string) (encoding.Encoding, string) {
	// A letter behind what is looked at makes the library tell UTF-8 from nothing.
	probe := slices.Concat(wholeRunes(head[:min(len(head), sniffed)], true), []byte("ü"))
	found, name, certain := charset.DetermineEncoding(probe, contentType)
	media, _, _ := mime.ParseMediaType(contentType)
	html := media == "text/html" || media == "application/xhtml+xml"
	switch {
	case name == utf8Name && certain:
	case certain || (html && name != utf8Name):
		return found, name
	case strings.HasPrefix(media, "text/") && !html && !utf8.Valid(wholeRunes(head, true)):
		return charset.Lookup("windows-1252")
	}
	return unicode.UTF8, utf8Name
}

// wholeRunes returns b without a character that its end cuts, if it may cut one.
func wholeRunes(b []byte, cuts bool) []byte {
	for i := 1; cuts && i < utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// decodeText returns src as UTF-8 without a byte order mark, or about as much as most bytes of it.
// Unless it is whole, a
// character that its end cuts is left out.
func decodeText(from encoding.Encoding, src []byte, most int, whole bool) string {
	if from == unicode.UTF8 {
		text := strings.ToValidUTF8(string(wholeRunes(src, !whole)), "\uFFFD")
		return strings.TrimPrefix(text, "\uFEFF")
	}
	var out strings.Builder
	dec, dst := from.NewDecoder(), make([]byte, maxExcerpt)
	for len(src) > 0 && out.Len() <= most {
		wrote, read, err := dec.Transform(dst, src, whole)
		out.Write(dst[:wrote])
		src = src[read:]
		if !errors.Is(err, transform.ErrShortDst) {
			break
		}
	}
	return strings.TrimPrefix(out.String(), "\uFEFF")
}

// headerText returns a header's value as text. Letters beyond ASCII are UTF-8 as
// most write them, or else ISO-8859-1, as HTTP once had it.
func headerText(value string) string {
	if utf8.ValidString(value) {
		return value
	}
	runes := make([]rune, len(value))
	for i := range len(value) {
		runes[i] = rune(value[i])
	}
	return string(runes)
}

// single reports whether a header is no list, so that lines of it must not be
// joined (RFC 9110 section 5.3). The name is in lower case.
func single(name string) bool {
	switch name {
	case "set-cookie", "age", "content-disposition", "content-length", "content-location", "content-range",
		"content-type", "date", "etag", "expires", "last-modified", "location", "refresh", "retry-after",
		"server", "strict-transport-security":
		return true
	}
	return false
}
