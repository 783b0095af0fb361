package steps

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/http/httpguts"

	"github.com/jobcast/jobcast/jobs"
)

// How long a step may take that does not say.
const (
	elementTimeout = 5 * time.Second
	pageTimeout    = 30 * time.Second
)

// Options says what a server lets steps do; the zero value is the safe one.
type Options struct {
	// AllowEvaluate lets jobs run scripts of their own in the pages they open.
	AllowEvaluate bool
}

// Step is an action that has been read and found well-formed.
type Step struct {
	definition
	members
	kind         string // what is carried out
	alternatives []alternative
	chord        chord // of press, keyDown, keyUp
	ofCustom     bool  // it is what a customStep stands for
}

// Type is what the step does, e.g. click.
func (s Step) Type() string { return s.kind }

// members are those of all step types. Numbers are doubles, because the integers of
// JSON schema may be written 5.0.
type members struct {
	Type           string            `json:"type"`
	Timeout        float64           `json:"timeout"`
	Target         string            `json:"target"`
	Frame          []float64         `json:"frame"`
	AssertedEvents []json.RawMessage `json:"assertedEvents"`
	Selectors      []json.RawMessage `json:"selectors"`
	Selector       string            `json:"selector"`
	Name           string            `json:"name"`

	OffsetX    *float64 `json:"offsetX"`
	OffsetY    *float64 `json:"offsetY"`
	Button     string   `json:"button"`
	DeviceType string   `json:"deviceType"`
	Duration   float64  `json:"duration"`
	X          float64  `json:"x"`
	Y          float64  `json:"y"`

	Value   json.RawMessage `json:"value"`
	Text    value           `json:"text"`
	DelayMs float64         `json:"delayMs"`
	Key     string          `json:"key"`

	Artifact     string          `json:"artifact"`
	URL          string          `json:"url"`
	ExpectStatus json.RawMessage `json:"expectStatus"`

	Operator   string            `json:"operator"`
	Count      *float64          `json:"count"`
	Visible    *bool             `json:"visible"`
	Properties json.RawMessage   `json:"properties"`
	Attributes map[string]string `json:"attributes"`
	Pattern    string            `json:"pattern"`
	IdleMs     float64           `json:"idleMs"`
	Expression string            `json:"expression"`

	FullPage   bool    `json:"fullPage"`
	Format     string  `json:"format"`
	Quality    float64 `json:"quality"`
	Landscape  bool    `json:"landscape"`
	Background bool    `json:"background"`
	All        bool    `json:"all"`
	What       string  `json:"what"`
	Attribute  string  `json:"attribute"`

	Width             float64          `json:"width"`
	Height            float64          `json:"height"`
	DeviceScaleFactor float64          `json:"deviceScaleFactor"`
	IsMobile          bool             `json:"isMobile"`
	HasTouch          bool             `json:"hasTouch"`
	IsLandscape       bool             `json:"isLandscape"`
	Download          float64          `json:"download"`
	Upload            float64          `json:"upload"`
	Latency           float64          `json:"latency"`
	Cookies           []cookie         `json:"cookies"`
	Headers           map[string]value `json:"headers"`
	Parameters        json.RawMessage  `json:"parameters"`
}

type cookie struct {
	Name     string  `json:"name"`
	Value    value   `json:"value"`
	URL      string  `json:"url"`
	Domain   string  `json:"domain"`
	Path     string  `json:"path"`
	Secure   bool    `json:"secure"`
	HTTPOnly bool    `json:"httpOnly"`
	SameSite string  `json:"sameSite"`
	Expires  float64 `json:"expires"`
}

// Parse reads a step: a JSON object that jobs.CheckJSON has passed, whose type is one of
// Types. A member that is null counts as absent. It returns everything that is wrong,
// with pointers relative to the step.
func Parse(raw json.RawMessage, o Options) (Step, []jobs.FieldError) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	object, ok := doc.(map[string]any)
	if err != nil || !ok {
		return Step{}, faults{{Detail: "must be an object"}}
	}
	for name, value := range object {
		if value == nil {
			delete(object, name)
		}
	}
	kind, _ := object["type"].(string)
	of, ok := schemas()[kind]
	if !ok {
		return Step{}, faults{{Pointer: "/type", Detail: "unknown action type"}}
	}
	f := of.check(object)
	if len(f) > 0 {
		return Step{}, f
	}
	s := Step{definition: vocabulary()[kind], kind: kind}
	if err := json.Unmarshal(raw, &s.members); err != nil { // the schema would have refused it
		return Step{}, faults{{Detail: "cannot be read"}}
	}
	if kind == "customStep" {
		return s.custom(object, o)
	}
	if f = s.complete(o); len(f) > 0 {
		return Step{}, f
	}
	return s, nil
}

// customPrefix begins the names of our steps in a recording.
const customPrefix = "jobcast."

// custom reads the step that a customStep stands for: its parameters, beside the members
// that all steps have.
func (s Step) custom(object map[string]any, o Options) (Step, faults) {
	kind, ours := strings.CutPrefix(s.Name, customPrefix)
	if _, known := schemas()[kind]; !ours || !known || kind == "customStep" {
		return Step{}, faults{{Pointer: "/name", Detail: `must be "jobcast." and the type of a step, e.g. jobcast.screenshot`}}
	}
	parameters, _ := object["parameters"].(map[string]any)
	whole := map[string]any{}
	for name, value := range parameters {
		whole[name] = value
	}
	var f faults
	for name, value := range object {
		switch name {
		case "type", "name", "parameters":
			continue
		}
		if _, twice := whole[name]; twice {
			f.addf("/parameters/"+name, "stands beside the parameters too")
		}
		whole[name] = value
	}
	if _, given := parameters["type"]; given {
		f.addf("/parameters/type", "unknown member")
	}
	whole["type"] = kind
	raw, err := json.Marshal(whole)
	if err != nil || len(f) > 0 {
		return Step{}, f
	}
	step, inner := Parse(raw, o)
	step.ofCustom = true
	for _, e := range inner {
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Pointer, "/"), "/")
		if _, outside := object[name]; !outside || name == "name" {
			e.Pointer = "/parameters" + e.Pointer
		}
		f = append(f, e)
	}
	return step, f
}

// complete reads what a schema cannot say.
func (s *Step) complete(o Options) (f faults) {
	if s.evaluate && !o.AllowEvaluate {
		f.addf("/type", "this server does not evaluate expressions of jobs; it would with --allow-evaluate")
	}
	s.selectors(&f)
	switch s.kind {
	case "press", "keyDown", "keyUp":
		s.chord = f.chord(s.Key, s.kind == "press")
	case "extract":
		if (s.What == "attribute") != (s.Attribute != "") {
			f.addf("/attribute", `must be given with what "attribute", and only then`)
		}
	case "screenshot":
		if s.FullPage && len(s.alternatives) > 0 {
			f.addf("/fullPage", "cannot be had of an element")
		}
		if s.Quality != 0 && (s.Format == "" || s.Format == "png") {
			f.addf("/quality", "only jpeg and webp have a quality")
		}
	case "setViewport":
		if scale := max(1, s.DeviceScaleFactor); s.Width*s.Height*scale*scale > maxPixels {
			f.addf("/deviceScaleFactor", "the window would have more than %d pixels", maxPixels)
		}
	case "upload":
		if (s.Artifact == "") == (s.URL == "") {
			f.addf("/artifact", "must be given, or else url")
		} else if s.Artifact != "" && !jobs.ValidArtifactName(s.Artifact) {
			f.addf("/artifact", "must be the name of an artifact")
		}
	case "setCookies":
		for i, c := range s.Cookies {
			f.cookie("/cookies/"+strconv.Itoa(i), c)
		}
	case "setHeaders":
		f.headers(s.Headers)
	}
	return f
}

// cookie refuses what no browser takes for a cookie.
func (f *faults) cookie(at string, c cookie) {
	if (c.URL == "") == (c.Domain == "") {
		f.addf(at, "must have either url or domain")
	}
	const rule = "must have no semicolons, no control characters and no white space around it"
	if !validCookieName(c.Name) {
		f.addf(at+"/name", rule+", and no equals sign")
	}
	if !validCookieValue(c.Value.text) {
		f.addf(at+"/value", rule)
	}
	if len(c.Name)+len(c.Value.text) > maxCookie {
		f.addf(at, "must have at most %d bytes of name and value", maxCookie)
	}
}

// headers refuses what is no header, and those that belong to the connection or to the
// browser.
func (f *faults) headers(all map[string]value) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := all[name]
		at, key := jobs.PointerTo("/headers", name), http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			f.addf(at, "is not the name of a header")
		case !httpguts.ValidHeaderFieldValue(value.text):
			f.addf(at, "is not the value of a header")
		case key == "Host" || key == "Connection" || key == "Content-Length" || key == "Transfer-Encoding" ||
			key == "Upgrade" || key == "Te" || key == "Trailer" || strings.HasPrefix(key, "Proxy-"):
			f.addf(at, "is set by the browser itself")
		}
	}
}

// limit is how long the step may wait.
func (s Step) limit() time.Duration {
	switch {
	case s.Timeout > 0:
		return time.Duration(s.Timeout) * time.Millisecond
	case s.slow:
		return pageTimeout
	}
	return elementTimeout
}

// pageLimit is how long it may wait for a page that it has begun to open.
func (s Step) pageLimit() time.Duration {
	if s.Timeout > 0 {
		return s.limit()
	}
	return pageTimeout
}
