package action

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/jobcast/jobcast/jobs"
)

func TestValidate(t *testing.T) {
	for raw, want := range map[string]string{ // the pointers of the faults
		`{"type":"wait","ms":0}`:                 "",
		`{"type":"wait","ms":3600000}`:           "",
		`{"type":"wait","ms":3600001}`:           "/ms",
		`{"type":"wait","ms":-1}`:                "/ms",
		`{"type":"wait","ms":1.5}`:               "/ms",
		`{"type":"wait"}`:                        "/ms",
		`{"type":"wait","ms":1,"Ms":2,"a/~b":3}`: "/Ms /a~1~0b",
		`{"type":"nap"}`:                         "/type",
		`{"type":7}`:                             "/type",
		`{}`:                                     "/type",
		`{"Type":"wait","ms":1}`:                 "/type",

		`{"type":"http","url":"https://example.com/a?b#c"}`: "",
		`{"type":"http"}`:                                                     "/url",
		`{"type":"http","url":7}`:                                             "/url",
		`{"type":"http","url":"ftp://example.com"}`:                           "/url",
		`{"type":"http","url":"FILE:///etc/passwd"}`:                          "/url",
		`{"type":"http","url":"/relative"}`:                                   "/url",
		`{"type":"http","url":"http:example.com"}`:                            "/url",
		`{"type":"http","url":"http://"}`:                                     "/url",
		`{"type":"http","url":"http://u:p@example.com"}`:                      "/url",
		`{"type":"http","url":"http://example.com:0"}`:                        "/url",
		`{"type":"http","url":"http://example.com:65536"}`:                    "/url",
		`{"type":"http","url":"http://example.com\r\nX: y"}`:                  "/url",
		`{"type":"http","url":"http://a","method":"get"}`:                     "/method",
		`{"type":"http","url":"http://a","method":"CONNECT"}`:                 "/method",
		`{"type":"http","url":"http://a","method":"GET / HTTP/1.1\r\nX: y"}`:  "/method",
		`{"type":"http","url":"http://a","headers":{"Host":"b"}}`:             "/headers/Host",
		`{"type":"http","url":"http://a","headers":{"transfer-encoding":""}}`: "/headers/transfer-encoding",
		`{"type":"http","url":"http://a","headers":{"X":"a\r\nY: b"}}`:        "/headers/X",
		`{"type":"http","url":"http://a","headers":{"X Y":"a"}}`:              "/headers/X Y",
		`{"type":"http","url":"http://a","headers":{"":"a"}}`:                 "/headers/",
		`{"type":"http","url":"http://a","headers":{"X":7,"Y":null}}`:         "/headers/X /headers/Y",
		`{"type":"http","url":"http://a","headers":{"X-a":"1","x-A":"2"}}`:    "/headers/x-A",
		`{"type":"http","url":"http://a","headers":[]}`:                       "/headers",
		`{"type":"http","url":"http://a","expectStatus":[200,404]}`:           "",
		`{"type":"http","url":"http://a","expectStatus":199}`:                 "/expectStatus",
		`{"type":"http","url":"http://a","expectStatus":600}`:                 "/expectStatus",
		`{"type":"http","url":"http://a","expectStatus":[]}`:                  "/expectStatus",
		`{"type":"http","url":"http://a","expectStatus":"200"}`:               "/expectStatus",
		`{"type":"http","url":"http://a","saveAs":"x.pdf"}`:                   "",
		`{"type":"http","url":"http://a","saveAs":".."}`:                      "/saveAs",
		`{"type":"http","url":"http://a","saveAs":"a/b"}`:                     "/saveAs",
		`{"type":"http","url":"http://a","saveAs":7}`:                         "/saveAs",
		`{"type":"http","url":"x","method":"y","expectStatus":1,"z":0}`:       "/z /method /url /expectStatus",
	} {
		if schema := schemaOf(t, raw); schema != nil && want == "" && schema.Validate(instance(t, raw)) != nil {
			t.Errorf("%s: its schema refuses it: %v", raw, schema.Validate(instance(t, raw)))
		} else if schema != nil && beyondSchemas(want) && schema.Validate(instance(t, raw)) == nil {
			t.Errorf("%s: its schema lets it through", raw)
		}
		var got []string
		for _, f := range Builtin(Options{}).ValidateAction(json.RawMessage(raw)) {
			got = append(got, f.Pointer)
			if f.Detail == "" {
				t.Errorf("%s: no detail at %s", raw, f.Pointer)
			}
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s: %s", raw, d)
		}
	}
}

// beyondSchemas reports whether the faults at these pointers are such that a schema finds
// them too. What URLs and headers may hold, no schema says in full.
func beyondSchemas(pointers string) bool {
	return pointers != "" && !strings.HasPrefix(pointers, "/url") && !strings.HasPrefix(pointers, "/headers/")
}

func instance(t *testing.T, raw string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// schemaOf returns the schema that an action is described by, nil if it has no known type.
func schemaOf(t *testing.T, raw string) *jsonschema.Schema {
	t.Helper()
	for _, d := range Builtin(Options{}).Describe() {
		if !strings.Contains(raw, `"type":"`+d.Type+`"`) {
			continue
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(d.Type, instance(t, string(d.Schema))); err != nil {
			t.Fatal(err)
		}
		return c.MustCompile(d.Type)
	}
	return nil
}

func TestSubmitPlacesFaultsOfActions(t *testing.T) {
	_, err := jobs.ParseSubmit([]byte(`{"actions":[{"type":"wait","ms":1},{"type":"wait","ms":1},{"type":"http","url":"x"}]}`),
		jobs.SubmitOptions{Actions: Builtin(Options{})})
	var invalid *jobs.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Pointer != "/actions/2/url" {
		t.Errorf("err = %v", err)
	}
}

func TestRunRefusesWhatSubmitWould(t *testing.T) {
	for _, raw := range []string{`{"type":"wait","ms":-1}`, `{"type":"http","url":"file:///"}`, `{"type":"nap"}`, `7`} {
		_, err := Builtin(Options{}).Run(context.Background(), json.RawMessage(raw), jobs.Env{})
		var e *jobs.ActionError
		if !errors.As(err, &e) || e.Class != ClassInvalid || e.Retryable {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v, err := Wait{}.Run(t.Context(), json.RawMessage(`{"type":"wait","ms":3600000}`), jobs.Env{})
		if err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if b, _ := json.Marshal(v); string(b) != `{"type":"wait","ms":3600000}` {
			t.Errorf("result %s", b)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := Wait{}.Run(ctx, json.RawMessage(`{"type":"wait","ms":60000}`), jobs.Env{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
