package rest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
)

// code stores a sign-in code.
func (s *site) code(t *testing.T, age time.Duration, scopes ...auth.Scope) string {
	t.Helper()
	code, text, err := auth.NewCode("acme", scopes)
	if err != nil {
		t.Fatal(err)
	}
	code.ExpiresAt = code.ExpiresAt.Add(-age)
	if err := s.store.CreateCode(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	return text
}

// TestLogin: a code becomes a key with its scopes, once; whatever is no good code gets the
// same answer, and no secret is logged.
func TestLogin(t *testing.T) {
	s := newSite(t)
	text := s.code(t, 0, auth.Watch, auth.Admin)
	in := s.call("POST", "/v1/login", "", `{"code":"`+text+`"}`)
	var got struct {
		Key, ID, Client string
		Scopes          []string
		ExpiresAt       time.Time
	}
	if err := json.Unmarshal([]byte(in.body), &got); err != nil || in.StatusCode != 201 || in.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", in.StatusCode, in.body)
	}
	if left := time.Until(got.ExpiresAt); got.Client != "acme" || strings.Join(got.Scopes, " ") != "watch admin" ||
		left > auth.SignedInFor || left < auth.SignedInFor-time.Minute {
		t.Errorf("signed in as %s", in.body)
	}
	me := s.call("GET", "/v1/me", got.Key, "")
	if !strings.Contains(me.body, `"keyId":"`+got.ID+`","name":"signed in"`) || !strings.Contains(me.body, `"expiresAt":"`+got.ExpiresAt.Format("2006-01-02T15:04:05.000Z")) {
		t.Errorf("me is %s", me.body)
	}
	s.call("POST", "/v1/jobs", got.Key, someJob).problem(t, transport.Forbidden)

	same := ""
	for what, code := range map[string]string{
		"used": text, "old": s.code(t, auth.CodeTTL), "unknown": text[:len(text)-1] + "2", "a key": s.admin, "empty": "",
	} {
		a := s.call("POST", "/v1/login", "", `{"code":"`+code+`"}`)
		a.problem(t, transport.Unauthenticated)
		body := strings.ReplaceAll(a.body, a.Header.Get("X-Request-Id"), "")
		if same == "" {
			same = body
		}
		if body != same {
			t.Errorf("%s: %s, others are told %s", what, body, same)
		}
	}
	for body, code := range map[string]transport.Code{
		``: transport.Malformed, `{}`: transport.Invalid, `{"code":1}`: transport.Invalid, `{"code":"x","more":1}`: transport.Invalid,
		`{"code":"` + strings.Repeat("x", maxLoginBody) + `"}`: transport.TooLarge,
	} {
		s.call("POST", "/v1/login", "", body).problem(t, code)
	}
	for range 30 {
		s.call("POST", "/v1/login", "", `{"code":"jcl_"}`)
	}
	s.call("POST", "/v1/login", "", `{"code":"jcl_"}`).problem(t, transport.LoginLimit)
	if a := s.call("POST", "/v1/login", "", `{"code":"`+s.code(t, 0)+`"}`); a.StatusCode != 201 {
		t.Errorf("a good code after many that were not: %d %s", a.StatusCode, a.body)
	}
	if log := s.log.String(); strings.Contains(log, text) || strings.Contains(log, got.Key) {
		t.Error("a secret is in the log")
	}
}
