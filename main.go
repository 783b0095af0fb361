// Command jobcast accepts jobs over HTTP and streams every change of them, live
// and without loss, to whoever may see it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

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

	Submit submitCmd `cmd:"" help:"Submit a job and print its id."`
	Watch  watchCmd  `cmd:"" help:"Watch jobs to their end, or everything of the client."`
	Jobs   jobsCmd   `cmd:"" help:"List jobs, newest first."`
	Cancel cancelCmd `cmd:"" help:"Cancel jobs."`
	Retry  retryCmd  `cmd:"" help:"Make a new job from one that failed or was cancelled, and print its id."`
	Work   workCmd   `cmd:"" help:"Run a command for each job of a queue."`

	Completion completionCmd `cmd:"" help:"Print the completion script of a shell."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

const description = `Submit a job over HTTP; watch it live from anything.`

func main() {
	// The first signal drains; unregistering then lets a second one end the
	// process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	// Without this a reader of our output that goes away would end the server, and
	// so would a file that may not grow any more.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	code := run(ctx, os.Args[1:], &stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, std *stdio) (code int) {
	var cmd commands
	exited := -1
	parser, err := kong.New(&cmd, append(settings(),
		kong.Name("jobcast"), kong.Description(description),
		kong.Writers(std.out, std.err), kong.Exit(func(c int) { exited = c }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)...)
	if err != nil {
		return fail(std.err, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if err := refuseEmptyFlags(parser, args); err != nil {
		return fail(std.err, &usageError{err})
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // --help has printed what was asked for
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(std.err, "jobcast: %v; see %s --help\n", err, usageOf(err))
		return exitUsage
	}
	hung, stop := hangup(ctx, k.Command())
	defer stop()
	k.BindTo(hung, (*context.Context)(nil))
	if err := k.Run(); err != nil {
		return fail(std.err, err)
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
	if errors.As(err, &usage) {
		return exitUsage
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

// usageError is a setting that parses but cannot be used.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(std *stdio) error {
	_, err := fmt.Fprintln(std.out, "jobcast "+version())
	return err
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "devel"
}
