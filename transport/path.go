package transport

import (
	"bytes"
	"slices"

	"github.com/valyala/fasthttp"
)

// PlainTarget returns a request target whose path is spelled in one way: what
// needs no percent-encoding has none (RFC 3986 6.2.2.2). Nothing else is decoded,
// so that `%2F` separates nothing and `%252D` stays what it is; all that a path
// here is made of needs none. The query is left as it is. The result may be target
// itself.
func PlainTarget(target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte("?"))
	if bytes.IndexByte(path, '%') < 0 {
		return target
	}
	plain := make([]byte, 0, len(target))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if b := unhex(path[i+1])<<4 | unhex(path[i+2]); unreserved(b) && unhex(path[i+1])|unhex(path[i+2]) < 16 {
				plain = append(plain, b)
				i += 2
				continue
			}
		}
		plain = append(plain, path[i])
	}
	return append(plain, target[len(path):]...)
}

// unhex returns the value of a hexadecimal digit, or 16 for any other byte.
func unhex(b byte) byte {
	switch {
	case b >= '0' && b <= '9':
		return b - '0'
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10
	}
	return 16
}

// unreserved reports whether b stands for itself in every part of a URI (RFC 3986 2.3).
func unreserved(b byte) bool {
	switch b {
	case '-', '.', '_', '~':
		return true
	}
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// plainTarget gives the request the one spelling of its path, before anything is
// routed by it.
func plainTarget(rc *fasthttp.RequestCtx) {
	raw := rc.Request.Header.RequestURI()
	if plain := PlainTarget(raw); len(plain) != len(raw) {
		rc.Request.SetRequestURIBytes(plain)
	}
}

// Based returns a request's target without the base path that its path begins with, and
// any other as it is: some proxies take the base path away themselves, and probes come
// past them.
func Based(base string, target []byte) []byte {
	plain := PlainTarget(target)
	at := pathAt(plain)
	rest, ok := bytes.CutPrefix(plain[at:], []byte(base))
	if base == "" || !ok || len(rest) == 0 || rest[0] != '/' {
		return target
	}
	if at > 0 {
		return slices.Concat(plain[:at], rest)
	}
	return rest
}

// pathAt returns where the path of a target begins: at its start, or behind the
// authority of the absolute form (RFC 9112 3.2.2).
func pathAt(target []byte) int {
	const mark = "://"
	scheme := bytes.Index(target, []byte(mark))
	if len(target) == 0 || target[0] == '/' || scheme < 0 {
		return 0
	}
	return len(target) - len(bytes.TrimLeftFunc(target[scheme+len(mark):], func(r rune) bool { return r != '/' && r != '?' }))
}
