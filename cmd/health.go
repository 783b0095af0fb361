package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/server"
)

// healthCmd is `jobcast health`. It needs no key.
type healthCmd struct {
	URL     string        `arg:"" optional:"" name:"url" help:"The server: http://host:port, with the base path if it has one, or unix:/path/of/the/socket." default:"http://localhost:3000" env:"JOBCAST_URL"`
	Timeout time.Duration `help:"How long to wait for the answer." default:"5s"`
}

// Help says what the exit codes mean.
func (*healthCmd) Help() string {
	return `The exit code is 0 if the server takes new requests, 1 if it does not or cannot be
reached (standard error says why), 2 if the address or the time cannot be used.`
}

// Run asks once and says what it heard.
func (c *healthCmd) Run(ctx context.Context, std *Stdio) error {
	switch {
	case c.URL == "":
		return &usageError{errors.New("the address is empty: write " + client.DefaultURL + ", or leave it out")}
	case c.Timeout <= 0:
		return &usageError{errors.New("--timeout must be more than 0")}
	}
	cl, err := client.New(client.Options{URL: c.URL, UserAgent: "jobcast/" + server.Version(), Timeout: c.Timeout})
	if err != nil {
		return &usageError{err}
	}
	defer cl.Close()
	err = cl.Ready(ctx)
	var p *client.Problem
	switch {
	case err == nil:
		_, err = fmt.Fprintln(std.Out, "ready")
		return err
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, ctx.Err()}
	case errors.As(err, &p):
		return fmt.Errorf("not ready: %w", p)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s within %s", c.URL, c.Timeout)
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the address is named already
	}
	return fmt.Errorf("cannot reach %s: %w", c.URL, err)
}
