// Package cmd is the command line of jobcast: one file for each command, its flags, its
// exit codes and its words for people. `serve` hands over to package server; `keys` and
// `open` work on the data folder; all other commands speak with a server through package client.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/jobcast/jobcast/server"
)

// Stdio is where a command reads and writes. What another program may want to read goes
// to Out, alone; what is for a person goes to Err.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // the job failed, or anything else went wrong
	exitUsage       = 2
	exitCancelled   = 3   // the job was cancelled
	exitLost        = 4   // the server could not be reached for as long as was wanted
	exitDenied      = 5   // the server refuses: 401, 403, 404
	exitLimit       = 6   // a bound of the server is reached: job_limit, key_limit, artifact_limit, storage_full
	exitInterrupted = 130 // a signal came before the end, as shells say it
)

// commands is the whole command line.
type commands struct {
	Serve serveCmd `cmd:"" help:"Serve the HTTP API, run jobs and stream their events."`
	Keys  keysCmd  `cmd:"" help:"Create, import, list and revoke API keys."`
	Open  openCmd  `cmd:"" help:"Sign in to the dashboard: print a link that is good once, and open the browser."`

	Submit submitCmd `cmd:"" help:"Submit a job and print its id."`
	Watch  watchCmd  `cmd:"" help:"Watch jobs to their end, or all events of the client."`
	Jobs   jobsCmd   `cmd:"" help:"List jobs, newest first."`
	Queues queuesCmd `cmd:"" help:"List queues: what waits there, and who works on it."`
	Cancel cancelCmd `cmd:"" help:"Cancel jobs."`
	Retry  retryCmd  `cmd:"" help:"Create a new job from a failed or cancelled one and print its id."`
	Work   workCmd   `cmd:"" help:"Run a command for each job of a queue."`
	Health healthCmd `cmd:"" help:"Ask whether a server is ready."`

	Completion completionCmd `cmd:"" help:"Print a shell completion script."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Jail       jailCmd       `cmd:"" name:"browser-jail" hidden:"" passthrough:""` // see server.Jailed
}

const description = `Submit a job over HTTP; watch it live from anything.`

// Run runs the command that args name and returns its exit code. ctx ends when the
// process is asked to stop.
func Run(ctx context.Context, args []string, std Stdio) (code int) {
	var cmd commands
	exited := -1
	parser, err := kong.New(&cmd, append(settings(),
		kong.Name("jobcast"), kong.Description(description),
		kong.Writers(std.Out, std.Err), kong.Exit(func(c int) { exited = c }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&std),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)...)
	if err != nil {
		return fail(std.Err, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if err := refuseEmptyFlags(parser, args); err != nil {
		return fail(std.Err, &usageError{err})
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // --help has printed what was asked for
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(std.Err, "jobcast: %v; see %s --help\n", err, usageOf(err))
		return exitUsage
	}
	hung, stop := hangup(ctx, k.Command())
	defer stop()
	k.BindTo(hung, (*context.Context)(nil))
	if err := k.Run(); err != nil {
		return fail(std.Err, err)
	}
	return exitOK
}

// usageOf names the command whose help explains a parse error.
func usageOf(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if path := parse.Context.Command(); path != "" {
			return "jobcast " + path
		}
	}
	return "jobcast"
}

func fail(w io.Writer, err error) int {
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(w, "jobcast: "+text)
	}
	var usage *usageError
	var setting *server.SettingError
	if errors.As(err, &usage) || errors.As(err, &setting) {
		return exitUsage
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

// usageError is a flag that parses but cannot be used.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(std *Stdio) error {
	_, err := fmt.Fprintln(std.Out, "jobcast "+server.Version())
	return err
}
