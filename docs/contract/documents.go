// Package contract holds servers under test to docs/openapi.yaml and docs/asyncapi.yaml: what
// they say, and what clients say to them unless it is refused. It looks at the bytes of
// connections, so whoever speaks and however needs to know nothing of it.
package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/jobcast/jobcast/docs"
)

// base is where the schemas' compiler thinks that the documents are.
const base = "https://jobcast.test/"

// documents are both, ready to check with. kin-openapi reads and judges the OpenAPI document
// and finds routes. It would compile a schema anew for each value, which takes milliseconds;
// so values are checked with schemas that are compiled here, once, by the same library.
type documents struct {
	api    *openapi3.T
	router routers.Router

	mu       sync.Mutex // guards the fields below
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by where they are, or by channel and name of a message
	alike    map[uint64]int                // how many values of a shape were seen
}

// load reads the documents; the error says what is wrong with them.
var load = sync.OnceValues(func() (*documents, error) {
	openapi, err := docs.OpenAPI()
	if err != nil {
		return nil, err
	}
	asyncapi, err := docs.AsyncAPI()
	if err != nil {
		return nil, err
	}
	return read(openapi, asyncapi)
})

func read(openapi, asyncapi []byte) (*documents, error) {
	d := &documents{schemas: map[string]*jsonschema.Schema{}, alike: map[uint64]int{}}
	var err error
	if d.api, err = openapi3.NewLoader().LoadFromData(openapi); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	if err := d.api.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	if d.router, err = legacy.NewRouter(d.api); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	d.compiler = jsonschema.NewCompiler()
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	for name, text := range map[string][]byte{"openapi.json": openapi, "asyncapi.json": asyncapi} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		closeObjects(doc)
		if err := d.compiler.AddResource(base+name, doc); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := d.compileAll(asyncapi); err != nil {
		return nil, err
	}
	return d, nil
}

// closeObjects lets objects have no member that a schema does not name, unless it says so.
// Readers are told to pass over what they do not know; a server under test has nothing of
// that kind to say.
func closeObjects(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			closeObjects(item)
		}
	case map[string]any:
		_, listed := v["properties"].(map[string]any)
		if _, said := v["additionalProperties"]; listed && !said && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, member := range v {
			closeObjects(member)
		}
	}
}

// compileAll compiles what the AsyncAPI document says of messages, and checks its examples.
func (d *documents) compileAll(asyncapi []byte) error {
	var doc struct {
		Channels map[string]struct {
			Messages map[string]struct {
				Ref string `json:"$ref"`
			}
		}
		Components struct {
			Messages map[string]struct {
				Payload  json.RawMessage
				Examples []struct{ Payload json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal(asyncapi, &doc); err != nil {
		return fmt.Errorf("asyncapi: %w", err)
	}
	for channel, c := range doc.Channels {
		for name, m := range c.Messages {
			key, ok := strings.CutPrefix(m.Ref, "#/components/messages/")
			if _, there := doc.Components.Messages[key]; !ok || !there {
				return fmt.Errorf("asyncapi: channel %s has a message %s that is not there: %s", channel, name, m.Ref)
			}
			s, err := d.compile("asyncapi.json#/components/messages/" + key + "/payload")
			if err != nil {
				return err
			}
			d.schemas[channel+" "+name] = s
		}
	}
	for key, m := range doc.Components.Messages {
		for _, example := range m.Examples {
			if why := d.judge("asyncapi.json#/components/messages/"+key+"/payload", example.Payload); why != "" {
				return fmt.Errorf("asyncapi: example of %s: %s", key, why)
			}
		}
	}
	return nil
}

// compile returns the schema at a place, `document#/pointer`.
func (d *documents) compile(place string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, known := d.schemas[place]; known {
		return s, nil
	}
	s, err := d.compiler.Compile(base + place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	d.schemas[place] = s
	return s, nil
}

// message returns the schema of a message of a channel; nil: the channel has none of that name.
func (d *documents) message(channel, name string) *jsonschema.Schema {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.schemas[channel+" "+name]
}

// judge says what is wrong with a JSON value by the schema at a place; empty: nothing.
func (d *documents) judge(place string, text []byte) string {
	s, err := d.compile(place)
	if err != nil {
		return err.Error()
	}
	return against(s, text)
}

// judgeText says what is wrong with a parameter or a header by the schema at a place.
func (d *documents) judgeText(place string, kind *openapi3.SchemaRef, text string) string {
	s, err := d.compile(place)
	if err != nil {
		return err.Error()
	}
	var v any = text
	if types := kind.Value.Type; types != nil && types.Includes("integer") && strings.Trim(text, "0123456789") == "" {
		v = json.Number(text)
	}
	return judged(s.Validate(v), []byte(text))
}

// judgeAnswer is judge, except that of many events of a long-poll only the first of each
// shape are looked at.
func (d *documents) judgeAnswer(place string, text []byte) string {
	head, ok := bytes.CutPrefix(text, []byte(`{"events":[`))
	if !ok {
		return d.judge(place, text)
	}
	var page struct {
		Events      []json.RawMessage `json:"events"`
		LastEventID json.RawMessage   `json:"lastEventId"`
		Done        json.RawMessage   `json:"done"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&page); err != nil {
		return err.Error() + " in " + quote(head)
	}
	page.Events = slices.DeleteFunc(page.Events, func(e json.RawMessage) bool { return !d.fresh(place, e) })
	short, err := json.Marshal(page)
	if err != nil {
		return err.Error()
	}
	return d.judge(place, short)
}

// pointer writes names as a JSON pointer within a URL.
func pointer(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name)))
	}
	return b.String()
}

func itoa(n int) string { return strconv.Itoa(n) }
