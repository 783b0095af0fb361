package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestDocuments: both are served as JSON with an ETag that is known again, and say where
// the paths begin.
func TestDocuments(t *testing.T) {
	s := servertest.Start(t, transporttest.Options{}, "--base-path=/tasks")
	caller := transporttest.Caller{Dial: s.Dial}
	hc := caller.Client()
	defer hc.CloseIdleConnections()
	ask := func(path, tag string) (*http.Response, []byte) {
		t.Helper()
		req, err := caller.Request(t.Context(), http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", tag)
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, body
	}
	for path, url := range map[string]string{"/tasks/openapi.json": "/tasks", "/asyncapi.json": ""} {
		resp, body := ask(path, "")
		var doc struct{ Servers json.RawMessage }
		if err := json.Unmarshal(body, &doc); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v, %v", path, resp.StatusCode, resp.Header, err)
		}
		var servers []struct{ URL string }
		if url != "" && (json.Unmarshal(doc.Servers, &servers) != nil || len(servers) != 1 || servers[0].URL != url) {
			t.Errorf("%s: servers %s, want %s", path, doc.Servers, url)
		}
		if again, _ := ask(path, resp.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its ETag: %d", path, again.StatusCode)
		}
	}
}
