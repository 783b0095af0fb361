package steps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/jobcast/jobcast/jobs"
)

// Caps on what a step may hold. The size of a submit bounds them all together.
const (
	maxTimeoutMs    = 30_000
	maxURL          = 8 << 10 // characters
	maxText         = 64 << 10
	maxSelectors    = 16 // alternatives of one step
	maxSelectorPath = 8  // shadow roots in one alternative
	maxSelectorText = 2 << 10
	maxFrameDepth   = 8
	maxFrameIndex   = 999
	maxNameLength   = 64
	maxAttributes   = 16
	maxCount        = 10_000
	maxViewport     = 4096 // CSS pixels
	maxScale        = 4
	maxOffset       = 100_000
	maxIdleMs       = 10_000
	maxHoldMs       = 10_000
	maxDelayMs      = 1000
	maxCookies      = 50
	maxHeaders      = 32
	maxExpression   = 16 << 10
)

// schema is a JSON schema (draft 2020-12), or a part of one.
type schema map[string]any

const (
	fileNamePattern = `^[A-Za-z0-9._-]+$`
	dataNamePattern = `^[A-Za-z_][A-Za-z0-9_-]*$`
	webPattern      = `^([Hh][Tt][Tt][Pp][Ss]?://|about:blank$)`
)

// patternFaults says what a text must be that a pattern refuses.
func patternFaults(pattern string) string {
	switch pattern {
	case fileNamePattern:
		return "must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen"
	case dataNamePattern:
		return "must begin with a letter or underscore and have only letters, digits, underscores and hyphens"
	case webPattern:
		return "must be an http or https URL, or about:blank"
	}
	return "must match " + pattern
}

func (s schema) doc(text string) schema {
	with := maps.Clone(s)
	with["description"] = text
	return with
}

func text(low, high int) schema { return schema{"type": "string", "minLength": low, "maxLength": high} }

func matching(high int, pattern string) schema {
	s := text(1, high)
	s["pattern"] = pattern
	return s
}

func number(low, high float64) schema {
	return schema{"type": "number", "minimum": low, "maximum": high}
}

func integer(low, high int) schema { return schema{"type": "integer", "minimum": low, "maximum": high} }

func boolean() schema { return schema{"type": "boolean"} }

func oneOf(values ...string) schema { return schema{"type": "string", "enum": values} }

func list(low, high int, items schema) schema {
	return schema{"type": "array", "minItems": low, "maxItems": high, "items": items}
}

// closed is an object of the given members and no others.
func closed(members map[string]schema, required ...string) schema {
	s := schema{"type": "object", "properties": members, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// membersOf is an object of any members, whose values are alike.
func membersOf(most int, value schema) schema {
	return schema{
		"type": "object", "maxProperties": most, "propertyNames": text(1, maxNameLength),
		"additionalProperties": value,
	}
}

// orSecret lets {"secret": name} stand for a text.
func (s schema) orSecret() schema {
	with := closed(map[string]schema{"secret": matching(jobs.MaxSealedName, fileNamePattern).doc("name of a secret of the client")}, "secret")
	maps.Copy(with, s)
	switch types := s["type"].(type) {
	case string:
		with["type"] = []string{types, "object"}
	case []string:
		with["type"] = append(slices.Clone(types), "object")
	}
	return with
}

// stepSchema is the schema of a step: its own members, those that all steps have, and the
// element it is about, if it is about one.
func (d definition) stepSchema(kind string) schema {
	members := map[string]schema{
		"type":    {"const": kind},
		"timeout": integer(1, maxTimeoutMs).doc("milliseconds; default 5000 for elements, 30000 for pages"),
	}
	required := append([]string{"type"}, d.required...)
	if !d.browser {
		members["target"] = text(1, maxURL).doc(`"main", or the URL of a page that the job's pages have opened`)
		members["assertedEvents"] = list(0, 8, closed(map[string]schema{
			"type":  oneOf("navigation"),
			"url":   text(0, maxURL).doc("not compared"),
			"title": text(0, maxURL).doc("not compared"),
		}, "type")).doc("what the step brings about, and waits for")
	}
	if d.element != noElement || d.framed {
		members["frame"] = list(0, maxFrameDepth, integer(0, maxFrameIndex)).
			doc("path of indexes to an iframe, in the order of the document")
	}
	all := schema{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind, "description": d.doc}
	if d.element != noElement {
		members["selectors"] = list(1, maxSelectors, schema{
			"type": []string{"string", "array"}, "minLength": 1, "maxLength": maxSelectorText,
			"minItems": 1, "maxItems": maxSelectorPath, "items": text(1, maxSelectorText),
		}).doc("alternatives that race; one that is a list is a path through shadow roots; CSS, or with a prefix " +
			"aria/ text/ xpath/ pierce/ role= text=")
		members["selector"] = text(1, maxSelectorText).doc("the only alternative")
		with, alone := schema{"required": []string{"selectors"}}, schema{"required": []string{"selector"}}
		if d.element == needsElement {
			all["oneOf"] = []schema{with, alone}
		} else {
			all["not"] = schema{"required": []string{"selectors", "selector"}}
		}
	}
	maps.Copy(members, d.members)
	maps.Copy(all, closed(members, required...))
	return all
}

// compiled is a step's schema, as it is sent and as it is applied.
type compiled struct {
	text   json.RawMessage
	schema *jsonschema.Schema
}

// schemas are those of all steps, by type.
var schemas = sync.OnceValue(func() map[string]compiled {
	all := make(map[string]compiled)
	c := jsonschema.NewCompiler()
	for kind, d := range vocabulary() {
		text, err := json.Marshal(d.stepSchema(kind))
		if err != nil {
			panic(err) // it consists of maps and strings
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = c.AddResource("step:"+kind, doc)
		}
		if err != nil {
			panic(fmt.Sprintf("schema of %s: %v", kind, err))
		}
		all[kind] = compiled{text, c.MustCompile("step:" + kind)}
	}
	return all
})

// Schema returns the JSON schema (draft 2020-12) of a step type, nil if there is no such.
func Schema(kind string) json.RawMessage { return schemas()[kind].text }

// check applies a schema to a step and returns what is wrong with it.
func (c compiled) check(step any) faults {
	err := c.schema.Validate(step)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	var f faults
	if errors.As(err, &invalid) {
		f.collect(invalid)
	}
	slices.SortStableFunc(f, func(a, b jobs.FieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
	return f
}

// faults are what is wrong with a step.
type faults []jobs.FieldError

func (f *faults) addf(pointer, format string, args ...any) {
	*f = append(*f, jobs.FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// collect adds the leaves of a schema's verdict.
func (f *faults) collect(e *jsonschema.ValidationError) {
	at := ""
	for _, name := range e.InstanceLocation {
		at = jobs.PointerTo(at, name)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.OneOf, *kind.Not:
		f.addf(at, "must have either selectors, a list, or selector, one string")
		return
	case *kind.Required:
		for _, name := range k.Missing {
			f.addf(jobs.PointerTo(at, name), "must be given")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			f.addf(jobs.PointerTo(at, name), "unknown member")
		}
	case *kind.PropertyNames:
		f.addf(jobs.PointerTo(at, k.Property), "must be a name of 1 to %d characters", maxNameLength)
		return
	default:
		if detail := detailOf(k); detail != "" {
			f.addf(at, "%s", detail)
		}
	}
	for _, cause := range e.Causes {
		f.collect(cause)
	}
}

// detailOf says in a person's words what a keyword of a schema demands; empty for one that
// only holds others.
func detailOf(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + typeNames(k.Want)
	case *kind.Enum:
		return "must be " + joined(k.Want)
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.MinLength:
		return "must not be empty"
	case *kind.MaxLength:
		return "must not be longer than " + strconv.Itoa(k.Want) + " characters"
	case *kind.MinItems:
		return "must have at least " + strconv.Itoa(k.Want) + " items"
	case *kind.MaxItems:
		return "must have at most " + strconv.Itoa(k.Want) + " items"
	case *kind.MaxProperties:
		return "must have at most " + strconv.Itoa(k.Want) + " members"
	case *kind.Pattern:
		return patternFaults(k.Want)
	}
	return ""
}

// typeNames names types as the other faults of a submit do.
func typeNames(types []string) string {
	names := map[string]string{
		"string": "a string", "integer": "an integer", "number": "a number",
		"boolean": "true or false", "array": "an array", "object": "an object",
	}
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = names[t]
	}
	return strings.Join(words, " or ")
}

func joined(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return strings.Join(words, "")
}
