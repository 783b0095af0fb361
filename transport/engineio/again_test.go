package engineio

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A poll is the same one again exactly if it differs in nothing but the value of t.
func TestPatterns(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: x\r\nX: /?t=1\r\n\r\n"
	for _, tc := range []struct {
		first, next string
		same        bool
	}{
		{"GET /?t=abc&sid=1" + head, "GET /?t=abc&sid=1" + head, true},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abd&sid=1" + head, true},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abcdef.0-_&sid=1" + head, true},
		{"GET /?t=abc&sid=1" + head, "GET /?t=&sid=1" + head, true},
		{"GET /?sid=1&t=abc" + head, "GET /?sid=1&t=x" + head, true},
		{"GET /?sid=1" + head, "GET /?sid=1" + head, true},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abc&sid=2" + head, false},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abc&sid=11" + head, false},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abc&x=1&sid=1" + head, false},
		{"GET /?t=abc&sid=1" + head, "GET /?t=a%20bc&sid=1" + head, false},
		{"GET /?t=abc&sid=1" + head, "POST /?t=abc&sid=1" + head, false},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abc&sid=1" + head + "GET", false},
		{"GET /?t=abc&sid=1" + head, "GET /?t=abc&sid=1 HTTP/1.1\r\nHost: x\r\nX: /?t=2\r\n\r\n", false},
		{"GET /?sid=1" + head, "GET /?sid=1 HTTP/1.1\r\nHost: x\r\nX: /?t=2\r\n\r\n", false},
		{"GET /?t=abc&sid=1" + head, "GET /?t=", false},
		{"GET /?t=abc&sid=1" + head, "", false},
		{"", "", false},
		{"", "GET /?t=abc&sid=1" + head, false},
	} {
		p := patternOf([]byte(tc.first))
		if p.matches([]byte(tc.next)) != tc.same {
			t.Errorf("%q after %q: same is %v", tc.next, tc.first, !tc.same)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[a-zA-Z0-9?&=. \r\n%]{0,12}`)
		value := rapid.StringMatching(`[a-zA-Z0-9._-]{0,8}`)
		before, after := strings.NewReplacer("?t=", "", "&t=", "").Replace(part.Draw(t, "before")), part.Draw(t, "after")
		before = strings.ReplaceAll(before, "\n", "") + "&t="
		after = string(afterValue([]byte(after)))
		p := patternOf([]byte(before + value.Draw(t, "first") + after))
		if next := before + value.Draw(t, "next") + after; !p.matches([]byte(next)) {
			t.Fatalf("%q is not the same", next)
		}
		other := part.Draw(t, "other")
		if other != after && string(afterValue([]byte(other))) == other && // else it is a part of the value
			p.matches([]byte(before+value.Draw(t, "third")+other)) {
			t.Fatalf("%q is the same although %q follows", other, after)
		}
	})
}
