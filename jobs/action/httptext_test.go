package action

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHTTPDecodesText(t *testing.T) {
	const meta = `<html><meta charset="iso-8859-2"><p>`
	utf16 := func(s string) string {
		var b strings.Builder
		for _, r := range s {
			b.WriteByte(byte(r >> 8))
			b.WriteByte(byte(r))
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		kind, body string
		want       excerpt
	}{
		"UTF-8":               {"text/plain; charset=utf-8", "grüß", excerpt{text: "grüß", charset: "utf-8"}},
		"Latin-1":             {"text/plain; charset=iso-8859-1", "gr\xfc\xdf 5\x80", excerpt{text: "grüß 5€", charset: "windows-1252"}},
		"Latin-2, quoted":     {`text/plain; charset="ISO-8859-2"`, "\xb1\xea", excerpt{text: "ąę", charset: "iso-8859-2"}},
		"Shift_JIS":           {"text/html; charset=shift_jis", "\x93\xfa\x96\x7b", excerpt{text: "日本", charset: "shift_jis"}},
		"GB 18030":            {"application/json; charset=gb18030", "\xc4\xe3", excerpt{text: "你", charset: "gb18030"}},
		"UTF-16 by header":    {"text/plain; charset=utf-16be", utf16("grüß"), excerpt{text: "grüß", charset: "utf-16be"}},
		"UTF-16 by its mark":  {"text/plain", "\xfe\xff" + utf16("grüß"), excerpt{text: "grüß", charset: "utf-16be"}},
		"a mark, and another": {"text/plain; charset=iso-8859-1", "\xef\xbb\xbfgrüß", excerpt{text: "grüß", charset: "utf-8"}},
		"meta":                {"text/html", meta + "\xb1", excerpt{text: meta + "ą", charset: "iso-8859-2"}},
		"meta, but no HTML":   {"application/json", `"` + meta + `ü"`, excerpt{text: `"` + meta + `ü"`, charset: "utf-8"}},
		"header before meta":  {"text/html; charset=utf-8", meta + "ü", excerpt{text: meta + "ü", charset: "utf-8"}},
		"silent, UTF-8":       {"text/plain", strings.Repeat("x", 2000) + "ü", excerpt{text: strings.Repeat("x", 2000) + "ü", charset: "utf-8"}},
		"silent, something":   {"text/plain", "gr\xfc\xdf", excerpt{text: "grüß", charset: "windows-1252"}},
		"silent HTML":         {"text/html", "<p>gr\xfc\xdf", excerpt{text: "<p>grüß", charset: "windows-1252"}},
		"broken UTF-8":        {"text/plain; charset=utf-8", "gr\xfc\xdf!", excerpt{text: "gr\uFFFD!", charset: "utf-8", lossy: true}},
		"sent as U+FFFD":      {"text/plain; charset=utf-8", "\uFFFD", excerpt{text: "\uFFFD", charset: "utf-8"}},
		"broken Shift_JIS":    {"text/plain; charset=shift_jis", "a\x93", excerpt{text: "a\uFFFD", charset: "shift_jis", lossy: true}},
		"broken JSON":         {"application/json", "\"\xfc\"", excerpt{text: "\"\uFFFD\"", charset: "utf-8", lossy: true}},
		"binary":              {"image/png", "\x89PNG\x00", excerpt{text: "\uFFFDPNG\x00", charset: "utf-8", lossy: true}},
		"unknown charset":     {"text/plain; charset=klingon", "ok", excerpt{text: "ok", charset: "utf-8"}},
		"no type":             {"", "gr\xfc", excerpt{text: "gr\uFFFD", charset: "utf-8", lossy: true}},
		"nothing":             {"text/plain", "", excerpt{charset: "utf-8"}},
		"where meta ends": {"text/plain", strings.Repeat("x", sniffed-2) + "€",
			excerpt{text: strings.Repeat("x", sniffed-2) + "€", charset: "utf-8"}},
		"grows": {"text/plain; charset=iso-8859-1", strings.Repeat("\xfc", maxExcerpt),
			excerpt{text: strings.Repeat("ü", maxExcerpt/2), truncated: true, charset: "windows-1252"}},
		"shrinks": {"text/plain; charset=utf-16be", utf16(strings.Repeat("x", maxExcerpt)),
			excerpt{text: strings.Repeat("x", maxExcerpt), charset: "utf-16be"}},
		"cut inside": {"text/plain; charset=shift_jis", "x" + strings.Repeat("\x93\xfa", maxHead),
			excerpt{text: "x" + strings.Repeat("日", (maxExcerpt-1)/3), truncated: true, charset: "shift_jis"}},
	} {
		t.Run(name, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.kind}
				_, _ = w.Write([]byte(c.body))
			})
			m, e := run(t, `{"type":"http","url":%q}`, base)
			if e != nil {
				t.Fatal(e)
			}
			text, _ := m["body"].(string)
			name, _ := m["charset"].(string)
			got := excerpt{text, m["bodyTruncated"] == true, name, m["bodyLossy"] == true}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(excerpt{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// Header fields that are no lists are not joined, and letters are not lost.
func TestHTTPHeadersOfResults(t *testing.T) {
	got := resultHeaders(http.Header{
		"Set-Cookie": {"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"}, "Vary": {"Accept", "Origin"},
		"Expires": {"Wed, 21 Oct 2026 07:28:00 GMT", "0"}, "Etag": {`"x"`}, "X-Latin": {"gr\xfc\xdf"}, "X-Utf8": {"grüß"},
	}, nil)
	want := map[string]any{
		"set-cookie": []string{"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"}, "vary": "Accept, Origin",
		"expires": []string{"Wed, 21 Oct 2026 07:28:00 GMT", "0"}, "etag": `"x"`, "x-latin": "grüß", "x-utf8": "grüß",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	one := resultHeaders(http.Header{"Set-Cookie": {"a=1"}}, nil)
	if d := cmp.Diff(map[string]any{"set-cookie": []string{"a=1"}}, one); d != "" {
		t.Error(d)
	}
	many := make([]string, 10_000)
	if got := resultHeaders(http.Header{"Set-Cookie": many, "X": {"y"}}, nil); len(got) != 0 {
		t.Errorf("%d headers of %d empty cookies", len(got), len(many))
	}
}
