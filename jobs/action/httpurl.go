package action

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	whatwgerrors "github.com/nlnwa/whatwg-url/errors"
	whatwg "github.com/nlnwa/whatwg-url/url"

	"github.com/jobcast/jobcast/jobs"
)

// What is wrong with a URL.
var (
	errNotAbsolute = errors.New("must be an absolute http or https URL")
	errNoHost      = errors.New("must name a host")
	errBadHost     = errors.New("names an invalid host")
	errEscape      = errors.New("has a % in its path without two hexadecimal digits after it")
	errControls    = errors.New("has a control character")
	errOddIPv4     = errors.New("must write an IPv4 address as four decimal numbers")
	errUserinfo    = errors.New("must not carry a user name or password; use a header")
	errPort        = errors.New("must have a port between 1 and 65535, or none")
)

// browserURL reads text as a browser does (the URL standard): blanks, quotes and
// letters beyond ASCII are encoded, a host beyond ASCII becomes Punycode,
// backslashes become slashes, dots in the path are resolved, the fragment goes.
// What comes out can stand in a request as it is.
func browserURL(text string) (*url.URL, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return nil, errControls // a browser would leave it out
	}
	text = strings.Trim(text, " ")
	scheme, rest, ok := strings.Cut(text, ":")
	scheme = strings.ToLower(scheme)
	slashes := len(rest) - len(strings.TrimLeft(rest, `/\`))
	switch {
	case !ok || (scheme != "http" && scheme != "https") || slashes < 2:
		return nil, errNotAbsolute
	case slashes > 2 || len(rest) == 2:
		return nil, errNoHost
	}
	w, err := whatwg.Parse(text)
	switch whatwgerrors.Type(err) {
	case "":
		return sendable(w)
	case whatwgerrors.PortOutOfRange, whatwgerrors.PortInvalid:
		return nil, errPort
	case whatwgerrors.HostMissing:
		return nil, errNoHost
	}
	return nil, errBadHost // with its scheme and slashes in place nothing else stops the parser
}

// browserRedirect reads the Location of an answer from base, alike.
func browserRedirect(base *url.URL, location string) (*url.URL, error) {
	w, err := whatwg.ParseRef(base.String(), strings.ToValidUTF8(location, "\uFFFD"))
	if err != nil || (w.Scheme() != "http" && w.Scheme() != "https") {
		return nil, errNotAbsolute
	}
	return sendable(w)
}

func sendable(w *whatwg.Url) (*url.URL, error) {
	w.SetPathname(strictPath(w.Pathname()))
	u, err := url.Parse(w.Href(true))
	var escape url.EscapeError
	switch {
	case errors.As(err, &escape):
		return nil, errEscape
	case err != nil: // net/url takes fewer characters in a host
		return nil, errBadHost
	case u.Opaque != "":
		return nil, errNotAbsolute
	case u.Hostname() == "":
		return nil, errNoHost
	}
	return u, nil
}

// strictPath encodes what browsers leave alone in a path and RFC 3986 does not
// allow there. Otherwise net/url would decode and encode it all anew, and %2F
// would become a slash.
func strictPath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if strings.IndexByte(`|^[]\`, c) < 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func (f *faults) url(text string) *url.URL {
	if len(text) > maxURLBytes {
		f.addf("/url", "must not be longer than %d bytes", maxURLBytes)
		return nil
	}
	u, err := browserURL(text)
	switch {
	case err != nil:
	case u.User != nil:
		err = errUserinfo
	case !validPort(u):
		err = errPort
	case oddIPv4(u.Hostname()) || respelled(text, u.Hostname()):
		err = errOddIPv4
	}
	if err != nil {
		f.once("/url", err.Error())
	}
	return u
}

// respelled reports whether host is an IPv4 address that text spells otherwise.
func respelled(text, host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil && !strings.Contains(host, ":") && !strings.Contains(text, host)
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n >= 1 && n <= 65535
}

// latin1 returns value as the bytes of one header line, as a browser sends it:
// a byte for each character, which must be one of the first 256 and no control
// (RFC 9110 section 5.5).
func latin1(value string) (string, error) {
	b := make([]byte, 0, len(value))
	for _, r := range value {
		switch {
		case (r < ' ' && r != '\t') || r == 0x7F:
			return "", errors.New("has a control character in its value")
		case r > 0xFF:
			return "", errors.New("has a character in its value that a header cannot carry (beyond U+00FF)")
		}
		b = append(b, byte(r))
	}
	return string(b), nil
}

func (f *faults) headerValue(name, value string) string {
	line, err := latin1(value)
	if err != nil {
		f.addf(jobs.PointerTo("/headers", name), "%s", err.Error())
	}
	return line
}
