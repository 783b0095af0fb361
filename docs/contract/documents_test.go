package contract

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/jobcast/jobcast/docs"
)

// TestDocuments: both documents are valid, and so are their examples.
func TestDocuments(t *testing.T) {
	d, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if d.message("webSocket", "job.event") == nil || d.message("eventStream", "end") != nil {
		t.Error("the messages are not as they are written")
	}
}

// TestAsyncAPI: the document is one of AsyncAPI 3.0.0 by the schema that its authors publish,
// which stands in testdata under their licence (npm's @asyncapi/specs).
func TestAsyncAPI(t *testing.T) {
	text, err := os.ReadFile("testdata/asyncapi-3.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	meta, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(base+"meta.json", meta); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile(base + "meta.json")
	if err != nil {
		t.Fatal(err)
	}
	asyncapi, err := docs.AsyncAPI()
	if err != nil {
		t.Fatal(err)
	}
	if why := against(s, asyncapi); why != "" {
		t.Error(why)
	}
	if against(s, bytes.Replace(asyncapi, []byte(`"action":"send"`), []byte(`"action":"shout"`), 1)) == "" {
		t.Error("an action that AsyncAPI does not know is not seen")
	}
}

// TestBrokenDocuments: what is wrong with a document is seen.
func TestBrokenDocuments(t *testing.T) {
	openapi, _ := docs.OpenAPI()
	asyncapi, _ := docs.AsyncAPI()
	for what, change := range map[string]func(o, a []byte) ([]byte, []byte){
		"a schema that is not there": func(o, a []byte) ([]byte, []byte) {
			return bytes.Replace(o, []byte("#/components/schemas/Me\""), []byte("#/components/schemas/Moi\""), 1), a
		},
		"a message that is not there": func(o, a []byte) ([]byte, []byte) {
			return o, bytes.Replace(a, []byte("#/components/messages/live\""), []byte("#/components/messages/lively\""), 1)
		},
		"an example that is none": func(o, a []byte) ([]byte, []byte) {
			return o, bytes.Replace(a, []byte(`"retryMs":1500`), []byte(`"retryMs":"soon"`), 1)
		},
		"a schema of a message that is not there": func(o, a []byte) ([]byte, []byte) {
			return o, bytes.Replace(a, []byte("schemas/Subscribed\""), []byte("schemas/Subscribe\""), 1)
		},
	} {
		o, a := change(openapi, asyncapi)
		if bytes.Equal(o, openapi) && bytes.Equal(a, asyncapi) {
			t.Errorf("%s: nothing was changed", what)
		}
		if _, err := read(o, a); err == nil {
			t.Errorf("%s is not seen", what)
		}
	}
}

// TestCodes: the documents have each code of a refusal, and its status, and no other.
func TestCodes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../transport/errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // of the constants, by their name in the code
	want := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "Code" {
				names[n.Names[0].Name], _ = strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
			}
		case *ast.KeyValueExpr:
			name, isName := n.Key.(*ast.Ident)
			if row, ok := n.Value.(*ast.CompositeLit); ok && isName && names[name.Name] != "" {
				want[names[name.Name]] = row.Elts[0].(*ast.BasicLit).Value
			}
		}
		return true
	})
	openapi, _ := docs.OpenAPI()
	var doc struct {
		Components struct {
			Schemas struct {
				Code struct {
					Description string
					Enum        []string
				}
			}
		}
	}
	if err := json.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	code := doc.Components.Schemas.Code
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\d+) \\|").FindAllStringSubmatch(code.Description, -1) {
		if slices.Contains(code.Enum, m[1]) {
			got[m[1]] = m[2]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 29 || len(got) != len(code.Enum) {
		t.Errorf("codes: -transport/errors.go +openapi.yaml\n%s", diff)
	}
	for name := range want {
		if n := strings.Count(string(openapi), `"`+name+`"`); n < 2 {
			t.Errorf("no answer is described that may have the code %s", name)
		}
	}
}
