package steps

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/jobs"
)

// faultsOf parses a step and returns what is wrong with it, a line each.
func faultsOf(t *testing.T, raw string, o Options) string {
	t.Helper()
	if err := jobs.CheckJSON([]byte(raw), jobs.MaxJSONDepth); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	_, f := Parse(json.RawMessage(raw), o)
	lines := make([]string, len(f))
	for i, e := range f {
		lines[i] = e.Pointer + ": " + e.Detail
	}
	return strings.Join(lines, "\n")
}

func TestFaultsOfSteps(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"navigate"}`:                                                         `/url: must be given`,
		`{"type":"navigate","url":5}`:                                                 `/url: must be a string`,
		`{"type":"navigate","url":"file:///etc/passwd"}`:                              `/url: must be an http or https URL, or about:blank`,
		`{"type":"navigate","url":"HTTPS://a.test","expectStatus":[200,99]}`:          `/expectStatus/1: must be at least 200`,
		`{"type":"navigate","url":"http://a.test","timeout":0,"targt":"main"}`:        "/targt: unknown member\n/timeout: must be at least 1",
		`{"type":"navigate","url":"http://a.test","timeout":30001,"frame":[0]}`:       "/frame: unknown member\n/timeout: must be at most 30000",
		`{"type":"navigate","url":"http://a.test","assertedEvents":[{"type":"x"},3]}`: "/assertedEvents/0/type: must be navigation\n/assertedEvents/1: must be an object",
		`{"type":"click"}`: `: must have either selectors, a list, or selector, one string`,
		`{"type":"click","selector":"a","selectors":["a"]}`: `: must have either selectors, a list, or selector, one string`,
		`{"type":"click","selectors":[]}`:                   `/selectors: must have at least 1 items`,
		`{"type":"click","selectors":["a",["b",""],7]}`:     "/selectors/1/1: must not be empty\n/selectors/2: must be a string or an array",
		`{"type":"click","selectors":["aria/","xpath/",["a","text/ "],"role=a b"]}`: "/selectors/0: must say what to look for\n" +
			"/selectors/1: must say what to look for\n/selectors/2/1: must say what to look for\n" + `/selectors/3: must be role=ROLE or role=ROLE[name="…"]`,
		`{"type":"click","selector":"a","button":"left","offsetX":"1"}`:                                                  "/button: must be primary, auxiliary, secondary, back or forward\n/offsetX: must be a number",
		`{"type":"click","selector":"a","frame":[0,-1,1.5]}`:                                                             "/frame/1: must be at least 0\n/frame/2: must be an integer",
		`{"type":"change","selector":"a"}`:                                                                               `/value: must be given`,
		`{"type":"press","key":"Control+Shift"}`:                                                                         ``,
		`{"type":"press","key":"A+Control"}`:                                                                             `/key: only Alt, Control, Meta and Shift can be held with a key`,
		`{"type":"keyDown","key":"Control+A"}`:                                                                           `/key: is not the name of a key`,
		`{"type":"keyUp","key":"Entr"}`:                                                                                  `/key: is not the name of a key`,
		`{"type":"setViewport","width":0,"height":5000}`:                                                                 "/height: must be at most 4096\n/width: must be at least 1",
		`{"type":"waitForElement","selector":"a","operator":">","count":-1,"attributes":{"a":1}}`:                        "/attributes/a: must be a string\n/count: must be at least 0\n/operator: must be >=, == or <=",
		`{"type":"setViewport","width":4096,"height":4096,"deviceScaleFactor":2}`:                                        "/deviceScaleFactor: the window would have more than 64000000 pixels",
		`{"type":"waitForUrl","pattern":""}`:                                                                             `/pattern: must not be empty`,
		`{"type":"screenshot","name":"a/b"}`:                                                                             `/name: must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen`,
		`{"type":"screenshot","name":"a","selector":"a","fullPage":true}`:                                                `/fullPage: cannot be had of an element`,
		`{"type":"screenshot","name":"a","quality":5}`:                                                                   `/quality: only jpeg and webp have a quality`,
		`{"type":"extract","name":"1a","selector":"b"}`:                                                                  `/name: must begin with a letter or underscore and have only letters, digits, underscores and hyphens`,
		`{"type":"extract","name":"a","selector":"b","what":"attribute"}`:                                                `/attribute: must be given with what "attribute", and only then`,
		`{"type":"upload","selector":"a"}`:                                                                               `/artifact: must be given, or else url`,
		`{"type":"setCookies","cookies":[{"name":"a","value":"b"}]}`:                                                     `/cookies/0: must have either url or domain`,
		`{"type":"setHeaders","headers":{"Host":"a","b c":"d","e":"f\n"}}`:                                               "/headers/Host: is set by the browser itself\n/headers/b c: is not the name of a header\n/headers/e: is not the value of a header",
		`{"type":"evaluate","expression":"1"}`:                                                                           `/type: this server does not evaluate expressions of jobs; it would with --allow-evaluate`,
		`{"type":"waitForExpression","expression":"1"}`:                                                                  `/type: this server does not evaluate expressions of jobs; it would with --allow-evaluate`,
		`{"type":"customStep","name":"mine"}`:                                                                            `/name: must be "jobcast." and the type of a step, e.g. jobcast.screenshot`,
		`{"type":"customStep","name":"jobcast.pdf","parameters":{"name":"a b","size":1},"timeout":0}`:                    `/timeout: must be at least 1`,
		`{"type":"customStep","name":"jobcast.pdf","parameters":{"name":"a b","size":1}}`:                                "/parameters/name: must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen\n/parameters/size: unknown member",
		`{"type":"customStep","name":"jobcast.pdf","target":"main","parameters":{"name":"a","target":"x","type":"pdf"}}`: "/parameters/target: stands beside the parameters too\n/parameters/type: unknown member",
		`{"type":"scrol"}`: `/type: unknown action type`,
	} {
		if diff := cmp.Diff(want, faultsOf(t, raw, Options{})); diff != "" {
			t.Errorf("%s\n%s", raw, diff)
		}
	}
}

// A recording is read as Chrome's Recorder exports it, and ours as people write them.
func TestRecordings(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "recording.json"))
	if err != nil {
		t.Fatal(err)
	}
	var recording struct{ Steps []json.RawMessage }
	if err := json.Unmarshal(raw, &recording); err != nil {
		t.Fatal(err)
	}
	if len(recording.Steps) < 12 {
		t.Fatalf("%d steps", len(recording.Steps))
	}
	for i, step := range recording.Steps {
		if got := faultsOf(t, string(step), Options{AllowEvaluate: true}); got != "" {
			t.Errorf("step %d: %s", i, got)
		}
	}
}

func TestSelectors(t *testing.T) {
	for source, want := range map[string]part{
		`#a > b`:                        {Kind: "css", Value: "#a > b"},
		`css/#a`:                        {Kind: "css", Value: "#a"},
		`pierce/#a`:                     {Kind: "pierce", Value: "#a"},
		`xpath///*[@id="a"]`:            {Kind: "xpath", Value: `//*[@id="a"]`},
		`text/Buy now`:                  {Kind: "text", Value: "Buy now"},
		`text=Buy now`:                  {Kind: "text", Value: "Buy now", Fold: true},
		`text="Buy \"now\""`:            {Kind: "text", Value: `Buy "now"`, Exact: true},
		`aria/ Buy  now `:               {Kind: "aria", Value: "Buy now", Exact: true},
		`aria/Buy[role="button"]`:       {Kind: "aria", Value: "Buy", Role: "button", Exact: true},
		`aria/[name='it\'s'][role="x"]`: {Kind: "aria", Value: "it's", Role: "x", Exact: true},
		`aria/Price [EUR]`:              {Kind: "aria", Value: "Price [EUR]", Exact: true},
		`role=Button`:                   {Kind: "aria", Role: "button", Exact: true},
		`role=link[name="Buy" i]`:       {Kind: "aria", Value: "Buy", Role: "link", Exact: true, Fold: true},
	} {
		var f faults
		got := f.part("/selector", source)
		want.source = source
		if len(f) > 0 || got != want {
			t.Errorf("%s: %+v, %v; want %+v", source, got, f, want)
		}
	}
}

func TestKeys(t *testing.T) {
	for name, want := range map[string]string{
		"a": "KeyA a a", "A": "KeyA A A", "Enter": "Enter Enter \r", "ArrowLeft": "ArrowLeft ArrowLeft ", "KeyQ": "KeyQ q q",
		"Digit1": "Digit1 1 1", "Shift": "ShiftLeft Shift ", "ControlRight": "ControlRight Control ", "F5": "F5 F5 ", "é": " é é", " ": "Space    ",
	} {
		k, ok := keyNamed(name)
		if got := fmt.Sprintf("%s %s %s", k.Code, k.Key, k.Text); !ok || got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var f faults
	c := f.chord("Control++", true)
	if len(f) > 0 || c.key.Key != "+" || len(c.modifiers) != 1 || c.modifiers[0].Key != "Control" {
		t.Errorf("%+v, %v", c, f)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"https://a.test/x", "https://a.test/x", true},
		{"https://a.test/x", "https://a.test/xy", false},
		{"*/x", "https://a.test/x", true},
		{"https://*/x?*", "https://a.test/x?y", true},
		{"*a*b*", "xbxa", false},
		{"a*a", "a", false},
		{"*", "", true},
	} {
		if matches(c.pattern, c.text) != c.want {
			t.Errorf("%q against %q is not %v", c.text, c.pattern, c.want)
		}
	}
}

// FuzzParse looks for a step that makes the parser panic, whose faults say nothing, or that
// nobody can run.
func FuzzParse(f *testing.F) {
	for _, kind := range Types() {
		f.Add([]byte(`{"type":"` + kind + `","selectors":["aria/a",["b","text/c"]],"name":"jobcast.pdf","value":"x","key":"Control+A"}`))
	}
	f.Add([]byte(`{"type":"customStep","name":"jobcast.extract","parameters":{"name":"a","selector":"role=link[name=\"x\" i]"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if jobs.CheckJSON(raw, jobs.MaxJSONDepth) != nil {
			return
		}
		step, wrong := Parse(raw, Options{AllowEvaluate: true})
		if len(wrong) > 0 {
			for _, e := range wrong {
				if e.Detail == "" || (e.Pointer != "" && !strings.HasPrefix(e.Pointer, "/")) {
					t.Errorf("%q: %+v", raw, e)
				}
			}
			return
		}
		if step.run == nil {
			t.Errorf("%q cannot be run", raw)
		}
	})
}
