package eventlog

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseCursor(t *testing.T) {
	for s, want := range map[string]Cursor{
		"0-0":                   {},
		"k3f9-17":               {"k3f9", 17},
		"a-0":                   {"a", 0},
		"00-1":                  {"00", 1},
		"k-9223372036854775807": {"k", 1<<63 - 1},
		"abcdefghijklmnop-1":    {"abcdefghijklmnop", 1},
	} {
		if got, ok := ParseCursor(s); !ok || got != want || got.String() != s {
			t.Errorf("%q: %+v, %v, %q", s, got, ok, got.String())
		}
	}
	for _, s := range []string{
		"", "-", "k", "k-", "-1", "k-01", "k-00", "k--1", "k-+1", "k- 1", "K-1", "é-1", "k_-1", "k-1 ", " k-1", "k-1-1",
		"k-1\n", "k-１", "0-1", "0-18446744073709551616", "k-9223372036854775808", "k-0x1", "k-1e3",
		"abcdefghijklmnopq-1", strings.Repeat("k", 1<<16),
	} {
		if got, ok := ParseCursor(s); ok {
			t.Errorf("%q is read as %+v", s, got)
		}
	}
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Cursor{
			Epoch: rapid.StringMatching(`[a-z1-9][a-z0-9]{0,15}`).Draw(t, "epoch"),
			Seq:   rapid.Uint64Max(1<<63-1).Draw(t, "seq"),
		}
		if got, ok := ParseCursor(c.String()); !ok || got != c {
			t.Fatalf("%+v is written %q and read %+v", c, c.String(), got)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"0-0", "k3f9-17", "0-1", "k-01", "k-9223372036854775808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseCursor(s)
		if ok && c.String() != s {
			t.Fatalf("%q is read, but written %q", s, c.String())
		}
		if !ok && c != (Cursor{}) {
			t.Fatalf("%q is refused, but gives %+v", s, c)
		}
	})
}
