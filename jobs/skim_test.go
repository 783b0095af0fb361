package jobs

import (
	"encoding/json"
	"strings"
	"testing"
)

// What is skimmed of a text that CheckJSON lets pass is what a parser finds in it.
func FuzzSkim(f *testing.F) {
	for _, s := range []string{
		`[]`, `[{}]`, `[{"type":"wait","ms":1}]`, ` [ { "a" : [ { "type" : "no" } , "]" ] , "type" : "\u0061\"" } , {} , 7 , null ] `,
		`[{"a":"\\","b":"\\\"","t\u0079pe":"x"},[[],{}],"type"]`, `[{"type":{"type":"x"}}]`, `[{"type":[1,2],"x":{}},true,-1.5e3]`,
		`[1,2,3]`, `["x",{"type":"y"}]`, `{"type":"x"}`, `"type"`, `[{"Type":"x"}]`, `[`, `[{`, `[{"type"`, `[{"type":`, `[{"type":"`, `[}`, `[]]`, `,`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, kind := actionsHead(json.RawMessage(s)) // ends, whatever it is given
		if CheckJSON([]byte(s), MaxJSONDepth) != nil {
			return
		}
		var items []json.RawMessage
		if json.Unmarshal([]byte(s), &items) != nil {
			if n != 0 || kind != "" {
				t.Errorf("%d items, the first one is %q, in what is no array", n, kind)
			}
			return
		}
		want := ""
		if len(items) > 0 {
			var first map[string]any
			_ = json.Unmarshal(items[0], &first)
			want, _ = first["type"].(string)
		}
		if n != len(items) || kind != want {
			t.Errorf("%d items, the first one is %q; want %d, %q", n, kind, len(items), want)
		}
	})
}

// BenchmarkSkim skims the largest lists of actions there are.
func BenchmarkSkim(b *testing.B) {
	for name, actions := range map[string]string{
		"strings": `[{"body":"` + strings.Repeat("x", 1<<20) + `","type":"http"}]`,
		"numbers": `[{"body":[` + strings.Repeat("1,", 1<<19) + `1],"type":"http"}]`,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(actions)))
			for b.Loop() {
				if n, kind := actionsHead(json.RawMessage(actions)); n != 1 || kind != "http" {
					b.Fatal(n, kind)
				}
			}
		})
	}
}
