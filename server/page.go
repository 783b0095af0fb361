package server

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/client/js"
	"github.com/jobcast/jobcast/static"
	"github.com/jobcast/jobcast/transport"
)

// pagePolicy lets the page run its own files and talk to its own server, no more.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; frame-src blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// How long a browser may keep a file without asking: it asks each time, or never again.
const (
	revalidate = "no-cache"
	immutable  = "public, max-age=31536000, immutable"
)

// The files of the program, which all servers of a process share.
var (
	page    = sync.OnceValue(newDashboard)
	bundles = sync.OnceValue(func() map[string]fiber.Handler {
		files, _ := fs.Sub(static.Client, "socketio") // its error is of the name
		return pages(files)
	})
)

// dashboard are the files of package static and client.js.
type dashboard struct {
	edition string                   // changes with any of them
	files   map[string]fiber.Handler // by path below static/
	kept    map[string]fiber.Handler // the same, to be asked for below static/<edition>/
	index   []fiber.Handler          // index.html as it is for a path of so many parts beyond one
}

func newDashboard() *dashboard {
	d := &dashboard{files: map[string]fiber.Handler{}, kept: map[string]fiber.Handler{}}
	texts := map[string][]byte{"client.js": js.Module}
	sum := sha256.New()
	_ = fs.WalkDir(static.FS, ".", func(name string, e fs.DirEntry, err error) error { // nothing embedded fails to be read
		if err == nil && !e.IsDir() {
			texts[name], err = static.FS.ReadFile(name)
			texts[name] = static.Served(name, texts[name])
			fmt.Fprintf(sum, "%s\n%x\n", name, sha256.Sum256(texts[name]))
		}
		return err
	})
	sum.Write(js.Module)
	d.edition = fmt.Sprintf("%x", sum.Sum(nil))[:16]
	for name, text := range texts {
		d.files[name] = content(name, text, revalidate)
		d.kept[name] = content(name, text, immutable)
	}
	// Relative paths are good behind any proxy, whatever it puts in front of them or takes away.
	for _, up := range []string{"", "../"} {
		text := bytes.ReplaceAll(texts["index.html"], []byte(`="static/`), []byte(`="`+up+`static/`+d.edition+`/`))
		d.index = append(d.index, content("index.html", text, revalidate))
	}
	return d
}

// file answers what is asked for below static/.
func (d *dashboard) file(c *fiber.Ctx) error {
	name, all := c.Params("*"), d.files
	if rest, ok := strings.CutPrefix(name, d.edition+"/"); ok {
		name, all = rest, d.kept
	}
	if serve, ok := all[name]; ok {
		return serve(c)
	}
	return fiber.ErrNotFound
}

// pageRoutes puts the dashboard on the application.
func (s *Server) pageRoutes() {
	own := page()
	if base := s.set.BasePath; base != "" { // where the base path alone was asked for; the query goes along
		s.app.Get(base, func(c *fiber.Ctx) error {
			to := base + "/"
			if query := c.Request().URI().QueryString(); len(query) > 0 {
				to += "?" + string(query)
			}
			return c.Redirect(to, fiber.StatusPermanentRedirect)
		})
	}
	for _, path := range static.Pages {
		s.app.Get(path, own.index[max(0, strings.Count(path, "/")-1)])
	}
	s.app.Get("/client.js", own.files["client.js"])
	s.app.Get("/static/*", own.file)
}

// pages serves each file at the root of files, by its name.
func pages(files fs.FS) map[string]fiber.Handler {
	all := make(map[string]fiber.Handler)
	names, _ := fs.Glob(files, "*") // its error is of the pattern
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			all[name] = func(*fiber.Ctx) error { return fiber.ErrNotFound }
			continue
		}
		all[name] = content(name, data, revalidate)
	}
	return all
}

// content serves data under the type that the name's ending says, packed if that is wanted.
func content(name string, data []byte, cache string) fiber.Handler {
	tag := fmt.Sprintf("%x", sha256.Sum256(data))
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) {
	case ".map":
		kind = fiber.MIMEApplicationJSON
	case "":
		kind = fiber.MIMETextPlainCharsetUTF8
	}
	packed := sync.OnceValue(func() []byte {
		var out bytes.Buffer
		w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // its error is of the level
		_, _ = w.Write(data)                                    // memory takes all
		_ = w.Close()
		return out.Bytes()
	})
	return func(c *fiber.Ctx) error {
		body, now := data, transport.Validators{ETag: `"` + tag + `"`}
		if c.Get(fiber.HeaderAcceptEncoding) != "" && c.AcceptsEncodings("gzip") != "" {
			body, now.ETag = packed(), `"`+tag+`-gzip"`
			c.Set(fiber.HeaderContentEncoding, "gzip")
		}
		c.Vary(fiber.HeaderAcceptEncoding)
		c.Set(fiber.HeaderContentType, kind)
		c.Set(fiber.HeaderContentSecurityPolicy, pagePolicy)
		c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
		c.Set(fiber.HeaderCacheControl, cache)
		now.Set(c)
		switch fresh, err := transport.Conditions(c, now); {
		case err != nil:
			c.Response().Header.Del(fiber.HeaderContentEncoding)
			return err
		case fresh:
			return c.SendStatus(fiber.StatusNotModified)
		}
		return c.Send(body)
	}
}
