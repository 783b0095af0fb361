package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFieldErrors caps how many faults one answer lists, so that a small body
// of nonsense does not buy a large answer.
const maxFieldErrors = 100

// maxPointerName caps how much of a stranger's member name an answer repeats.
const maxPointerName = 128

// DecodeObject reads a JSON object into the struct that dst points to, whose
// fields all carry a json tag. It is stricter than encoding/json: the text must
// pass CheckJSON, names are compared exactly (not without regard to case), and
// unknown members are refused in nested structs too. null counts as absent,
// except for a json.RawMessage, which takes it.
//
// It returns *MalformedError, or *InvalidError with all faults at once.
func DecodeObject(body []byte, dst any) error {
	if err := CheckJSON(body, MaxJSONDepth); err != nil {
		return err
	}
	var f faults
	f.decode(reflect.ValueOf(dst).Elem(), bytes.TrimSpace(body), "")
	return f.err()
}

// DecodeKnown is DecodeObject for a text that has passed CheckMessage already and may
// have members that dst does not know: they are ignored, also those that differ
// only in case. null as a whole is an object without members.
func DecodeKnown(body []byte, dst any) error {
	body = bytes.TrimSpace(body)
	if string(body) == "null" {
		return nil
	}
	f := faults{lenient: true}
	f.decode(reflect.ValueOf(dst).Elem(), body, "")
	return f.err()
}

// DecodeOneOrMany reads one object, or an array of 1..limit objects, as
// DecodeObject would read each.
func DecodeOneOrMany[T any](body []byte, limit int) ([]T, error) {
	if err := CheckJSON(body, MaxJSONDepth); err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(body)
	var f faults
	if body[0] != '[' {
		one := make([]T, 1)
		f.decode(reflect.ValueOf(&one[0]).Elem(), body, "")
		return one, f.err()
	}
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, fmt.Errorf("decode array: %w", err)
	}
	if len(items) == 0 || len(items) > limit {
		f.add("", fmt.Sprintf("must have 1 to %d items", limit))
		return nil, f.err()
	}
	many := make([]T, len(items))
	for i, raw := range items {
		f.decode(reflect.ValueOf(&many[i]).Elem(), raw, "/"+strconv.Itoa(i))
	}
	return many, f.err()
}

// faults collects what is wrong with a body.
type faults struct {
	list    []FieldError
	lenient bool // members that nobody knows are none
}

func (f *faults) add(pointer, detail string) {
	if len(f.list) < maxFieldErrors {
		f.list = append(f.list, FieldError{Pointer: pointer, Detail: detail})
	}
}

func (f *faults) addf(pointer, format string, args ...any) {
	f.add(pointer, fmt.Sprintf(format, args...))
}

// err returns nil if nothing was added.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Fields: f.list}
}

// PointerTo appends a member name to an RFC 6901 pointer. A very long name is
// cut, because it only serves a person.
func PointerTo(parent, name string) string {
	if len(name) > maxPointerName {
		name = cutText(name, maxPointerName) + "…"
	}
	return parent + "/" + pointerEscapes.Replace(name)
}

// pointerEscapes is made once: building it costs more than decoding a report.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// cutText returns the longest prefix of s of at most n bytes that does not end
// inside a character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// decode fills v from checked JSON.
func (f *faults) decode(v reflect.Value, raw json.RawMessage, at string) {
	if v.Addr().Type().Implements(reflect.TypeFor[json.Unmarshaler]()) {
		f.leaf(v, raw, at)
		return
	}
	if string(raw) == "null" && at != "" {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		f.decode(p.Elem(), raw, at)
		v.Set(p)
	case reflect.Struct:
		f.object(v, raw, at)
	case reflect.Slice:
		f.array(v, raw, at)
	case reflect.Map:
		f.table(v, raw, at)
	default:
		f.leaf(v, raw, at)
	}
}

func (f *faults) object(v reflect.Value, raw json.RawMessage, at string) {
	members, ok := splitObject(raw)
	if !ok {
		f.add(at, "must be an object")
		return
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		for m := range slices.Backward(members) {
			if members[m].name == name {
				f.decode(v.Field(i), members[m].value, PointerTo(at, name))
				members[m].known = true
				break
			}
		}
	}
	if f.lenient {
		return
	}
	var unknown []string
	for _, m := range members {
		if !m.known {
			unknown = append(unknown, m.name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		f.add(PointerTo(at, name), "unknown member")
	}
}

func (f *faults) array(v reflect.Value, raw json.RawMessage, at string) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || items == nil {
		f.add(at, "must be an array")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		f.decode(v.Index(i), item, at+"/"+strconv.Itoa(i))
	}
}

func (f *faults) table(v reflect.Value, raw json.RawMessage, at string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		f.add(at, "must be an object")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for _, name := range sortedKeys(members) {
		item := reflect.New(v.Type().Elem()).Elem()
		if string(members[name]) == "null" {
			f.add(PointerTo(at, name), "must be "+kindName(item.Type()))
			continue
		}
		f.decode(item, members[name], PointerTo(at, name))
		v.SetMapIndex(reflect.ValueOf(name), item)
	}
}

func (f *faults) leaf(v reflect.Value, raw json.RawMessage, at string) {
	if v.Type() == reflect.TypeFor[string]() && raw[0] == '"' {
		c := checker{b: raw, lenient: f.lenient}
		if s, err := c.text(true); err == nil { // what json does, without its garbage
			v.SetString(s)
			return
		}
	}
	if v.Type() == reflect.TypeFor[json.RawMessage]() { // of any depth, which json does not take
		v.SetBytes(bytes.Clone(raw))
		return
	}
	if json.Unmarshal(raw, v.Addr().Interface()) != nil {
		f.add(at, "must be "+kindName(v.Type()))
	}
}

// kindName says in a person's words what JSON a Go type takes.
func kindName(t reflect.Type) string {
	if t == reflect.TypeFor[Time]() {
		return "an RFC 3339 time"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	default:
		return "of another type"
	}
}

func sortedKeys(m map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
