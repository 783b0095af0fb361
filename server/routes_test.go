package server

import (
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

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
