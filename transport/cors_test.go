package transport

import (
	"strings"
	"testing"
)

func TestCORS(t *testing.T) {
	const app = "https://app.example.com"
	all := openSite(t, Options{}, whoami)
	list := openSite(t, Options{Origins: []string{"HTTPS://App.example.com", "null"}}, whoami)
	key := "X-API-Key: " + watchKey
	tests := []struct {
		name   string
		site   *site
		origin string
		status int
		allow  string // Access-Control-Allow-Origin
	}{
		{"all, any origin", all, "http://evil.example", 200, "*"},
		{"all, no origin", all, "", 200, "*"},
		{"list, listed", list, app, 200, app},
		{"list, null is listed", list, "null", 200, "null"},
		{"list, not a page", list, "", 200, ""},
		{"list, own page", list, "http://" + list.addr, 200, "http://" + list.addr},
		{"list, foreign", list, "http://evil.example", 403, ""},
		{"list, longer name", list, app + ".evil.example", 403, ""},
		{"list, other scheme", list, "http://app.example.com", 403, ""},
		{"list, other port", list, app + ":8443", 403, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			headers := []string{key}
			if tt.origin != "" {
				headers = append(headers, "Origin: "+tt.origin)
			}
			a := tt.site.call("GET", "/who", headers...)
			if a.StatusCode != tt.status || a.Header.Get("Access-Control-Allow-Origin") != tt.allow {
				t.Errorf("%d, allow %q", a.StatusCode, a.Header.Get("Access-Control-Allow-Origin"))
			}
			if tt.status == 403 && a.problem(t).Code != Forbidden {
				t.Error("not the problem forbidden")
			}
			if tt.site == list && a.Header.Get("Vary") != "Origin" {
				t.Error("a cache could mix the answers to two origins")
			}
			credentials := ""
			if tt.site == list && (tt.origin == app || tt.origin == "null") {
				credentials = "true" // of listed origins, and never beside *
			}
			if got := a.Header.Get("Access-Control-Allow-Credentials"); got != credentials {
				t.Errorf("credentials %q, want %q", got, credentials)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	s := openSite(t, Options{Origins: []string{"https://app.example.com"}}, whoami)
	ask := []string{"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,last-event-id"}
	a := s.call("OPTIONS", "/body", append(ask, "Origin: https://app.example.com")...)
	if a.StatusCode != 204 || a.body != "" || a.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Fatalf("%d %s %v", a.StatusCode, a.body, a.Header)
	}
	for _, refused := range []string{"/nothing", "/body", "/who"} { // 404, 405, 401
		if a := s.call("GET", refused, "Origin: https://app.example.com"); a.StatusCode < 400 || a.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s: %d %v", refused, a.StatusCode, a.Header)
		}
	}
	for header, parts := range map[string]string{
		"Access-Control-Allow-Methods":  "GET POST PUT DELETE",
		"Access-Control-Allow-Headers":  "Authorization X-API-Key Last-Event-ID Idempotency-Key Prefer X-Lease-Token Content-Type",
		"Access-Control-Expose-Headers": "Location X-Request-Id Retry-After Idempotent-Replayed Preference-Applied ETag Last-Event-ID",
	} {
		for part := range strings.FieldsSeq(parts) {
			if !strings.Contains(a.Header.Get(header)+",", part+",") {
				t.Errorf("%s lacks %s: %s", header, part, a.Header.Get(header))
			}
		}
	}
	for asked, granted := range map[string]bool{"x-tenant, X-Trace_1": true, "x-a\tb": false, "x-a:b": false, strings.Repeat("x", 2000): false} {
		a := s.call("OPTIONS", "/body", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: "+asked, "Origin: https://app.example.com")
		got := a.Header.Get("Access-Control-Allow-Headers")
		if strings.HasSuffix(got, ", "+asked) != granted || !strings.HasPrefix(got, "Accept,") || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Access-Control-Request-Headers") {
			t.Errorf("asked for %.40q: allowed %.300q, Vary %q", asked, got, a.Header.Values("Vary"))
		}
	}
	if a := s.call("OPTIONS", "/body", append(ask, "Origin: https://evil.example")...); a.StatusCode != 403 {
		t.Errorf("foreign preflight: %d", a.StatusCode)
	}
	if a := s.call("OPTIONS", "/who"); a.StatusCode != 405 || a.Header.Get("Allow") == "" {
		t.Errorf("OPTIONS that is no preflight: %d, Allow %q", a.StatusCode, a.Header.Get("Allow"))
	}
}

// TestOriginsAreNormal: an origin of the list is what a browser sends, or it is refused
// with what to write.
func TestOriginsAreNormal(t *testing.T) {
	for text, want := range map[string]string{
		"https://App.Example":         "https://app.example",
		" https://a.example:443 ":     "https://a.example",
		"HTTP://a.example:80":         "http://a.example",
		"http://a.example:443":        "http://a.example:443",
		"https://b\u00fccher.example": "https://xn--bcher-kva.example",
		"http://[::0001]:8080":        "http://[::1]:8080",
		"http://my_host:3000":         "http://my_host:3000",
		"NULL":                        "null",
		"chrome-extension://abcdefg":  "chrome-extension://abcdefg",
	} {
		if got, err := parseOrigins([]string{text}); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"https://*.example.com":    "write each origin",
		"a.example":                "write scheme://host",
		"a.example:443":            "write scheme://host",
		"https://a.example/":       "write https://a.example",
		"https://a.example/page":   "write https://a.example",
		"https://me@a.example":     "write https://a.example",
		"file:///home/me":          "write null",
		"https://a.example:0":      "1 to 65535",
		"https://a.example:123456": "1 to 65535",
	} {
		if got, err := parseOrigins([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %q, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestOriginsAreChecked(t *testing.T) {
	for _, bad := range []string{"app.example.com", "https://a.example/", "https://a.example/path", "https://", "a b", ""} {
		if _, err := New(Options{Auth: testKeys(), Origins: []string{bad}}); err == nil {
			t.Errorf("%q was taken as an origin", bad)
		}
	}
	if d, err := New(Options{Auth: testKeys(), Origins: []string{"https://a.example", "*"}}); err != nil || !d.OriginAllowed("http://b.example", "x") {
		t.Errorf("* in a list must let all in: %v", err)
	}
}
