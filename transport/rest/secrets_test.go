package rest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/vault"
	"github.com/jobcast/jobcast/transport"
)

// withVault gives a site a key.
func withVault(t *testing.T) setting {
	return func(d *Deps, _ *auth.Limits) {
		v, err := vault.Open(t.Context(), d.Keys.(vault.Store), [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		d.Vault = v
	}
}

// TestSecrets: secrets go in, are listed without their values, and deleted; a value stands
// in no answer and not in the log. Without a key there are none.
func TestSecrets(t *testing.T) {
	s := newSite(t, withVault(t))
	const canary = "canary-4f7a9c1e2b8d6035"
	path := func(name string) string { return "/v1/secrets/" + name }
	var answers strings.Builder
	call := func(method, path, body string, want int, says ...string) {
		t.Helper()
		a := s.call(method, path, s.admin, body, "Idempotency-Key: "+path)
		answers.WriteString(a.body)
		for _, text := range says {
			if !strings.Contains(a.body, text) {
				t.Errorf("%s %s: %s, want %s", method, path, a.body, text)
			}
		}
		if a.StatusCode != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, a.StatusCode, a.body, want)
		}
	}
	call("PUT", path("shop"), `{"value":"`+canary+`","hosts":["Shop.test","*.cdn.test"]}`, 201, `{"name":"shop","hosts":["shop.test","*.cdn.test"],"createdAt":"`)
	call("PUT", path("shop"), `{"value":"`+canary+`"}`, 200, `"hosts":null`)
	call("PUT", path("A.b-c_1"), fmt.Sprintf(`{"value":%q}`, strings.Repeat("é", jobs.MaxSecretBytes/2)), 201)
	call("GET", "/v1/secrets", "", 200, `{"secrets":[{"name":"A.b-c_1",`, `{"name":"shop",`, `}],"next":null}`)
	call("GET", "/v1/secrets?limit=1", "", 200, `"next":"A.b-c_1"}`)
	call("GET", "/v1/secrets?after=A.b-c_1", "", 200, `{"secrets":[{"name":"shop"`)
	for _, query := range []string{"?limit=0", "?limit=501", "?after=%20"} {
		call("GET", "/v1/secrets"+query, "", 422, `"pointer":"`+query[:6])
	}
	for body, says := range map[string]string{
		`{"value":"` + canary + `\n"}`: `"pointer":"/value","detail":"must have no line breaks`, `{"value":"a\u0000bcd"}`: `"pointer":"/value"`, `{"value":"abc\u007f"}`: `"pointer":"/value"`,
		`{}`: `"pointer":"/value"`, `{"value":"ab"}`: `"pointer":"/value"`, `{"value":7}`: `"pointer":"/value"`,
		`{"value":"` + strings.Repeat("x", jobs.MaxSecretBytes+1) + `"}`: `"pointer":"/value"`,
		`{"value":"` + canary + `","more":1}`:                            `"pointer":"/more"`,
		`{"value":"` + canary + `","hosts":["a b"]}`:                     `"pointer":"/hosts"`,
		`{"value":"` + canary + `","hosts":["` + strings.Repeat("x", 60) + strings.Repeat(`","x`+strings.Repeat("y", 59), 9) + `"]}`: `"pointer":"/hosts"`,
		`"` + canary + `"`: `must be an object`,
	} {
		call("PUT", path("bad"), body, 422, says)
	}
	call("PUT", path("bad"), `{"value":"`+canary+`"`, 400)
	for _, name := range []string{"a%20b", "%2E%2E", strings.Repeat("x", 65)} {
		if a := s.call("PUT", path(name), s.admin, `{"value":"`+canary+`"}`); a.StatusCode != 422 && a.StatusCode != 404 {
			t.Errorf("the name %s: %d %s", name, a.StatusCode, a.body)
		}
	}
	if a := s.call("GET", "/v1/secrets", s.foreign, ""); strings.TrimSpace(a.body) != `{"secrets":[],"next":null}` {
		t.Errorf("another client sees %s", a.body)
	}
	call("DELETE", path("shop"), "", 204)
	call("DELETE", path("shop"), "", 404)
	if strings.Contains(answers.String(), canary) || strings.Contains(s.log.String(), canary) {
		t.Errorf("the value is told: %s\n%s", answers.String(), s.log.String())
	}
	without := newSite(t)
	for method, body := range map[string]string{"GET": "", "PUT": `{"value":"` + canary + `"}`, "DELETE": ""} {
		at := "/v1/secrets/shop"
		if method == "GET" {
			at = "/v1/secrets"
		}
		a := without.call(method, at, without.admin, body)
		if a.problem(t, transport.Invalid); !strings.Contains(a.body, "--secret-key-file") {
			t.Errorf("without a key, %s: %s", method, a.body)
		}
		without.call(method, at, without.plain, body).problem(t, transport.Forbidden)
	}
	for method, at := range map[string]string{"GET": "/v1/browser-states", "DELETE": "/v1/browser-states/shop"} {
		without.call(method, at, without.admin, "").problem(t, transport.Invalid)
	}
}
