package server

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
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
		SignIn:      s.verifier.SignIn,
		Statistics: rest.Statistics{
			Activity: s.history.Of, Server: func() any { return s.metrics.figures(s.verifier.Streams()) }, Stream: s.sse.Snapshots,
		},
		Hub: s.hub,
		Ready: func(ctx context.Context) error {
			return errors.Join(s.store.Ready(ctx), s.files.Kept())
		},
		About:   func() any { return fiber.Map{"status": "ready", "browser": s.browsers.State()} },
		Metrics: s.metrics.handler(),
	})
	s.documents()
	s.pageRoutes()
}
