package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxFieldErrors caps how many faults one answer lists, so that a small body
// of nonsense does not buy a large answer.
const maxFieldErrors = 100

// maxPointerName caps how much of a stranger's member name an answer repeats.
const maxPointerName = 128

// DecodeObject reads a JSON object into the struct that dst points to, whose
// fields all carry a json tag. It reads the text once, and is stricter than
// encoding/json: the text must be what CheckJSON passes, names are compared exactly
// (not without regard to case), and unknown members are refused in nested structs
// too. null counts as absent, except for a json.RawMessage, which takes it. A
// json.RawMessage gets its value without white space between its tokens. What is
// decoded shares no memory with body.
//
// It returns *MalformedError, or *InvalidError with all faults at once.
func DecodeObject(body []byte, dst any) error {
	d := decoder{checker: checker{b: body, maxDepth: MaxJSONDepth}}
	return d.whole(dst)
}

// DecodeKnown is DecodeObject for a text that has passed CheckMessage already and may
// have members that dst does not know: they are ignored, also those that differ
// only in case. null as a whole is an object without members.
func DecodeKnown(body []byte, dst any) error {
	d := decoder{checker: checker{b: body, lenient: true}}
	if d.space(); d.next('n') {
		return nil
	}
	return d.whole(dst)
}

// DecodeOneOrMany reads one object, or an array of 1..limit objects, as
// DecodeObject would read each.
func DecodeOneOrMany[T any](body []byte, limit int) ([]T, error) {
	d := decoder{checker: checker{b: body, maxDepth: MaxJSONDepth}}
	if d.space(); !d.next('[') {
		one := make([]T, 1)
		return one, d.whole(&one[0])
	}
	var many []T
	n, err := d.items(reflect.ValueOf(&many).Elem(), "", 0, limit)
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return nil, err
	}
	if n == 0 || n > limit {
		d.faults = faults{}
		d.addf("", "must have 1 to %d items", limit)
	}
	return many, d.err()
}

// Member returns the text of an object's member, nil if it has none of this name.
// object has passed CheckJSON.
func Member(object json.RawMessage, name string) json.RawMessage {
	c := checker{b: object, lenient: true}
	c.space()
	if !c.take('{') {
		return nil
	}
	for first := true; ; first = false {
		found, more, err := c.member(first)
		start := c.i
		if err != nil || !more || c.scan() != nil {
			return nil
		}
		if string(found) == name {
			return object[start:c.i]
		}
	}
}

// Text returns what a JSON string says; false if raw is no string. raw has passed
// CheckJSON.
func Text(raw json.RawMessage) (string, bool) {
	c := checker{b: raw, lenient: true}
	if !c.next('"') {
		return "", false
	}
	text, err := c.text(true)
	return string(text), err == nil
}

// faults collects what is wrong with a body.
type faults struct {
	list []FieldError
}

func (f *faults) add(pointer, detail string) {
	if len(f.list) < maxFieldErrors {
		f.list = append(f.list, FieldError{Pointer: pointer, Detail: detail})
	}
}

func (f *faults) addf(pointer, format string, args ...any) {
	f.add(pointer, fmt.Sprintf(format, args...))
}

func (f *faults) addAll(list []FieldError) {
	for _, e := range list {
		f.add(e.Pointer, e.Detail)
	}
}

// cut takes back what was added after the first n.
func (f *faults) cut(n int) []FieldError {
	last := slices.Clone(f.list[n:])
	f.list = f.list[:n]
	return last
}

// sortedFaults are the faults of an object's members by the members' names, no more
// members than an answer has faults.
type sortedFaults []namedFaults

type namedFaults struct {
	name string
	list []FieldError
}

// set says what is wrong with a member, perhaps nothing.
func (s *sortedFaults) set(name string, list []FieldError) {
	at, known := slices.BinarySearchFunc(*s, name, func(f namedFaults, name string) int { return strings.Compare(f.name, name) })
	if known { // of a text where it stands twice: the last one counts
		*s = slices.Delete(*s, at, at+1)
	}
	if len(list) > 0 {
		*s = slices.Insert(*s, at, namedFaults{name, list})
		*s = (*s)[:min(len(*s), maxFieldErrors)]
	}
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

// decoder checks a text and fills what takes it, in one go. The error of its methods
// says that the text is malformed; whatever else is wrong becomes a fault.
type decoder struct {
	checker
	faults
}

// whole decodes the text into what dst points to.
func (d *decoder) whole(dst any) error {
	d.space()
	if err := d.decode(reflect.ValueOf(dst).Elem(), "", 0); err != nil {
		return err
	}
	if err := d.end(); err != nil {
		return err
	}
	return d.err()
}

// decode reads a value into v.
func (d *decoder) decode(v reflect.Value, at string, depth int) error {
	if v.Addr().Type().Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return d.leaf(v, at, depth)
	}
	if at != "" && d.next('n') {
		return d.word()
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		err := d.decode(p.Elem(), at, depth)
		v.Set(p)
		return err
	case reflect.Struct:
		return d.fields(v, at, depth)
	case reflect.Slice:
		_, err := d.items(v, at, depth, math.MaxInt)
		return err
	case reflect.Map:
		return d.entries(v, at, depth)
	default:
		return d.leaf(v, at, depth)
	}
}

// pass reads a value that nobody wants.
func (d *decoder) pass(depth int) error {
	if d.lenient {
		return d.scan()
	}
	return d.value(depth)
}

// opened comes to the inside of an array or object. If another value stands there, it
// adds a fault, passes the value and returns false.
func (d *decoder) opened(bracket byte, fault, at string, depth int) (bool, error) {
	if !d.next(bracket) {
		d.add(at, fault)
		return false, d.pass(depth)
	}
	err := d.open(depth)
	return err == nil, err
}

// fields reads an object into a struct. Its faults are in the order of the fields;
// members that the struct does not know come after them, by name.
func (d *decoder) fields(v reflect.Value, at string, depth int) error {
	if ok, err := d.opened('{', "must be an object", at, depth); !ok {
		return err
	}
	known := fieldNames(v.Type())
	wrong := make([]faults, len(known)) // by field
	var unknown sortedFaults
	err := d.members(func(name string, again bool) error {
		i := slices.Index(known, name)
		switch {
		case i < 0 && d.lenient:
			return d.pass(depth + 1)
		case i < 0:
			unknown.set(name, []FieldError{{PointerTo(at, name), "unknown member"}})
			return d.pass(depth + 1)
		case again:
			v.Field(i).SetZero() // the last one counts
		}
		n := len(d.list)
		err := d.decode(v.Field(i), PointerTo(at, name), depth+1)
		wrong[i].list = d.cut(n)
		return err
	})
	for _, f := range wrong {
		d.addAll(f.list)
	}
	for _, f := range unknown {
		d.addAll(f.list)
	}
	return err
}

// members reads an object's members. each reads the value; again says that the name
// stood before, which only a lenient text has.
func (d *decoder) members(each func(name string, again bool) error) error {
	var seen names
	for first := true; ; first = false {
		name, more, err := d.member(first)
		if err != nil || !more {
			return err
		}
		again := !seen.add(name)
		if again && !d.lenient {
			return d.twice()
		}
		if err := each(string(name), again); err != nil {
			return err
		}
	}
}

// items reads an array into a slice, its first limit items, and returns how many there
// are.
func (d *decoder) items(v reflect.Value, at string, depth, limit int) (n int, err error) {
	if ok, err := d.opened('[', "must be an array", at, depth); !ok {
		return 0, err
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for ; ; n++ {
		if more, err := d.item(n == 0); err != nil || !more {
			return n, err
		}
		if n < limit {
			v.Grow(1)
			v.SetLen(n + 1)
			err = d.decode(v.Index(n), at+"/"+strconv.Itoa(n), depth+1)
		} else {
			err = d.pass(depth + 1)
		}
		if err != nil {
			return n, err
		}
	}
}

// entries reads an object into a map. Its faults are in the order of the names.
func (d *decoder) entries(v reflect.Value, at string, depth int) error {
	if ok, err := d.opened('{', "must be an object", at, depth); !ok {
		return err
	}
	v.Set(reflect.MakeMap(v.Type()))
	var wrong sortedFaults
	err := d.members(func(name string, _ bool) (err error) {
		item, at, n := reflect.New(v.Type().Elem()).Elem(), PointerTo(at, name), len(d.list)
		if d.next('n') {
			d.add(at, "must be "+kindName(item.Type()))
			item, err = reflect.Value{}, d.word() // no entry
		} else {
			err = d.decode(item, at, depth+1)
		}
		v.SetMapIndex(reflect.ValueOf(name), item)
		wrong.set(name, d.cut(n))
		return err
	})
	for _, f := range wrong {
		d.addAll(f.list)
	}
	return err
}

// leaf reads a value that has no parts of its own.
func (d *decoder) leaf(v reflect.Value, at string, depth int) error {
	switch {
	case v.Type() == reflect.TypeFor[json.RawMessage](): // of any depth, which json does not take
		raw, err := d.compact(func() error { return d.pass(depth) })
		v.SetBytes(raw)
		return err
	case v.Type() == reflect.TypeFor[string]() && d.next('"'): // what json does, without its garbage
		text, err := d.checker.text(true)
		v.SetString(string(text))
		return err
	}
	start := d.i
	if err := d.pass(depth); err != nil {
		return err
	}
	if json.Unmarshal(d.b[start:d.i], v.Addr().Interface()) != nil {
		d.add(at, "must be "+kindName(v.Type()))
	}
	return nil
}

// fieldNames returns what the fields of a struct are called in JSON.
func fieldNames(t reflect.Type) []string {
	if known, ok := knownNames.Load(t); ok {
		return known.([]string)
	}
	list := make([]string, t.NumField())
	for i := range list {
		list[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	knownNames.Store(t, list)
	return list
}

// knownNames keeps what fieldNames has found.
var knownNames sync.Map

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
