package socketio

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"0", `0{"token":"k"}`, "0/jobs", "0/jobs,", `0/jobs,{"a":1}`, "1", "1/jobs,", `2["a"]`, `2/jobs,12["subscribe","job:1"]`,
		`3/jobs,0[]`, `30[1]`, `4{"message":"no"}`, `51-["e",{"_placeholder":true,"num":0}]`, `610-/x,7[]`, `50-["e"]`, `511-["e"]`,
		"2", "2[]", `2-1["a"]`, `21.5["a"]`, `2abc["a"]`, `2["a"]x`, `2{"a":1}`, `1{}`, "0[]", "0null", `0"x"`, "7", "", "\xff",
		`2["connect"]`, `2[1,"a"]`, "2 [\"a\"]", "2999999999999999[\"a\"]", "29999999999999999[\"a\"]", "2/" + strings.Repeat("n", 200) + ",[]",
		"2" + strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parse(text)
		if err != nil || deep(text) {
			return
		}
		if p.kind != text[0] || p.namespace == "" || p.namespace[0] != '/' || len(p.namespace) > maxNamespace || p.id < noID ||
			p.attachments > maxAttachments || (p.attachments > 0) != (p.kind >= typeBinaryEvent) || p.data != nil && !json.Valid(p.data) {
			t.Fatalf("%q became %+v", text, p)
		}
		again, err := parse(append(head(nil, p.kind, p.attachments, p.namespace, p.id), p.data...))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%q: %+v does not survive: %+v %v", text, p, again, err)
		}
		if p.kind != typeEvent && p.kind != typeBinaryEvent {
			return
		}
		name, args, err := parseEvent(p.data)
		if err != nil {
			return
		}
		if reserved[name] {
			t.Fatalf("the name %q", name)
		}
		var all []json.RawMessage
		if err := json.Unmarshal(p.data, &all); err != nil || len(all) != len(args)+1 {
			t.Fatalf("%q has %d arguments", p.data, len(args))
		}
		for i := range args {
			if !bytes.Equal(all[i+1], args[i]) {
				t.Fatalf("argument %d of %q is %q", i, p.data, args[i])
			}
		}
	})
}

// deep: encoding/json, which is compared with, reads 10,000 levels.
func deep(text []byte) bool {
	return bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) >= 10_000
}

func FuzzParseEvent(f *testing.F) {
	for _, s := range []string{`["a"]`, `["a",1,{"b":[null]}]`, `[1]`, `[-1.5e3]`, `[]`, `[null]`, `[["a"]]`, `{}`, `["\u0063onnect"]`, `["\ud83d"]`, `[1e999]`, `["a" 1]`, `["a",]`, `["disconnecting"]`, "", "[", `[ "a" , 1 ]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if deep(data) {
			return
		}
		name, args, err := parseEvent(data)
		if err != nil {
			if name != "" || args != nil {
				t.Fatalf("%q: %q %q beside an error", data, name, args)
			}
			return
		}
		var whole []any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if d.Decode(&whole) != nil || len(whole) != len(args)+1 {
			t.Fatalf("%q has %d arguments", data, len(args))
		}
		switch first := whole[0].(type) {
		case string:
			if first != name || reserved[name] {
				t.Fatalf("%q has the name %q", data, name)
			}
		case json.Number:
			if !json.Valid([]byte(name)) {
				t.Fatalf("%q has the name %q", data, name)
			}
		default:
			t.Fatalf("%q has a name", data)
		}
	})
}

func FuzzCheckPlaceholders(f *testing.F) {
	for _, s := range []string{
		`["e",{"_placeholder":true,"num":0}]`, `["e",{"a":[{"_placeholder":true,"num":9}]}]`, `["e",{"_placeholder":true}]`,
		`["e",{"_placeholder":true,"num":"0"}]`, `["e",{"_placeholder":true,"num":-1}]`, `["e",{"_placeholder":true,"num":0.5}]`,
		`["e",{"_placeholder":false,"num":77}]`, `["e",{"_placeholder":{"_placeholder":true,"num":3},"num":0}]`,
		`["e",{"_placeholder":true,"num":1e0}]`, `["e",{"num":0,"_placeholder":true},{"_placeholder":true,"num":1}]`, `["_placeholder",true,{"a":"_placeholder","b":true}]`, `["e",{"_placeholder":true,"num":99999999999999999999}]`, `[]`, ``,
	} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		if checkPlaceholders(data, int(n)) != nil {
			return
		}
		if checkPlaceholders(data, int(n)+1) != nil {
			t.Fatalf("%q is good with %d attachments and bad with one more", data, n)
		}
		if !json.Valid(data) {
			return
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			return
		}
		if most := highest(v); most >= float64(n) {
			t.Fatalf("%q names attachment %v of %d", data, most, n)
		}
	})
}

// highest returns the biggest number among the placeholders of v.
func highest(v any) float64 {
	most := -1.0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			most = max(most, highest(e))
		}
	case map[string]any:
		if yes, ok := v["_placeholder"].(bool); ok && yes {
			n, _ := v["num"].(float64)
			return n
		}
		for _, e := range v {
			most = max(most, highest(e))
		}
	}
	return most
}
