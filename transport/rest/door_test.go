package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport"
)

func TestKeys(t *testing.T) {
	s := newSite(t)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	body := fmt.Sprintf(`{"name":"ci","scopes":["watch"],"maxConnections":3,"expiresAt":%q}`, end.Format(time.RFC3339Nano))
	a := s.call("POST", "/v1/keys", s.admin, body)
	var made struct {
		ID, ClientID, Name, ExpiresAt, CreatedAt, Key string
		Scopes                                        []string
		MaxConnections                                *int
	}
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 201 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if made.ClientID != "acme" || made.Name != "ci" || fmt.Sprint(made.Scopes) != "[watch]" || *made.MaxConnections != 3 ||
		made.ExpiresAt != end.Format("2006-01-02T15:04:05.000Z") || !strings.HasPrefix(made.Key, "jc_"+made.ID+"_") {
		t.Errorf("%s", a.body)
	}
	if got := s.call("GET", "/v1/jobs", made.Key, ""); got.StatusCode != 200 {
		t.Errorf("the new key: %d %s", got.StatusCode, got.body)
	}
	list := s.call("GET", "/v1/keys", s.admin, "")
	if list.StatusCode != 200 || !strings.Contains(list.body, made.ID) || strings.Contains(list.body, made.Key) {
		t.Errorf("%s", list.body)
	}
	if strings.Contains(list.body, "umbra") || strings.Contains(s.call("GET", "/v1/keys", s.foreign, "").body, made.ID) {
		t.Error("keys of one client were shown to another")
	}
	target := "/v1/keys/" + made.ID
	s.call("DELETE", target, s.foreign, "").problem(t, transport.NotFound)
	s.call("DELETE", "/v1/keys/"+strings.Repeat("x", 500), s.admin, "").problem(t, transport.NotFound)
	if got := s.call("DELETE", target, s.admin, ""); got.StatusCode != 204 || got.body != "" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	s.call("GET", "/v1/jobs", made.Key, "").problem(t, transport.Unauthenticated)
	if strings.Contains(s.log.String(), made.Key) {
		t.Error("the secret is in the log")
	}
}

// TestKeyPages: the list of keys comes in pages, and every key is on one.
func TestKeyPages(t *testing.T) {
	s := newSite(t) // acme has four keys
	var ids []string
	next := ""
	for range 3 {
		a := s.call("GET", "/v1/keys?limit=2&after="+next, s.admin, "")
		var page struct {
			Keys []struct{ ID string }
			Next *string
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Keys) != 2 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		ids = append(ids, page.Keys[0].ID, page.Keys[1].ID)
		if page.Next == nil {
			break
		}
		next = *page.Next
	}
	want := []string{s.keyID(s.admin), s.keyID(s.plain), s.keyID(s.watcher), s.keyID(s.submitter)}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("pages have %v, want %v", ids, want)
	}
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "after=x", "after=" + s.keyID(s.foreign)} {
		s.call("GET", "/v1/keys?"+query, s.admin, "").problem(t, transport.Invalid)
	}
}

func TestKeysRefused(t *testing.T) {
	s := newSite(t)
	for body, pointer := range map[string]string{
		`{"scopes":["root"]}`:                         "/scopes",
		`{"maxConnections":0}`:                        "/maxConnections",
		`{"expiresAt":"2001-01-01T00:00:00Z"}`:        "/expiresAt",
		`{"expiresAt":"2999-01-01T00:00:00Z"}`:        "/expiresAt",
		`{"expiresAt":"2999-01-01T00:00:00+24:00"}`:   "/expiresAt",
		`{"name":"` + strings.Repeat("n", 101) + `"}`: "/name",
		`{"clientId":"umbra"}`:                        "/clientId",
	} {
		p := s.call("POST", "/v1/keys", s.admin, body).problem(t, transport.Invalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %v", body, p.Errors)
		}
	}
	s.call("POST", "/v1/keys", s.admin, "[").problem(t, transport.Malformed)
}

// TestDrainInvitesNoBody: while the server drains, nobody is told to send a body that the
// drain then refuses.
func TestDrainInvitesNoBody(t *testing.T) {
	s := newSite(t)
	g := s.running()
	s.door.Drain()
	job := "/v1/jobs/" + g.ID
	for _, call := range []string{
		"POST /v1/jobs", "POST /v1/jobs/batch", "POST " + job + "/cancel", "POST " + job + "/retry", "POST " + job + "/progress", "POST " + job + "/extend",
		"POST " + job + "/complete", "POST " + job + "/fail", "PUT " + job + "/artifacts/a", "POST /v1/workers/claim", "POST /v1/workers/complete", "POST /v1/keys", "POST /v1/tokens",
	} {
		for _, framing := range []string{"Content-Length: 2", "Transfer-Encoding: chunked"} {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Lease-Token: %s\r\nContent-Type: application/json\r\n"+
				"Expect: 100-continue\r\n%s\r\n\r\n", call, s.admin, g.Lease.Token, framing)
			first, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(first, "HTTP/1.1 503 ") {
				t.Errorf("%s, %s: %q, %v", call, framing, first, err)
			}
			_ = conn.Close()
		}
	}
}

func TestHealthAndMetrics(t *testing.T) {
	var down error
	s := newSite(t, func(d *Deps, _ *auth.Limits) {
		d.Ready = func(context.Context) error { return down }
	})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if a := s.call("GET", path, "", ""); a.StatusCode != 200 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
		if a := s.call("HEAD", path, "", ""); a.StatusCode != 200 || a.body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.StatusCode, a.body)
		}
	}
	down = fmt.Errorf("cannot read sector 9")
	a := s.call("GET", "/readyz", "", "")
	if a.problem(t, transport.Unavailable); strings.Contains(a.body, "sector") || !strings.Contains(s.log.String(), "sector 9") {
		t.Errorf("why it is not ready belongs into the log: %s", a.body)
	}
	// Whoever came through a proxy, or from a web page, needs an admin key.
	for _, header := range []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 x", "Origin: http://evil.example"} {
		s.call("GET", "/metrics", "", "", header).problem(t, transport.Unauthenticated)
		s.call("GET", "/metrics", s.plain, "", header).problem(t, transport.Forbidden)
		if a := s.call("GET", "/metrics", s.admin, "", header); a.StatusCode != 200 || a.body != "up 1\n" {
			t.Errorf("%s with an admin key: %d", header, a.StatusCode)
		}
	}
}

func TestPaths(t *testing.T) {
	s := newSite(t)
	id := "/v1/jobs/0190a5e4-0000-7000-8000-000000000000"
	for _, path := range []string{"/v2/jobs", "/v1/jobs/", "/V1/jobs", "/v1", id + "/cancel/now", "/v1/jobs/../../etc/passwd"} {
		s.call("GET", path, s.admin, "").problem(t, transport.NotFound)
	}
	for call, allow := range map[string]string{
		"DELETE /v1/jobs": "GET, HEAD, POST", "PUT " + id: "GET, HEAD", "GET " + id + "/cancel": "POST",
		"PATCH /v1/keys/x": "DELETE", "POST /livez": "GET, HEAD", "GET /v1/workers/claim": "POST", "GET /v1/workers/complete": "POST",
	} {
		method, target, _ := strings.Cut(call, " ")
		a := s.call(method, target, s.admin, "")
		a.problem(t, transport.MethodNotAllowed)
		if got := a.Header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", call, got, allow)
		}
	}
}

// More than 30 bad logins from one address: further bad ones are told to wait,
// good ones pass.
func TestLoginLimit(t *testing.T) {
	s := newSite(t)
	limited := false
	for i := range 40 {
		a := s.call("GET", "/v1/jobs", fmt.Sprintf("guess-number-%08d-of-many", i), "")
		if limited = a.StatusCode == 429; limited {
			a.problem(t, transport.LoginLimit)
			if i < 30 || a.Header.Get("Retry-After") == "" {
				t.Errorf("refused at attempt %d, Retry-After %q", i, a.Header.Get("Retry-After"))
			}
			break
		}
		a.problem(t, transport.Unauthenticated)
	}
	if !limited {
		t.Error("40 bad logins passed")
	}
	if a := s.call("GET", "/v1/jobs", s.plain, ""); a.StatusCode != 200 {
		t.Errorf("a good key behind the same address: %d", a.StatusCode)
	}
}

// No secret that was made, used or tried is in any log line.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	s := newSite(t)
	bad := "canary-4f7a9c1e2b8d6035"
	secrets := []string{s.admin, s.plain, s.watcher, s.submitter, s.foreign, bad}
	for _, secret := range secrets {
		for _, path := range []string{"/v1/jobs", "/v1/keys", "/v1/jobs/x", "/metrics", "/nothing", "/v1/ws"} {
			s.call("GET", path+"?token="+secret+"&apiKey="+secret, secret, "", "Via: x")
			s.call("POST", path+"?apiKey="+secret, "", `{"queue":"`+secret+`"}`)
			s.call("GET", path+"?apiKey="+secret, bad, "")
		}
	}
	for _, secret := range secrets {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%.8s… is in the log", secret)
		}
	}
}

// TestKeyLimit: a key beyond the bound is refused with the figures, and one that is revoked
// makes room.
func TestKeyLimit(t *testing.T) {
	s := newSite(t)
	had, err := s.store.Keys(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	for range auth.MaxKeys - len(had) {
		k, _, err := auth.NewKey("acme", "", nil, auth.KeyOptions{})
		if err == nil {
			err = s.store.CreateKey(t.Context(), k)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a := s.call("POST", "/v1/keys", s.admin, "{}")
	a.problem(t, transport.KeyLimit)
	if a.StatusCode != 429 || !strings.Contains(a.body, `"limit":1000,"used":1000,"asked":1`) || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s, %v", a.StatusCode, a.body, a.Header)
	}
	s.call("DELETE", "/v1/keys/"+s.keyID(s.watcher), s.admin, "")
	if a := s.call("POST", "/v1/keys", s.admin, "{}"); a.StatusCode != 201 {
		t.Errorf("after a revocation: %d %s", a.StatusCode, a.body)
	}
}
