package redact

import (
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"pgregory.net/rapid"
)

// Whichever of its characters are written in whichever way, a secret is taken out whole.
func TestSpelling(t *testing.T) {
	t.Parallel()
	escapes := map[rune]string{'\n': "n", '"': `"`, '/': "/"}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringOfN(rapid.RuneFrom([]rune("ab25un;#\\\"&%+/é😀 \n")), 3, 100, -1).Draw(t, "value")
		slashes := func() string { return strings.Repeat(`\`, rapid.IntRange(1, 4).Draw(t, "backslashes")) }
		var text strings.Builder
		for _, c := range value {
			units := ""
			for _, u := range utf16.Encode([]rune{c}) {
				units += fmt.Sprintf("%su%04X", slashes(), u)
			}
			ways := []string{
				string(c), html.EscapeString(string(c)), fmt.Sprintf("&#%d;", c), fmt.Sprintf("&#x%x;", c), units,
				url.PathEscape(string(c)), url.QueryEscape(string(c)), url.QueryEscape(url.QueryEscape(string(c))),
			}
			if name, ok := escapes[c]; ok {
				ways = append(ways, slashes()+name)
			}
			if c == '\\' {
				ways = append(ways, slashes())
			}
			if plain(c) {
				ways = ways[:1]
			}
			text.WriteString(rapid.SampledFrom(ways).Draw(t, "way"))
		}
		var d Redactor
		d.Add(value)
		if got := d.Text("<" + text.String() + ">"); got != "<***>" {
			t.Errorf("%q of %q became %q", value, text.String(), got)
		}
	})
}

// No text of a page takes long, whatever it repeats of a secret. The beginning of a long one
// is taken out too.
func TestSpellingTime(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{strings.Repeat("é", 2048), strings.Repeat("é", 2047) + "x"}, {strings.Repeat(`\`, 4096), `\`}, {strings.Repeat(`\a`, 2048), `\a`},
		{strings.Repeat("%", 4096), "%25"}, {strings.Repeat("&amp;", 800), "&amp;amp;"}, {strings.Repeat("é", 60), strings.Repeat("é", 59) + "x"},
	} {
		var d Redactor
		d.Add(c[0])
		text := strings.Repeat(c[1], 1+(1<<20)/len(c[1]))
		begun := time.Now()
		got := d.Text(text)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%.12q in %.12q took %v", c[0], c[1], took)
		}
		if short := len(c[0]) < 2*headRunes; short != (got == text) {
			t.Errorf("%.12q in %.12q: %.40q", c[0], c[1], got)
		}
	}
}
