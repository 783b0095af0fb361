package contract

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
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
	var reasons []string
	leaves(invalid, &reasons)
	return strings.Join(reasons, "; ") + " in " + quote(text)
}

// leaves collects the innermost causes.
func leaves(e *jsonschema.ValidationError, reasons *[]string) {
	if len(e.Causes) == 0 && len(*reasons) < maxReasons {
		*reasons = append(*reasons, "/"+strings.Join(e.InstanceLocation, "/")+": "+e.ErrorKind.LocalizedString(english))
	}
	for _, cause := range e.Causes {
		leaves(cause, reasons)
	}
}

func quote(text []byte) string {
	if len(text) > maxQuote {
		return fmt.Sprintf("%s… (%d bytes)", text[:maxQuote], len(text))
	}
	return string(text)
}
