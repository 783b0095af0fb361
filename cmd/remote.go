package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/server"
)

// remote is what the commands share that speak with a server. The key is never
// an argument, where others could see it.
type remote struct {
	URL       string        `name:"url" help:"URL of the server." default:"http://localhost:3000" env:"JOBCAST_URL"`
	KeyFile   string        `name:"key-file" help:"File that holds the key; without it the environment variable JOBCAST_KEY does." placeholder:"FILE" env:"JOBCAST_KEY_FILE"`
	Transport string        `help:"Transport for watching: auto, websocket, sse, ndjson or poll." enum:"auto,websocket,sse,ndjson,poll" default:"auto" env:"JOBCAST_TRANSPORT"`
	GiveUp    time.Duration `name:"give-up" help:"Give up when the server cannot be reached for this long; 0 means never." default:"1m" env:"JOBCAST_GIVE_UP"`
}

// maxKeyFileBytes is longer than any key.
const maxKeyFileBytes = 8 << 10

// client returns a client for the server. What is wrong with a setting is an
// error of usage.
func (r *remote) client() (*client.Client, error) {
	key, err := r.key()
	if err != nil {
		return nil, &usageError{err}
	}
	if r.GiveUp < 0 {
		return nil, &usageError{errors.New("--give-up must not be negative")}
	}
	c, err := client.New(client.Options{
		URL: r.URL, Key: key, UserAgent: "jobcast/" + server.Version(), Transport: client.Transport(r.Transport), GiveUp: r.patience(),
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// patience is --give-up as the client has it, where 0 is a default.
func (r *remote) patience() time.Duration {
	if r.GiveUp == 0 {
		return client.Forever
	}
	return r.GiveUp
}

func (r *remote) key() (string, error) {
	if r.KeyFile == "" {
		key := trimSecret(os.Getenv("JOBCAST_KEY"))
		if key == "" {
			return "", errors.New("no key: set JOBCAST_KEY, or name a file with --key-file")
		}
		return key, nil
	}
	f, err := os.Open(r.KeyFile)
	if err != nil {
		return "", fmt.Errorf("open key file: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFileBytes))
	if err != nil {
		return "", fmt.Errorf("read key file: %w", err)
	}
	key := trimSecret(string(text))
	if key == "" {
		return "", fmt.Errorf("key file %s is empty", r.KeyFile)
	}
	return key, nil
}

// exitError ends the command with a code of its own.
type exitError struct {
	code int
	err  error // nil: there is nothing more to say
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitCode is what an error of a client means to the caller of the command.
func exitCode(err error) int {
	var exit *exitError
	var lost *client.LostError
	var p *client.Problem
	var keys *auth.KeyLimitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &keys):
		return exitLimit
	case errors.As(err, &lost):
		return exitLost
	case errors.As(err, &p):
		if p.Is(client.ErrJobLimit) || p.Is(client.ErrKeyLimit) {
			return exitLimit
		}
		switch p.Status {
		case 400, 413, 422:
			return exitUsage
		case 401, 403, 404:
			return exitDenied
		case 507:
			return exitLimit
		}
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// coded gives err its exit code.
func coded(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitCode(err), err}
}

// statusCode is the exit code of a job's end.
func statusCode(s client.Status) int {
	switch s {
	case client.Failed:
		return exitFailed
	case client.Cancelled:
		return exitCancelled
	}
	return exitOK
}

// worse returns the exit code that says more of two: not allowed, a bound reached,
// lost, interrupted, failed, cancelled, completed.
func worse(a, b int) int {
	rank := func(code int) int {
		for i, c := range []int{exitOK, exitCancelled, exitFailed, exitInterrupted, exitLost, exitLimit, exitUsage, exitDenied} {
			if c == code {
				return i
			}
		}
		return 0
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// onTerminal reports whether a person looks at w.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
