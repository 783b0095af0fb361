package cmd

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHealthOfStrangers: whatever else listens at the address is not ready, also if it
// answers everything with 200 or never.
func TestHealthOfStrangers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"page":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "not what jobcast sends"},
		"other":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"live"}`) }, "not what jobcast sends"},
		"proxy":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "not ready: HTTP status 502"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "within 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(c.handler)
			defer s.Close()
			timeout := "1m"
			if name == "silent" {
				timeout = "100ms"
			}
			var out, errs strings.Builder
			code := Run(context.Background(), []string{"health", s.URL, "--timeout=" + timeout}, Stdio{Out: &out, Err: &errs})
			if code != exitFailed || out.String() != "" || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit %d, said %q and %q, want %q", code, out.String(), errs.String(), c.want)
			}
		})
	}
}
