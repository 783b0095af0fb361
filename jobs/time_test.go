package jobs

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-01T05:00:00Z":                     "2026-01-01T05:00:00Z",
		"2026-01-01t05:00:00z":                     "2026-01-01T05:00:00Z",
		"2026-01-01T05:00:00+23:59":                "2025-12-31T05:01:00Z",
		"2026-01-01T05:00:00-23:59":                "2026-01-02T04:59:00Z",
		"2026-01-01T05:00:00-00:00":                "2026-01-01T05:00:00Z",
		"2026-01-01T05:00:00.1Z":                   "2026-01-01T05:00:00.1Z",
		"2026-01-01T05:00:00.123456789987Z":        "2026-01-01T05:00:00.123456789Z",
		"2024-02-29T23:59:59Z":                     "2024-02-29T23:59:59Z",
		"0000-01-01T00:00:00Z":                     "0000-01-01T00:00:00Z",
		"2016-12-31T23:59:60Z":                     "2017-01-01T00:00:00Z",
		"2016-12-31T15:59:60.5-08:00":              "2017-01-01T00:00:00.5Z",
		"2017-01-01T08:59:60+09:00":                "2017-01-01T00:00:00Z",
		"2016-12-31T23:59:60+01:00":                "", // not the last minute of a month in UTC
		"2016-12-30T23:59:60Z":                     "",
		"2016-12-31T23:58:60Z":                     "",
		"2026-01-01T05:00:61Z":                     "",
		"2026-01-01T05:00:00+24:00":                "",
		"2026-01-01T05:00:00+23:60":                "",
		"2026-01-01T05:00:00+0100":                 "",
		"2026-01-01T05:00:00+01":                   "",
		"2026-01-01T05:00:00":                      "",
		"2026-01-01 05:00:00Z":                     "",
		"2026-01-01T05:00:00,5Z":                   "",
		"2026-01-01T05:00:00.Z":                    "",
		"2026-01-01T24:00:00Z":                     "",
		"2026-01-01T05:60:00Z":                     "",
		"2026-01-01T5:00:00Z":                      "",
		"2026-02-29T05:00:00Z":                     "",
		"2026-04-31T05:00:00Z":                     "",
		"2026-00-01T05:00:00Z":                     "",
		"2026-13-01T05:00:00Z":                     "",
		"2026-01-00T05:00:00Z":                     "",
		"+2026-01-01T05:00:00Z":                    "",
		"12026-01-01T05:00:00Z":                    "",
		"2026-01-01T05:00:00Z ":                    "",
		" 2026-01-01T05:00:00Z":                    "",
		"2026-01-01T05:00:00ZZ":                    "",
		"2026-01-01T05:00:00Z+00:00":               "",
		"２026-01-01T05:00:00Z":                     "",
		"":                                         "",
		"2026-01-01T05:00:00\u2212" + "01:00":      "",
		"2026-01-01T05:00:0" + "\x00Z":             "",
		"2026-01-01T05:00:00." + nines(1000):       "",
		"2026-01-01T05:00:00." + nines(1000) + "Z": "2026-01-01T05:00:00.999999999Z",
	} {
		got, err := ParseTime(text)
		switch {
		case (err == nil) != (want != ""):
			t.Errorf("%.60q: %v, %v", text, got, err)
		case err == nil && got.Format(time.RFC3339Nano) != want:
			t.Errorf("%.60q is %s, want %s", text, got.Format(time.RFC3339Nano), want)
		}
	}
}

func nines(n int) string { return strings.Repeat("9", n) }

// dateTime is the grammar of RFC 3339 5.6, with its ranges but for the days of months.
var dateTime = regexp.MustCompile(`^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// FuzzParseTime: what is taken is in the grammar, and what is in the grammar is taken,
// for what the standard library says it is.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-01-01T05:00:00Z", "2026-02-30t23:59:60.5z", "2024-02-29T05:00:00.123+23:59", "2026-01-01T05:00:00+24:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		if !dateTime.MatchString(s) {
			if err == nil {
				t.Fatalf("%q is taken for %v", s, got)
			}
			return
		}
		leap := s[17:19] == "60"
		plain := s[:10] + "T" + s[11:]
		if leap {
			plain = plain[:17] + "59" + plain[19:]
		}
		want, known := time.Parse(time.RFC3339Nano, strings.ToUpper(plain))
		switch {
		case known != nil || !leap:
			if (err == nil) != (known == nil) || !got.Equal(want) {
				t.Fatalf("%q is %v, %v, want %v, %v", s, got, err, want, known)
			}
		case err == nil && !got.Equal(want.Add(time.Second)):
			t.Fatalf("%q is %v, want %v and a second", s, got, want)
		}
	})
}
