package rest

import (
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
)

// TestMe: every credential learns who it is; a token learns nothing of its client.
func TestMe(t *testing.T) {
	s := newSite(t)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	slot, err := s.streams.Open(t.Context(), auth.Principal{Identity: auth.Identity{ClientID: "acme", KeyID: s.keyID(s.plain)}}, "ws", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Release()
	token := s.call("POST", "/v1/tokens", s.plain, `{"jobId":"`+id+`"}`)
	_, text, _ := strings.Cut(token.body, `"token":"`)
	text, _, _ = strings.Cut(text, `"`)
	for _, test := range []struct{ credential, want string }{
		{s.plain, `"tokenId":null,"jobId":null,"scopes":["submit","watch","work"],"expiresAt":null,"limits":{"streams":{"max":10,"used":1},"waits":{"max":64,"used":0},` +
			`"jobs":{"max":100000,"used":1},"artifactBytes":{"max":null,"used":0}}}`},
		{s.foreign, `"jobs":{"max":100000,"used":0}`},
		{s.admin, `"admin"`},
		{text, `"name":null,`},
		{text, `"jobId":"` + id + `","scopes":["watch"],"expiresAt":"20`},
		{text, `"limits":{"streams":{"max":5,"used":0},"waits":{"max":64,"used":0},"jobs":null,"artifactBytes":null}}`},
	} {
		a := s.call("GET", "/v1/me", test.credential, "")
		if a.StatusCode != 200 || !strings.Contains(a.body, test.want) || strings.Contains(a.body, test.credential) || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %s, want %s", a.StatusCode, a.body, test.want)
		}
	}
	s.call("GET", "/v1/me", "", "").problem(t, transport.Unauthenticated)
}
