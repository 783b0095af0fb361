package server_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestPageConditions: a browser that has the page fetches none of it again.
func TestPageConditions(t *testing.T) {
	b := servertest.Start(t, transporttest.Options{})
	hc := transporttest.Caller{Dial: b.Dial}.Client()
	defer hc.CloseIdleConnections()
	ask := func(method, path string, headers ...string) (*http.Response, int) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://jobcast.test"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Add(headers[i], headers[i+1])
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, len(body)
	}
	tags := map[string]bool{}
	for _, path := range []string{"/", "/static/app.js", "/static/style.css"} {
		whole, n := ask("GET", path)
		tag := whole.Header.Get("ETag")
		if whole.StatusCode != http.StatusOK || n == 0 || tag == "" || tags[tag] {
			t.Fatalf("%s: %d, %d bytes, ETag %s", path, whole.StatusCode, n, tag)
		}
		tags[tag] = true
		for _, tt := range []struct {
			method string
			header []string
			want   int
		}{
			{"GET", []string{"If-None-Match", tag}, http.StatusNotModified},
			{"GET", []string{"If-None-Match", `"other"`, "If-None-Match", "W/" + tag}, http.StatusNotModified},
			{"HEAD", []string{"If-None-Match", "*"}, http.StatusNotModified},
			{"GET", []string{"If-None-Match", `"other"`}, http.StatusOK},
			{"GET", []string{"If-Match", tag}, http.StatusOK},
			{"GET", []string{"If-Match", `"other"`}, http.StatusPreconditionFailed},
			{"GET", []string{"If-Modified-Since", "Mon, 02 Jan 2100 15:04:05 GMT"}, http.StatusOK}, // it has no date
		} {
			resp, n := ask(tt.method, path, tt.header...)
			if resp.StatusCode != tt.want || resp.Header.Get("ETag") != tag || tt.want == http.StatusNotModified && n > 0 {
				t.Errorf("%s %s %q: %d, %d bytes, %v", tt.method, path, tt.header, resp.StatusCode, n, resp.Header)
			}
		}
	}
}
