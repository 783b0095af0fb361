package jobs

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// odd is what CheckMessage takes beyond CheckJSON.
var odd = []string{
	`"\ud83d"`, `{"\ude00":"\ud83d\ud83d"}`, `{"a":1,"a":2}`, `1e999`, `-` + strings.Repeat("9", 5000),
	strings.Repeat("[", MaxJSONDepth+1) + strings.Repeat("]", MaxJSONDepth+1),
	strings.Repeat(`{"a":[`, 5000) + strings.Repeat(`]}`, 5000),
}

func TestCheckMessage(t *testing.T) {
	for _, text := range odd {
		if err := CheckMessage([]byte(text)); err != nil {
			t.Errorf("%.40s: %v", text, err)
		}
		if CheckJSON([]byte(text), MaxJSONDepth) == nil {
			t.Errorf("%.40s is not odd", text)
		}
	}
	huge := []byte(strings.Repeat("[", 1<<20))
	if err := CheckMessage(huge); err == nil {
		t.Error("a million brackets were closed by nobody")
	}
	usual := []byte(`{"event":"pong","data":{"a":[1,2,3]}}`)
	if n := testing.AllocsPerRun(10, func() { _ = CheckMessage(usual) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What was odd is replaced, and the last of two members counts.
func TestDecodeKnownOfOddMessages(t *testing.T) {
	var got struct {
		A string          `json:"a"`
		B json.RawMessage `json:"b"`
	}
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	text := `{"x\ud83d":"\ud83d","a":"first","y":` + deep + `,"b":` + deep + `,"a":"\ud83dlast"}`
	if err := CheckMessage([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := DecodeKnown([]byte(text), &got); err != nil || got.A != "\uFFFDlast" || string(got.B) != deep {
		t.Errorf("%v, %q and %d bytes", err, got.A, len(got.B))
	}
}

func FuzzCheckMessage(f *testing.F) {
	for _, s := range append(odd, ``, `[`, `]`, `[]`, ` [ ] `, `{}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[1 2]`, `[1,2]`, `[{"a":[]},"b",null]`,
		`{"a":{"b":[1,{"c":2}]},"d":[]}`, `[}`, `{]`, `[[]`, `"a`, "\"\n\"", `tru`, `01`, `1.`, `[]]`, `{"a":1 "b":2}`, `{1:2}`, `"\x"`, `"\u12"`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) >= 10_000 { // encoding/json reads no deeper
			return
		}
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
		valid := json.Valid(b)
		if err := CheckMessage(b); (err == nil) != valid {
			t.Fatalf("%q: %v", b, err)
		}
		items, ok := SplitArray(b)
		var want []json.RawMessage
		array := json.Unmarshal(b, &want) == nil && want != nil
		if ok != array || ok && len(want) > 0 && !reflect.DeepEqual(items, want) || len(items) != len(want) {
			t.Fatalf("%q: %q, %v", b, items, ok)
		}
	})
}
