package contract

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// maxReasons and maxQuote keep a report short.
const (
	maxReasons = 6
	maxQuote   = 400
)

var english = message.NewPrinter(language.English)

// against says what is wrong with a JSON value by a schema, with pointers; empty: nothing.
func against(s *jsonschema.Schema, text []byte) string {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Sprintf("no JSON: %v: %s", err, quote(text))
	}
	return judged(s.Validate(v), text)
}

func judged(err error, text []byte) string {
	if err == nil {
		return ""
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err.Error()
	}
	reasons := causes(invalid)
	return strings.Join(reasons[:min(len(reasons), maxReasons)], "; ") + " in " + quote(text)
}

// causes are the innermost ones. Of alternatives that all fail, the one with the fewest is
// the one that was meant.
func causes(e *jsonschema.ValidationError) (all []string) {
	if len(e.Causes) == 0 {
		return []string{"/" + strings.Join(e.InstanceLocation, "/") + ": " + e.ErrorKind.LocalizedString(english)}
	}
	alternatives := false
	switch e.ErrorKind.(type) {
	case *kind.OneOf, *kind.AnyOf:
		alternatives = true
	}
	for i, cause := range e.Causes {
		below := causes(cause)
		switch {
		case !alternatives:
			all = append(all, below...)
		case i == 0 || len(below) < len(all):
			all = below
		}
	}
	return all
}

func quote(text []byte) string {
	if len(text) > maxQuote {
		return fmt.Sprintf("%s… (%d bytes)", text[:maxQuote], len(text))
	}
	return string(text)
}
