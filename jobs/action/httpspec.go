package action

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/jobcast/jobcast/jobs"
)

// Caps on what an http action may send, beside the body, which the size of a
// submit bounds.
const (
	maxURLBytes       = 8 << 10
	maxHeaders        = 64
	maxHeaderBytes    = 16 << 10 // names and values together
	maxExpectedStatus = 100
)

// httpSpec is an http action as it stands in a job.
type httpSpec struct {
	Type         string            `json:"type"`
	Method       *string           `json:"method"`
	URL          string            `json:"url"`
	Headers      map[string]string `json:"headers"`
	Body         json.RawMessage   `json:"body"`
	ExpectStatus json.RawMessage   `json:"expectStatus"`
	SaveAs       *string           `json:"saveAs"`
}

// httpCall is a validated httpSpec.
type httpCall struct {
	method string
	url    *url.URL
	header http.Header
	body   string
	expect []int  // empty: 200..399
	saveAs string // name of the artifact that the body becomes; empty: none
}

// expects reports whether status is what the action hopes for.
func (c httpCall) expects(status int) bool {
	if len(c.expect) == 0 {
		return status >= 200 && status <= 399
	}
	return slices.Contains(c.expect, status)
}

func parseHTTP(raw json.RawMessage) (httpCall, faults) {
	var s httpSpec
	f := decode(raw, &s)
	c := httpCall{method: http.MethodGet, header: http.Header{}}
	if s.Method != nil {
		c.method = *s.Method
	}
	switch c.method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		f.once("/method", "must be GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")
	}
	c.url = f.url(s.URL)
	f.headers(c.header, s.Headers)
	f.body(&c, s.Body)
	c.expect = f.expectStatus(s.ExpectStatus)
	if s.SaveAs != nil {
		if c.saveAs = *s.SaveAs; !jobs.ValidArtifactName(c.saveAs) {
			f.once("/saveAs", "must be 1 to 128 characters of A-Z, a-z, 0-9, dot, underscore and hyphen")
		}
	}
	return c, f
}

// once adds a fault unless the pointer has one.
func (f *faults) once(pointer, detail string) {
	if !slices.ContainsFunc(*f, func(e jobs.FieldError) bool { return e.Pointer == pointer }) {
		f.addf(pointer, "%s", detail)
	}
}

// reserved reports whether a header belongs to the connection, or is computed
// from the rest of the request, so that setting it could split or misdirect
// the request (RFC 9110 section 7.6.1).
func reserved(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// validName reports whether name is a token (RFC 9110 section 5.6.2).
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := (c|0x20) >= 'a' && (c|0x20) <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

func (f *faults) headers(dst http.Header, in map[string]string) {
	size := 0
	for name, value := range in {
		size += len(name) + len(value)
	}
	if len(in) > maxHeaders || size > maxHeaderBytes {
		f.addf("/headers", "must be at most %d headers of %d bytes together", maxHeaders, maxHeaderBytes)
		return
	}
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at, key := jobs.PointerTo("/headers", name), http.CanonicalHeaderKey(name)
		switch {
		case !validName(name):
			f.addf(at, "is not the name of a header")
		case reserved(key):
			f.addf(at, "is set by the server itself")
		case dst[key] != nil:
			f.addf(at, "stands twice, in another case")
		default:
			dst.Set(key, f.headerValue(name, in[name]))
		}
	}
}

// body takes a string as it is and sends any other JSON as JSON.
func (f *faults) body(c *httpCall, raw json.RawMessage) {
	switch {
	case raw == nil || string(raw) == "null":
	case raw[0] == '"':
		c.body, _ = jobs.Text(raw)
	default:
		c.body = string(raw)
		if c.header["Content-Type"] == nil {
			c.header.Set("Content-Type", "application/json")
		}
	}
}

func (f *faults) expectStatus(raw json.RawMessage) []int {
	if raw == nil || string(raw) == "null" {
		return nil
	}
	var list []int
	var one int
	if json.Unmarshal(raw, &one) == nil {
		list = []int{one}
	} else if json.Unmarshal(raw, &list) != nil || len(list) == 0 || len(list) > maxExpectedStatus {
		f.addf("/expectStatus", "must be a status, or a list of 1 to %d", maxExpectedStatus)
		return nil
	}
	for _, s := range list {
		if s < 200 || s > 599 {
			f.addf("/expectStatus", "must be between 200 and 599")
			return nil
		}
	}
	return list
}
