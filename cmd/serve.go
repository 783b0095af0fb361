package cmd

import (
	"context"

	"github.com/jobcast/jobcast/server"
)

// serveCommand is `jobcast serve`.
type serveCmd struct{ server.Config }

// Run serves until a signal comes, then drains.
func (s *serveCmd) Run(ctx context.Context, std *Stdio) error {
	return server.Run(ctx, &s.Config, std.Out, std.Err, onTerminal(std.Out))
}
