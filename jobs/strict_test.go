package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestCheckJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for text, at := range map[string]int{ // -1: accepted
		`{}`: -1, ` [1, -0, 1.5e+3, 0.1E-2] `: -1, `"a\u00e9\ud83d\ude00\/\n"`: -1, `null`: -1, "\"\u2028\x7f\"": -1,
		`{"a":{"a":1},"b":[{"a":1},{"a":2}]}`: -1,
		`{"":0,"\u0000":1}`:                   -1,
		deep(64):                              -1,
		deep(65):                              64,
		strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64): -1,
		strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65): 320,
		``:                              0,
		`  `:                            2,
		`{}x`:                           2,
		`{} {}`:                         3,
		"\ufeff{}":                      0,
		`{"a":1,"a":2}`:                 7,
		`{"a":1,"\u0061":2}`:            7,
		`[{"x":{"é":1,"\u00e9":2}}]`:    14,
		`{"a":1,}`:                      7,
		`[1,]`:                          3,
		`[1 2]`:                         3,
		`{a:1}`:                         1,
		`{"a" 1}`:                       5,
		`{"a":1`:                        6,
		`"abc`:                          4,
		`"abc\`:                         5,
		`"\x"`:                          1,
		`"\u12g4"`:                      1,
		`"\ud800"`:                      1,
		`"\udc00"`:                      1,
		`"\ud800\u0041"`:                1,
		`"\ud800\ud800"`:                1,
		`"\udc00\ud800"`:                1,
		`{"\ud800":1}`:                  2,
		"\"a\xff\"":                     2,
		"\"\xed\xa0\x80\"":              1,
		"\"\xc0\xaf\"":                  1,
		"\"a\nb\"":                      2,
		"\"\x00\"":                      1,
		"[\xff]":                        1,
		`01`:                            1,
		`-`:                             1,
		`1.`:                            2,
		`.5`:                            0,
		`+1`:                            0,
		`1e`:                            2,
		`NaN`:                           0,
		`Infinity`:                      0,
		`nul`:                           0,
		`truex`:                         4,
		`[1e400]`:                       1,
		`-1e309`:                        0,
		`1e99999999999999999999`:        0,
		`1e308`:                         -1,
		`1e-99999`:                      -1,
		strings.Repeat("9", 308):        -1,
		strings.Repeat("9", 310):        0,
		"0." + strings.Repeat("1", 398): -1,
		"0." + strings.Repeat("1", 399): 0,
		`'a'`:                           0,
		"[1/**/]":                       2,
		"\v1":                           0,
		"\u00a01":                       0,
	} {
		err := CheckJSON([]byte(text), MaxJSONDepth)
		var m *MalformedError
		switch {
		case at < 0 && err != nil:
			t.Errorf("%q: %v", text, err)
		case at >= 0 && (!errors.As(err, &m) || m.Offset != at || m.Detail == ""):
			t.Errorf("%q: %v, want a fault at byte %d", text, err, at)
		}
	}
}

func TestCheckJSONFindsTheTwinAmongMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.String(), 1, 40, rapid.ID[string]).Draw(t, "names")
		var b bytes.Buffer
		for i, n := range names {
			q, _ := json.Marshal(n)
			b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
			b.Write(q)
			b.WriteString(":1")
		}
		if err := CheckJSON([]byte(b.String()+"}"), 1); err != nil {
			t.Fatal(err)
		}
		twin := rapid.SampledFrom(names).Draw(t, "twin")
		escaped := `,"`
		for _, u := range utf16.Encode([]rune(twin)) {
			escaped += `\u` + string("0123456789abcdef"[u>>12]) + string("0123456789ABCDEF"[u>>8&15]) +
				string("0123456789abcdef"[u>>4&15]) + string("0123456789ABCDEF"[u&15])
		}
		if CheckJSON([]byte(b.String()+escaped+`":2}`), 1) == nil {
			t.Fatalf("%q stands twice unnoticed", twin)
		}
	})
}

// TestMembers: of what CheckJSON passes, the members are those that encoding/json
// finds, each with its text; decoded, it has no white space.
func TestMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawJSON(3).Draw(t, "text")
		if CheckJSON([]byte(text), MaxJSONDepth) != nil {
			t.Fatalf("%s does not pass", text)
		}
		var want map[string]json.RawMessage
		isObject := json.Unmarshal([]byte(text), &want) == nil && want != nil
		var got struct {
			A     json.RawMessage `json:"a"`
			Upper json.RawMessage `json:"A"`
			B     json.RawMessage `json:"b"`
			Quote json.RawMessage `json:"c\"d"` //nolint:staticcheck // encoding/json takes no such name
			Empty json.RawMessage `json:""`
			E     json.RawMessage `json:"é\\"` //nolint:staticcheck // encoding/json takes no such name
		}
		known := map[string]*json.RawMessage{
			"a": &got.A, "A": &got.Upper, "b": &got.B, `c"d`: &got.Quote, "": &got.Empty, `é\`: &got.E,
		}
		if err := DecodeKnown([]byte(text), &got); (err == nil) != (isObject || text == "null") {
			t.Fatalf("%s: %v", text, err)
		}
		for name, decoded := range known {
			var compact bytes.Buffer
			if want[name] != nil {
				_ = json.Compact(&compact, want[name]) // it was valid
			}
			if string(*decoded) != compact.String() {
				t.Fatalf("%s: member %q is %q, want %q", text, name, *decoded, compact.String())
			}
			if found := Member([]byte(text), name); string(found) != string(want[name]) {
				t.Fatalf("%s: member %q has %q, want %q", text, name, found, want[name])
			}
		}
	})
}

// drawJSON draws JSON texts of some depth, with blanks and escapes in odd places.
func drawJSON(depth int) *rapid.Generator[string] {
	blank := rapid.SampledFrom([]string{"", " ", "\n\t"})
	name := rapid.SampledFrom([]string{`"a"`, `"A"`, `"\u0062"`, `"c\"d"`, `""`, `"é\\"`, `"{,:}"`})
	leaf := rapid.SampledFrom([]string{"null", "true", "-1.5e3", "0", `"x"`, `"}]\""`, "{}", "[]"})
	if depth == 0 {
		return leaf
	}
	return rapid.Custom(func(t *rapid.T) string {
		sep := func() string { return blank.Draw(t, "blank") }
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return leaf.Draw(t, "leaf")
		case 1:
			items := rapid.SliceOfN(drawJSON(depth-1), 0, 3).Draw(t, "items")
			return "[" + sep() + strings.Join(items, sep()+","+sep()) + sep() + "]"
		}
		var members []string
		for _, n := range rapid.SliceOfNDistinct(name, 0, 4, rapid.ID).Draw(t, "names") {
			members = append(members, n+sep()+":"+sep()+drawJSON(depth-1).Draw(t, "value"))
		}
		return "{" + sep() + strings.Join(members, sep()+","+sep()) + sep() + "}"
	})
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\ud83d\ude00"],"b":null}`, `{"a":1,"\u0061":2}`, `[[[]]]`, `"\ud800"`, "\"\xff\"", `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := CheckJSON(b, MaxJSONDepth)
		if err != nil {
			var m *MalformedError
			if !errors.As(err, &m) || m.Offset < 0 || m.Offset > len(b) {
				t.Fatalf("%v of %d bytes", err, len(b))
			}
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("accepts %q, which encoding/json does not", b)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("accepts %q, which does not decode: %v", b, err)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%q does not encode again: %v", b, err)
		}
		// Nothing was dropped: had a name stood twice, a member would be gone.
		if countNames(t, b) != countNames(t, out) {
			t.Fatalf("%q loses members: %q", b, out)
		}
	})
}

// countNames counts the member names of valid JSON.
func countNames(t *testing.T, b []byte) int {
	dec := json.NewDecoder(bytes.NewReader(b))
	n, stack, name := 0, []json.Delim{}, false
	for {
		tok, err := dec.Token()
		if err != nil {
			return n
		}
		switch d, ok := tok.(json.Delim); {
		case ok && (d == '{' || d == '['):
			stack = append(stack, d)
			name = d == '{'
			continue
		case ok:
			stack = stack[:len(stack)-1]
		case name:
			n++
			name = false
			continue
		}
		name = len(stack) > 0 && stack[len(stack)-1] == '{'
	}
}
