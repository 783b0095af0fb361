package action

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Described is an action type and the JSON schema (draft 2020-12) of its actions.
type Described struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// Describe returns all actions that the registry knows, in the order of their types.
func (r *Registry) Describe() []Described {
	all := make([]Described, 0, len(r.byType))
	for _, kind := range slices.Sorted(maps.Keys(r.byType)) {
		all = append(all, Described{kind, r.byType[kind].Schema()})
	}
	return all
}

// httpSchema is what parseHTTP takes, as far as a schema can say it.
const httpSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "http",
	"description": "Makes one HTTP request.",
	"type": "object", "additionalProperties": false, "required": ["type", "url"],
	"properties": {
		"type": {"const": "http"},
		"method": {"type": ["string", "null"], "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", null], "description": "default GET"},
		"url": {"type": "string", "maxLength": %[1]d, "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://", "description": "without user and password"},
		"headers": {"type": ["object", "null"], "maxProperties": %[2]d, "additionalProperties": {"type": "string"}},
		"body": {"description": "a string as it is; any other JSON is sent as JSON"},
		"expectStatus": {
			"type": ["integer", "array", "null"], "minimum": 200, "maximum": 599,
			"minItems": 1, "maxItems": %[3]d, "items": {"type": "integer", "minimum": 200, "maximum": 599},
			"description": "a status, or a list; default 200 to 399"
		},
		"saveAs": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9._-]{1,128}$", "not": {"enum": [".", ".."]}, "description": "name of the artifact that the body becomes"}
	}
}`

// Schema implements Action.
func (*HTTP) Schema() json.RawMessage {
	return fmt.Appendf(nil, httpSchema, maxURLBytes, maxHeaders, maxExpectedStatus)
}

// waitSchema is what parseWait takes.
const waitSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "wait",
	"description": "Waits.",
	"type": "object", "additionalProperties": false, "required": ["type", "ms"],
	"properties": {
		"type": {"const": "wait"},
		"ms": {"type": "integer", "minimum": 0, "maximum": %d, "description": "milliseconds"}
	}
}`

// Schema implements Action.
func (Wait) Schema() json.RawMessage { return fmt.Appendf(nil, waitSchema, maxWaitMs) }
