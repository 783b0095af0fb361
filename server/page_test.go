package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/static"
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
	for _, path := range []string{"/", "/jobs/x", "/static/app.js", "/static/style.css"} {
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

var linked = regexp.MustCompile(`(?:src|href)="([^"]*)"`)

// TestPages: each path of the dashboard is answered by it, and what it then asks for is
// there, may be kept for good, and is packed for whoever can unpack it.
func TestPages(t *testing.T) {
	b := servertest.Start(t, transporttest.Options{})
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }, DisableCompression: true}}
	defer hc.CloseIdleConnections()
	ask := func(path, encoding string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://jobcast.test"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if encoding != "" {
			req.Header.Set("Accept-Encoding", encoding)
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
		return resp, body
	}
	for _, page := range static.Pages {
		page = strings.ReplaceAll(page, ":id", "019b0000-0000-7000-8000-000000000000")
		at := &url.URL{Path: page}
		resp, body := ask(page, "")
		found := linked.FindAllSubmatch(body, -1)
		if resp.StatusCode != http.StatusOK || len(found) < 3 {
			t.Fatalf("%s: %d, %d links", page, resp.StatusCode, len(found))
		}
		for _, m := range found {
			link := string(m[1])
			if strings.HasPrefix(link, "data:") {
				continue
			}
			target, err := at.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			plain, whole := ask(target.Path, "")
			packed, less := ask(target.Path, "br, gzip")
			unpacked, err := gzip.NewReader(bytes.NewReader(less))
			if plain.StatusCode != http.StatusOK || plain.Header.Get("Content-Encoding") != "" || err != nil {
				t.Errorf("%s asks for %s: %d %v", page, target, plain.StatusCode, err)
				continue
			}
			again, err := io.ReadAll(unpacked)
			if err != nil || !bytes.Equal(again, whole) || packed.Header.Get("Etag") == plain.Header.Get("Etag") {
				t.Errorf("%s is another when packed: %v", target, err)
			}
			if !strings.Contains(plain.Header.Get("Cache-Control"), "immutable") || plain.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %v", target, plain.Header)
			}
		}
	}
	for _, path := range []string{"/job", "/jobs/x/y", "/static/", "/static/ui", "/static/0000000000000000/app.js", "/static/socketio/LICENSE", "/static/../static.go"} {
		if resp, _ := ask(path, ""); resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if resp, body := ask("/static/app.js", "gzip;q=0"); resp.Header.Get("Content-Encoding") != "" || !bytes.Contains(body, []byte("\nimport { ")) {
		t.Errorf("packed for somebody who cannot unpack it: %v", resp.Header)
	}
}
