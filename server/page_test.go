package server

import (
	"io"
	"io/fs"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestPageConditions: a browser that has the page fetches none of it again.
func TestPageConditions(t *testing.T) {
	b := boot(t, transporttest.Options{}).(*booted)
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

// counted counts how often its files are opened.
type counted struct {
	fstest.MapFS
	opened atomic.Int64
}

func (f *counted) Open(name string) (fs.File, error) {
	f.opened.Add(1)
	return f.MapFS.Open(name)
}

func (f *counted) ReadFile(name string) ([]byte, error) {
	f.opened.Add(1)
	return f.MapFS.ReadFile(name)
}

// TestPageIsReadOnce: a request reads and hashes no file; that was done before.
func TestPageIsReadOnce(t *testing.T) {
	files := &counted{MapFS: fstest.MapFS{"a.js": {Data: []byte("1")}}}
	all := pages(files)
	if files.opened.Load() == 0 || len(all) != 1 {
		t.Fatalf("%d pages, opened %d times", len(all), files.opened.Load())
	}
	files.opened.Store(0)
	app := fiber.New()
	for range 3 {
		c := app.AcquireCtx(&fasthttp.RequestCtx{})
		if err := all["a.js"](c); err != nil || string(c.Response().Body()) != "1" {
			t.Errorf("%q, %v", c.Response().Body(), err)
		}
		app.ReleaseCtx(c)
	}
	if n := files.opened.Load(); n != 0 {
		t.Errorf("the file was opened %d times", n)
	}
}
