package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestTokensWatch: a token watches what it was made for and nothing else, on
// every way to the events.
func TestTokensWatch(t *testing.T) {
	b, ok := boot(t, transporttest.Options{}).(*booted)
	if !ok {
		t.Fatal("no program")
	}
	_, secret := b.Key("acme", auth.KeyOptions{})
	_, foreign := b.Key("umbra", auth.KeyOptions{})
	submit := func() string {
		j, _, err := b.Jobs().Submit(t.Context(), "acme", jobs.Spec{
			Queue: "q", Payload: []byte("null"), MaxAttempts: 1, Timeout: jobs.DefaultTimeout,
		}, jobs.Idempotency{})
		if err == nil {
			_, err = b.Jobs().Cancel(t.Context(), "acme", j.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	mine, other := submit(), submit()
	base := "http://" + b.ln.Addr().String()
	ask := func(method, path, credential, accept string, body io.Reader, headers ...string) (int, string) {
		t.Helper()
		// A stream that is refused ends at once, and so does that of an ended
		// job; a client's log is left by closing the answer.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, base+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+credential)
		req.Header.Set("Accept", accept)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK && path == "/v1/events" && accept != "*/*" {
			return resp.StatusCode, ""
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return resp.StatusCode, ""
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	mint := func(key, body string) string {
		t.Helper()
		status, text := ask("POST", "/v1/tokens", key, "*/*", strings.NewReader(body), "Content-Type: application/json")
		var made struct{ Token string }
		if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated {
			t.Fatalf("%d %s", status, text)
		}
		return made.Token
	}
	whole, one, stranger := mint(secret, "{}"), mint(secret, `{"jobId":"`+mine+`"}`), mint(foreign, "{}")
	for _, tt := range []struct {
		path                 string
		whole, one, stranger int
	}{
		{"/v1/jobs/" + mine + "/events", 200, 200, 404},
		{"/v1/jobs/" + other + "/events", 200, 404, 404},
		{"/v1/jobs/nonsense/events", 404, 404, 404},
		{"/v1/events", 200, 403, 200},
	} {
		for _, accept := range []string{"text/event-stream", "application/x-ndjson", "*/*"} {
			for token, want := range map[string]int{whole: tt.whole, one: tt.one, stranger: tt.stranger} {
				status, text := ask("GET", tt.path, token, accept, nil)
				if status != want || (want != 200 && strings.Contains(text, mine)) {
					t.Errorf("%s as %s: %d, want %d: %s", tt.path, accept, status, want, text)
				}
			}
		}
	}
	var ws transporttest.Transport
	for _, tr := range transporttest.Transports() {
		if tr.Name == "websocket" {
			ws = tr
		}
	}
	for _, tt := range []struct {
		job, credential string
		want            int // status of the refusal; 0: subscribed
	}{
		{"", whole, 0}, {mine, whole, 0}, {other, whole, 0},
		{mine, one, 0}, {other, one, http.StatusNotFound}, {"", one, http.StatusForbidden},
		{mine, stranger, http.StatusNotFound},
	} {
		r, err := ws.Open(t.Context(), transporttest.Caller{Dial: b.Dial, Secret: tt.credential}, transporttest.Opening{Job: tt.job})
		status := 0
		var refused *transporttest.Refusal
		if errors.As(err, &refused) {
			status, err = refused.Status, nil
		}
		if err != nil || status != tt.want {
			t.Errorf("WebSocket, room %q: %d %v, want %d", tt.job, status, err, tt.want)
		}
		if r != nil {
			r.Close()
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
