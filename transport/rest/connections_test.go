package rest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
)

// shown is a live stream of a test.
type shown struct {
	id    string
	ended chan error
}

func (s *shown) ID() string       { return s.id }
func (s *shown) End(reason error) { s.ended <- reason }
func (s *shown) Watching() transport.Watching {
	return transport.Watching{Standing: hub.Standing{Rooms: 7, First: []string{"", "j"}, Position: "e-1", Lag: 3}, Conflated: true}
}

// open makes live streams of a key.
func (s *site) open(t *testing.T, n int, p auth.Principal) []*shown {
	t.Helper()
	all := make([]*shown, n)
	for i := range all {
		a, err := transport.OpenStream(t.Context(), s.streams, p, "sse")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Release)
		all[i] = &shown{fmt.Sprintf("%s-%d", p.KeyID, i), make(chan error, 2)}
		a.OnEnd(all[i])
	}
	return all
}

// TestConnections: pages are whole and in order, an answer says what is known, and one is
// ended once.
func TestConnections(t *testing.T) {
	s := newSite(t)
	own := auth.Principal{
		Identity: auth.Identity{ClientID: "acme", KeyID: s.keyID(s.plain)}, MaxConnections: 600,
		Addr: netip.MustParseAddr("192.0.2.7"), Agent: auth.NewAgent("tab/1\x1b\xff" + strings.Repeat("é", 200)),
	}
	admitted, err := transport.OpenStream(t.Context(), s.streams, own, "sse") // not begun yet
	if err != nil {
		t.Fatal(err)
	}
	defer admitted.Release()
	all := s.open(t, 501, own)
	token := own
	token.TokenID, token.Addr, token.Agent = "tok", transport.UnixPeer, auth.Agent{}
	all = append(all, s.open(t, 1, token)...)
	s.open(t, 1, auth.Principal{Identity: auth.Identity{ClientID: "umbra", KeyID: s.keyID(s.foreign)}})

	first := s.call("GET", "/v1/connections", s.admin, "")
	head := `{"connections":[{"id":"` + all[0].id + `","transport":"sse","client":"acme","key":{"id":"` + own.KeyID + `","name":"` // a name of the site's
	mid := `"tokenId":null,"rooms":{"count":7,"names":["client:acme","job:j"]},"position":"e-1","lag":3,"conflated":true,"since":"20`
	tail := `"address":"192.0.2.7","userAgent":"tab/1` + strings.Repeat("é", 60) + `"}`
	for _, part := range []string{head, mid, tail} {
		if !strings.Contains(first.body[:1000], part) {
			t.Errorf("%s\nlacks %s", first.body[:1000], part)
		}
	}
	var ids []string
	for path := "/v1/connections"; path != ""; {
		var page struct {
			Connections []struct{ ID string }
			Next        *string
		}
		if err := json.Unmarshal([]byte(s.call("GET", path, s.admin, "").body), &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Connections {
			ids = append(ids, c.ID)
		}
		if path = ""; page.Next != nil {
			path = "/v1/connections?limit=1&after=" + *page.Next
		}
	}
	for i, one := range all {
		if len(ids) != len(all) || ids[i] != one.id {
			t.Fatalf("%d of %d are listed, %q in the place of %q", len(ids), len(all), ids[i], one.id)
		}
	}
	last := s.call("GET", "/v1/connections?limit=2&after=502", s.admin, "")
	if want := `"tokenId":"tok"`; !strings.Contains(last.body, want) || !strings.Contains(last.body, `"address":null,"userAgent":null}],"next":null}`) {
		t.Errorf("%s, want %s and no address", last.body, want)
	}
	for range 2 {
		if a := s.call("DELETE", "/v1/connections/"+all[3].id, s.admin, ""); a.StatusCode != 204 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	if reason := <-all[3].ended; transport.FromError(reason).Code != transport.Forbidden || len(all[3].ended) > 0 {
		t.Errorf("ended by %v, and %d times more", reason, len(all[3].ended))
	}
}

func TestConnectionsRefused(t *testing.T) {
	s := newSite(t)
	for path, code := range map[string]transport.Code{
		"GET /v1/connections?limit=0": transport.Invalid, "GET /v1/connections?limit=501": transport.Invalid,
		"GET /v1/connections?after=x": transport.Invalid, "GET /v1/connections?after=-1": transport.Invalid,
		"DELETE /v1/connections/none": transport.NotFound, "DELETE /v1/connections/" + strings.Repeat("x", 65): transport.NotFound,
		"DELETE /v1/connections": transport.MethodNotAllowed,
	} {
		method, path, _ := strings.Cut(path, " ")
		s.call(method, path, s.admin, "").problem(t, code)
	}
	s.call("GET", "/v1/connections", s.plain, "").problem(t, transport.Forbidden)
	s.call("DELETE", "/v1/connections/x", s.plain, "").problem(t, transport.Forbidden)
	s.call("GET", "/v1/connections", "", "").problem(t, transport.Unauthenticated)
}
