package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/client/js"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/static"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/rest"
)

// routes puts every path on the application.
func (s *Server) routes() {
	s.app.Get("/v1/events", s.events.Client)
	s.app.Get("/v1/jobs/:id/events", s.events.Job)
	s.app.Get("/v1/jobs/:id/screen", s.screen.Serve)
	s.app.Get("/v1/ws", s.ws.Serve)
	for _, path := range []string{"/socket.io", "/socket.io/"} {
		s.app.All(path, s.engine.Serve)
	}
	for _, name := range []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js"} {
		s.app.Get("/socket.io/"+name, bundles()[name])
		s.app.Get("/socket.io/"+name+".map", bundles()[name+".map"])
	}
	s.app.Post("/v1/workers/claim", s.claims.Serve)
	var kept rest.Vault
	if s.vault != nil {
		kept = s.vault
	}
	rest.Mount(s.app, rest.Deps{
		Vault:   kept,
		Door:    s.door,
		Jobs:    s.service,
		Keys:    s.store,
		Tokens:  s.signer,
		Streams: s.verifier.Streams(),
		Submit:  jobs.SubmitOptions{Actions: s.actions},
		Limits:  s.set.limits(),
		Usage:   s.store.Usage,
		Actions: s.actions.Describe(),
		Stream: func(c *fiber.Ctx, p auth.Principal, a *transport.Admission, j jobs.Job, f transport.EventFormat) error {
			return s.sse.Submitted(c, p, a, j.ID, f)
		},
		EndAndClaim: s.claims.End,
		Hub:         s.hub,
		Ready: func(ctx context.Context) error {
			return errors.Join(s.store.Ready(ctx), s.files.Kept())
		},
		About:   func() any { return fiber.Map{"status": "ready", "browser": s.browsers.State()} },
		Metrics: s.metrics.handler(),
	})
	own := page()
	s.app.Get("/", own["index.html"])
	if base := s.set.BasePath; base != "" { // the page's links are relative to its folder
		s.app.Get(base, func(c *fiber.Ctx) error {
			to := base + "/"
			if query := c.Request().URI().QueryString(); len(query) > 0 {
				to += "?" + string(query)
			}
			return c.Redirect(to, fiber.StatusPermanentRedirect)
		})
	}
	s.app.Get("/client.js", own["client.js"])
	s.app.Get("/static/:name", func(c *fiber.Ctx) error {
		if page, ok := own[c.Params("name")]; ok {
			return page(c)
		}
		return fiber.ErrNotFound
	})
}

// pagePolicy lets the page run its own files and talk to its own server, no more.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// The files of the program, which all servers of a process share.
var (
	page = sync.OnceValue(func() map[string]fiber.Handler {
		all := pages(static.FS)
		all["client.js"] = content("client.js", js.Module)
		return all
	})
	bundles = sync.OnceValue(func() map[string]fiber.Handler {
		files, _ := fs.Sub(static.Client, "socketio") // its error is of the name
		return pages(files)
	})
)

// pages serves each file at the root of files, by its name.
func pages(files fs.FS) map[string]fiber.Handler {
	all := make(map[string]fiber.Handler)
	names, _ := fs.Glob(files, "*") // its error is of the pattern
	for _, name := range names {
		all[name] = file(files, name)
	}
	return all
}

// file serves one embedded file, which it reads here and not again.
func file(files fs.FS, name string) fiber.Handler {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return func(*fiber.Ctx) error { return fiber.ErrNotFound }
	}
	return content(name, data)
}

// content serves data under the type that the name's ending says.
func content(name string, data []byte) fiber.Handler {
	now := transport.Validators{ETag: fmt.Sprintf(`"%x"`, sha256.Sum256(data))}
	kind := mime.TypeByExtension(path.Ext(name))
	if path.Ext(name) == ".map" {
		kind = fiber.MIMEApplicationJSON
	}
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, kind)
		c.Set(fiber.HeaderContentSecurityPolicy, pagePolicy)
		c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
		c.Set(fiber.HeaderCacheControl, "no-cache")
		now.Set(c)
		switch fresh, err := transport.Conditions(c, now); {
		case err != nil:
			return err
		case fresh:
			return c.SendStatus(fiber.StatusNotModified)
		}
		return c.Send(data)
	}
}
