package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/server"
)

// submitCmd is `jobcast submit`. The job is given in one of four ways: as
// actions, as a queue and its payload, as a recording, or as the whole body of the API.
type submitCmd struct {
	Action      []string      `help:"An action as JSON; repeat the flag for several." placeholder:"JSON" sep:"none"`
	Queue       string        `help:"Queue of your own workers, instead of actions." placeholder:"NAME"`
	Payload     string        `help:"Payload for the worker, as JSON." placeholder:"JSON"`
	Recording   string        `help:"Recording of Chrome's Recorder, exported as JSON; - reads it from standard input. Its steps are run in a browser." placeholder:"FILE"`
	File        string        `help:"File that holds the whole job as JSON, as the API takes it." placeholder:"FILE"`
	MaxAttempts int           `name:"max-attempts" help:"Maximum number of attempts, 1 to 25." placeholder:"N"`
	Timeout     time.Duration `help:"Time limit of one attempt, 1s to 24h." placeholder:"DURATION"`
	Priority    int           `help:"Priority, -100 to 100; higher first."`
	RunAt       *jobs.Time    `name:"run-at" help:"Do not start the job before this time, e.g. 2026-01-01T00:00:00Z." placeholder:"TIME"`
	ExpiresIn   time.Duration `name:"expires-in" help:"The job fails if nobody starts it within this time, 1s to 8760h." placeholder:"DURATION"`
	Title       string        `help:"What the job is called; without it a recording's own title counts." placeholder:"TEXT"`
	Metadata    string        `help:"Your own data, a JSON object." placeholder:"JSON"`
	Console     string        `help:"Pages of the job log from this level on: debug, info, warn, error." placeholder:"LEVEL"`

	Stdin          string `arg:"" optional:"" name:"-" help:"Read the whole job from standard input." enum:"-," default:""`
	IdempotencyKey string `name:"idempotency-key" help:"Submits with the same key create one job." placeholder:"KEY"`
	following
	remote
}

// maxJobBytes is the largest body that a server can be set to take.
const maxJobBytes = server.MaxMaxBody

// Validate refuses a mixture of the four ways.
func (c *submitCmd) Validate() error {
	work := len(c.Action) > 0 || c.Queue != "" || c.Payload != ""
	more := c.MaxAttempts != 0 || c.Timeout != 0 || c.Priority != 0 || c.RunAt != nil || c.ExpiresIn != 0 || c.Title != "" ||
		c.Metadata != "" || c.Console != ""
	whole := c.File != "" || c.Stdin != ""
	switch {
	case c.File != "" && c.Stdin != "":
		return errors.New("--file and - exclude each other")
	case whole && c.Recording != "":
		return errors.New("--file and - hold the whole job; a recording is given with --recording alone, from standard input with --recording -")
	case whole && (work || more):
		return errors.New("--file and - hold the whole job; other flags cannot add to it")
	case c.Recording != "" && work:
		return errors.New("--recording holds the steps; --action, --queue and --payload cannot add to them")
	case !whole && c.Recording == "" && len(c.Action) == 0 && c.Queue == "":
		return errors.New("give --action, --queue, --recording, --file or -")
	}
	for flag, texts := range map[string][]string{"action": c.Action, "payload": {c.Payload}, "metadata": {c.Metadata}} {
		for _, text := range texts {
			if text != "" && !json.Valid([]byte(text)) {
				return fmt.Errorf("--%s is not JSON: %s", flag, text)
			}
		}
	}
	return nil
}

// Run submits the job and, with --watch, follows it to its end.
func (c *submitCmd) Run(ctx context.Context, std *Stdio) error {
	body, err := c.body(std)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	job, err := cl.Submit(ctx, client.Submission{Body: body, IdempotencyKey: c.IdempotencyKey})
	if err != nil && c.Recording != "" {
		err = refusedRecording(err, body)
	}
	if err != nil {
		return coded(err)
	}
	return c.follow(ctx, std, cl, job, c.patience())
}

// body is the JSON of the job.
func (c *submitCmd) body(std *Stdio) ([]byte, error) {
	switch {
	case c.Recording != "":
		return c.recorded(std)
	case c.File == "" && c.Stdin == "":
		return c.assemble()
	}
	text, err := read(std, c.File, "job")
	if err == nil && !json.Valid(text) {
		err = &usageError{errors.New("the job is not JSON")}
	}
	return text, err
}

// read reads a file, or standard input if it has no name or -. what says what is in it.
func read(std *Stdio, file, what string) ([]byte, error) {
	from := std.In
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, &usageError{fmt.Errorf("open %s: %w", what, err)}
		}
		defer f.Close() //nolint:errcheck // it was only read
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxJobBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(text) > maxJobBytes {
		return nil, &usageError{fmt.Errorf("the %s is too large", what)}
	}
	return text, nil
}

func (c *submitCmd) assemble() ([]byte, error) {
	job := map[string]any{}
	if len(c.Action) > 0 {
		actions := make([]json.RawMessage, len(c.Action))
		for i, text := range c.Action {
			actions[i] = json.RawMessage(text)
		}
		job["actions"] = actions
	}
	if c.Queue != "" {
		job["queue"] = c.Queue
	}
	if c.Payload != "" {
		job["payload"] = json.RawMessage(c.Payload)
	}
	c.add(job)
	return json.Marshal(job)
}

// add adds what may be said of any job.
func (c *submitCmd) add(job map[string]any) {
	if c.Title != "" {
		job["title"] = c.Title
	}
	if c.Metadata != "" {
		job["metadata"] = json.RawMessage(c.Metadata)
	}
	if c.Console != "" {
		job["console"] = c.Console
	}
	if c.MaxAttempts != 0 {
		job["maxAttempts"] = c.MaxAttempts
	}
	if c.Timeout != 0 {
		job["timeoutMs"] = c.Timeout.Milliseconds()
	}
	if c.Priority != 0 {
		job["priority"] = c.Priority
	}
	if c.RunAt != nil {
		job["runAt"] = c.RunAt
	}
	if c.ExpiresIn != 0 {
		job["expiresInMs"] = c.ExpiresIn.Milliseconds()
	}
}

// following is what submit and retry share: what becomes of the new job.
type following struct {
	Watch bool `help:"Follow the job to its end; the exit code tells how it ended."`
	JSON  bool `name:"json" help:"Print the job as JSON instead of its id; with --watch, print events as JSON even on a terminal."`
}

// follow prints the new job, or its events until its end.
func (f following) follow(ctx context.Context, std *Stdio, cl *client.Client, job *client.Job, giveUp time.Duration) error {
	switch {
	case f.Watch:
		fmt.Fprintf(std.Err, "job %s\n", job.ID)
		v := newView(std, f.JSON)
		return v.jobs(ctx, cl, []string{job.ID}, client.WatchOptions{GiveUp: giveUp})
	case f.JSON:
		_, err := fmt.Fprintf(std.Out, "%s\n", job.Raw())
		return err
	default:
		_, err := fmt.Fprintln(std.Out, job.ID)
		return err
	}
}
