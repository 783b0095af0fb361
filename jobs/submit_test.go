package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// knows accepts the type "ok" and finds a fault at /type of all else.
type knows struct{}

func (knows) UsesBrowser(raw json.RawMessage) bool { return Member(raw, "in") != nil }

func (knows) Secrets(json.RawMessage) []SecretUse { return nil }

func (knows) ValidateAction(raw json.RawMessage) []FieldError {
	if string(Member(raw, "type")) == `"ok"` {
		return nil
	}
	return []FieldError{{"/type", "is not ok"}}
}

func submitOptions() SubmitOptions {
	return SubmitOptions{Actions: knows{}, Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }}
}

// confiding names as many secrets as an action says.
type confiding struct{ knows }

func (confiding) Secrets(raw json.RawMessage) (uses []SecretUse) {
	n, _ := strconv.Atoi(string(Member(raw, "n")))
	for i := range n {
		uses = append(uses, SecretUse{"/" + strconv.Itoa(i), "s" + strconv.Itoa(i)})
	}
	return uses
}

// A job names so many secrets, however often each.
func TestParseSubmitSecrets(t *testing.T) {
	o := submitOptions()
	o.Actions = confiding{}
	if s, err := ParseSubmit([]byte(`{"actions":[{"type":"ok","n":50},{"type":"ok","n":50}]}`), o); err != nil || len(s.Secrets) != 100 {
		t.Errorf("%d, %v", len(s.Secrets), err)
	}
	_, err := ParseSubmit([]byte(`{"actions":[{"type":"ok","n":50},{"type":"ok","n":52}]}`), o)
	if invalid := new(InvalidError); !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Pointer != "/actions/1/50" {
		t.Errorf("%v", err)
	}
}

func TestParseSubmit(t *testing.T) {
	defaults := Spec{Payload: json.RawMessage("null"), MaxAttempts: 3, Timeout: 5 * time.Minute}
	with := func(change func(*Spec)) Spec {
		s := defaults
		change(&s)
		return s
	}
	for body, want := range map[string]Spec{
		` { "actions" : [ {"type":"ok"} ] } `: with(func(s *Spec) { s.Actions = json.RawMessage(`[{"type":"ok"}]`) }),
		`{"queue":"a.b_c-9"}`:                 with(func(s *Spec) { s.Queue = "a.b_c-9" }),
		`{"queue":"q","payload":{ "a": "<é\u00e9" }}`: with(func(s *Spec) {
			s.Queue, s.Payload = "q", json.RawMessage(`{"a":"<é\u00e9"}`)
		}),
		`{"queue":"q","payload":null,"actions":null,"maxAttempts":null,"timeoutMs":null,"runAt":null,"expiresInMs":null,"priority":null,"metadata":null}`: with(func(s *Spec) { s.Queue = "q" }),
		`{"queue":"q","maxAttempts":25,"timeoutMs":86400000,"priority":-100,"runAt":"2026-06-01T02:00:00.5+02:00","metadata":{"k": 1}}`: {
			Queue: "q", Payload: json.RawMessage("null"), MaxAttempts: 25, Timeout: 24 * time.Hour, Priority: -100,
			RunAt: time.Date(2026, 6, 1, 0, 0, 0, 5e8, time.UTC), Metadata: json.RawMessage(`{"k":1}`),
		},
		`{"title":"Tea","selectorAttribute":"data-test","steps":[{"type":"ok"}]}`: with(func(s *Spec) {
			s.Title, s.Actions = "Tea", json.RawMessage(`[{"type":"ok"}]`)
		}),
		`{"timeout":700,"actions":[{"type":"ok"},{"type":"ok","in":"browser"},{"type":"ok","in":"browser","timeout":5}]}`: with(func(s *Spec) {
			s.Browser = true
			s.Actions = json.RawMessage(`[{"type":"ok"},{"timeout":700,"type":"ok","in":"browser"},{"type":"ok","in":"browser","timeout":5}]`)
		}),
		`{"console":"warn","actions":[{"type":"ok","in":"browser"}]}`: with(func(s *Spec) {
			s.Browser, s.Console, s.Actions = true, "warn", json.RawMessage(`[{"type":"ok","in":"browser"}]`)
		}),
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"use":"shop","origins":["HTTPS://Shop.test:443/","http://[0:0::1]:80","https://shop.test"]}}`: with(func(s *Spec) {
			shop := "shop"
			s.Browser, s.Actions = true, json.RawMessage(`[{"type":"ok","in":"browser"}]`)
			s.State = &StateUse{Use: &shop, Origins: []string{"https://shop.test", "http://[::1]"}}
		}),
		`{"queue":"q","console":null}`:            with(func(s *Spec) { s.Queue = "q" }),
		`{"queue":"q","expiresInMs":1000}`:        with(func(s *Spec) { s.Queue, s.ExpiresIn = "q", time.Second }),
		`{"queue":"q","expiresInMs":31536000000}`: with(func(s *Spec) { s.Queue, s.ExpiresIn = "q", 365*24*time.Hour }),
		`{"queue":"q","runAt":"2027-01-01T00:00:00Z","maxAttempts":1,"timeoutMs":1000,"priority":100}`: {
			Queue: "q", Payload: json.RawMessage("null"), MaxAttempts: 1, Timeout: time.Second, Priority: 100,
			RunAt: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		},
	} {
		got, err := ParseSubmit([]byte(body), submitOptions())
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", body, d)
		}
	}
}

func TestParseSubmitCollectsFaults(t *testing.T) {
	many := `{"actions":[` + strings.Repeat(`{"type":"ok"},`, 100) + `{"type":"ok"}]}`
	for body, want := range map[string]string{ // the pointers
		`{}`:             "",
		`7`:              "",
		`[]`:             "",
		`null`:           "",
		`{"actions":[]}`: "/actions",
		`{"actions":{}}`: "/actions",
		many:             "/actions",
		`{"actions":[7,{"type":"ok"},{"type":"no"},null]}`: "/actions/0 /actions/2/type /actions/3",
		`{"actions":[{"type":"ok"}],"queue":"q"}`:          "/queue",
		`{"actions":[{"type":"ok"}],"payload":1}`:          "/payload",
		`{"steps":[]}`: "/steps",
		`{"steps":{},"title":7,"timeout":"1","selectorAttribute":[]}`:          "/steps /title /timeout /selectorAttribute",
		`{"steps":[{"type":"no"}],"timeout":0}`:                                "/timeout /steps/0/type",
		`{"steps":[{"type":"ok"}],"timeout":30001,"queue":"q"}`:                "/timeout /queue",
		`{"steps":[{"type":"ok"}],"actions":[{"type":"ok"}]}`:                  "/steps",
		`{"queue":"q","timeout":5,"title":"` + strings.Repeat("x", 257) + `"}`: "/timeout /title",
		`{"queue":""}`:    "/queue",
		`{"queue":"A"}`:   "/queue",
		`{"queue":"a b"}`: "/queue",
		`{"queue":7}`:     "/queue",
		`{"queue":"` + strings.Repeat("q", 65) + `"}`: "/queue",
		`{"Queue":"q"}`:                                                               "/Queue",
		`{"queue":"q","maxAttempts":0}`:                                               "/maxAttempts",
		`{"queue":"q","maxAttempts":26}`:                                              "/maxAttempts",
		`{"queue":"q","maxAttempts":2.5}`:                                             "/maxAttempts",
		`{"queue":"q","maxAttempts":"3"}`:                                             "/maxAttempts",
		`{"queue":"q","maxAttempts":1e1}`:                                             "/maxAttempts",
		`{"queue":"q","maxAttempts":99999999999999999999}`:                            "/maxAttempts",
		`{"queue":"q","timeoutMs":999}`:                                               "/timeoutMs",
		`{"queue":"q","timeoutMs":86400001}`:                                          "/timeoutMs",
		`{"queue":"q","timeoutMs":9223372036854775807}`:                               "/timeoutMs",
		`{"queue":"q","priority":101}`:                                                "/priority",
		`{"actions":[{"type":"ok","in":"browser"}],"console":"log"}`:                  "/console",
		`{"actions":[{"type":"ok","in":"browser"}],"console":3}`:                      "/console",
		`{"actions":[{"type":"ok"}],"console":"warn"}`:                                "/console",
		`{"queue":"q","console":"warn"}`:                                              "/console",
		`{"actions":[{"type":"no"}],"console":"warn"}`:                                "/actions/0/type",
		`{"queue":"q","state":{"use":"a"}}`:                                           "/state",
		`{"actions":[{"type":"ok"}],"state":{"use":"a"}}`:                             "/state",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{}}`:                       "/state",
		`{"actions":[{"type":"ok","in":"browser"}],"state":"a"}`:                      "/state",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"use":"a b"}}`:            "/state/use",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"save":""}}`:              "/state/save",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"use":"a","more":1}}`:     "/state/more",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"use":"a","origins":[]}}`: "/state/origins",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"use":"a","origins":["https://a.test:99999","https://2130706433","https://0x7F.1","https://127.1","https://a.test:0","https://a.test:0443","https://a<b","https://*.a.test","http://[fe80::1%25lo]"]}}`: "/state/origins/0 /state/origins/1 /state/origins/2 /state/origins/3 /state/origins/4 /state/origins/5 /state/origins/6 /state/origins/7 /state/origins/8",
		`{"actions":[{"type":"ok","in":"browser"}],"state":{"use":"a","origins":["https://a.test/x","ftp://a.test","https://a.test?","https://u@a.test","https://","a.test","https://ä.test"]}}`:                                                                    "/state/origins/0 /state/origins/1 /state/origins/2 /state/origins/3 /state/origins/4 /state/origins/5 /state/origins/6",
		`{"queue":"q","priority":true}`:                                                  "/priority",
		`{"queue":"q","expiresInMs":999}`:                                                "/expiresInMs",
		`{"queue":"q","expiresInMs":31536000001}`:                                        "/expiresInMs",
		`{"queue":"q","expiresInMs":0}`:                                                  "/expiresInMs",
		`{"queue":"q","expiresInMs":9223372036854775807}`:                                "/expiresInMs",
		`{"queue":"q","expiresInMs":"5m"}`:                                               "/expiresInMs",
		`{"queue":"q","runAt":"tomorrow"}`:                                               "/runAt",
		`{"queue":"q","runAt":5}`:                                                        "/runAt",
		`{"queue":"q","runAt":"2027-01-01T00:00:01Z"}`:                                   "/runAt",
		`{"queue":"q","runAt":"0000-01-01T00:00:00+23:59"}`:                              "/runAt",
		`{"queue":"q","runAt":"2026-01-01 00:00:00Z"}`:                                   "/runAt",
		`{"queue":"q","metadata":[]}`:                                                    "/metadata",
		`{"queue":"q","metadata":{"a":"` + strings.Repeat("x", MaxMetadataBytes) + `"}}`: "/metadata",
		`{"queue":"Q","zz":1,"a/b~c":2,"priority":1000,"runAt":"x","timeoutMs":1.5}`:     "/timeoutMs /a~1b~0c /zz /queue /priority /runAt",
	} {
		_, err := ParseSubmit([]byte(body), submitOptions())
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%.80s: %v", body, err)
			continue
		}
		var got []string
		for _, f := range invalid.Fields {
			got = append(got, f.Pointer)
		}
		if body == `{"Queue":"q"}` {
			want += " "
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%.80s: %s", body, d)
		}
	}
}

func TestParseSubmitTellsMalformedFromInvalid(t *testing.T) {
	for _, body := range []string{``, `{`, `{"queue":"q"}x`, `{"queue":"q","queue":"q"}`, `{"queue":"q","payload":"\ud800"}`,
		`{"queue":"q","payload":{"a":{"b":1,"b":2}}}`, "{\"queue\":\"q\",\"payload\":\"\xff\"}", `{"queue":"q","payload":1e999}`} {
		_, err := ParseSubmit([]byte(body), submitOptions())
		var m *MalformedError
		if !errors.As(err, &m) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestParseSubmitBoundsItsAnswer(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"queue":"q"`)
	for i := range 5000 {
		fmt.Fprintf(&b, `,"%d%s":0`, i, strings.Repeat("n", 200))
	}
	_, err := ParseSubmit([]byte(b.String()+"}"), submitOptions())
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Fields) != maxFieldErrors || len(err.Error()) > 20000 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

func TestParseSubmitSharesNothing(t *testing.T) {
	body := []byte(`{"queue":"qqqq","payload":"pppp","metadata":{"m":"mmmm"}}`)
	s, err := ParseSubmit(body, submitOptions())
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = 'X'
	}
	if s.Queue != "qqqq" || string(s.Payload) != `"pppp"` || string(s.Metadata) != `{"m":"mmmm"}` {
		t.Errorf("%+v", s)
	}
}

func FuzzParseSubmit(f *testing.F) {
	for _, s := range []string{
		`{"actions":[{"type":"ok"}],"priority":1}`,
		`{"queue":"q","payload":{"a":1},"maxAttempts":3,"timeoutMs":1000,"runAt":"2026-06-01T02:00:00Z","metadata":{}}`,
		`{"queue":"Q","zz":1}`, `{"queue":"q","payload":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ParseSubmit(body, submitOptions())
		var m *MalformedError
		var invalid *InvalidError
		switch {
		case errors.As(err, &m):
			if CheckJSON(body, MaxJSONDepth) == nil {
				t.Fatalf("%q is called malformed: %v", body, err)
			}
		case errors.As(err, &invalid):
			if len(invalid.Fields) == 0 {
				t.Fatalf("%q is invalid without a reason", body)
			}
		case err != nil:
			t.Fatalf("%q: %v", body, err)
		default:
			acceptable(t, s)
		}
	})
}

func acceptable(t *testing.T, s Spec) {
	if (s.Actions == nil) == (s.Queue == "") || s.MaxAttempts < 1 || s.MaxAttempts > 25 ||
		s.Timeout < time.Second || s.Timeout > 24*time.Hour || s.Priority < -100 || s.Priority > 100 {
		t.Fatalf("accepted: %+v", s)
	}
	for _, raw := range []json.RawMessage{s.Actions, s.Payload, s.Metadata} {
		if raw != nil && CheckJSON(raw, MaxJSONDepth) != nil {
			t.Fatalf("accepted: %s", raw)
		}
	}
}
