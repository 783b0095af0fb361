package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lmittmann/tint"

	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/server"
)

// workCmd is `jobcast work`.
type workCmd struct {
	Queue       []string      `required:"" help:"Queues to take jobs from." placeholder:"NAME"`
	Worker      string        `help:"Name of this worker, which queues tell of; default: the name of this host." placeholder:"NAME"`
	Concurrency int           `help:"Number of jobs at the same time." default:"1" placeholder:"N"`
	Lease       time.Duration `help:"A job goes to another worker if this one is silent for this long; 5s to 10m." default:"30s"`
	Grace       time.Duration `help:"How long commands may keep running after SIGINT, SIGTERM or SIGHUP; a second signal kills them." default:"25s"`
	Command     []string      `arg:"" name:"command" help:"The command and its arguments, after --."`
	remote
}

// Help describes how the command is spoken with.
func (*workCmd) Help() string {
	return `The command runs once for each attempt. It gets the payload as JSON on standard
input, and JOBCAST_JOB_ID, JOBCAST_ATTEMPT, JOBCAST_QUEUE and JOBCAST_ARTIFACTS, an
empty folder, in its environment, but not JOBCAST_KEY. Of its standard output a line

  progress 40 some text    reports how far it is, 0 to 100
  log some text            is a line of the job's log, as any other line is
  result {"any":"thing"}   sets the result, if it is the last line; one that the
                           server refuses fails the job (InvalidResult)

Exit code 0 completes the job; any other fails the attempt with the end of standard
error. Files that it leaves in JOBCAST_ARTIFACTS are uploaded. When the job is
cancelled or lost, the command and all it started get SIGTERM, then SIGKILL.`
}

// Validate makes what cannot work an error of usage.
func (c *workCmd) Validate() error {
	for _, q := range c.Queue {
		if !jobs.ValidQueue(q) {
			return fmt.Errorf("--queue: %q is not a queue name", q)
		}
	}
	switch {
	case c.Worker != "" && !jobs.ValidWorker(c.Worker):
		return fmt.Errorf("--worker: must be 1 to %d of A-Z, a-z, 0-9, dot, underscore and hyphen", jobs.MaxWorkerName)
	case len(c.Command) == 0 || c.Command[0] == "":
		return errors.New("give a command after --")
	case c.Concurrency < 1 || c.Concurrency > server.MaxConcurrency:
		return fmt.Errorf("--concurrency: must be 1 to %d", server.MaxConcurrency)
	case c.Lease < jobs.MinLease || c.Lease > jobs.MaxLease:
		return errors.New("--lease: must be 5s to 10m")
	case c.Grace < 0:
		return errors.New("--grace: must not be negative")
	}
	return nil
}

// Run works until ctx ends and the commands under way have ended too.
func (c *workCmd) Run(ctx context.Context, std *Stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	// The commands must not inherit that this program ignores SIGPIPE; a signal
	// that is caught is at its default in a child.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)
	var commands groups
	defer commands.guard()()
	say := &talker{w: std.Err}
	log := slog.New(tint.NewTextHandler(say, &tint.Options{NoColor: true, TimeFormat: time.RFC3339}))
	log.Info("working", "queues", c.Queue, "concurrency", c.Concurrency)
	grace := c.Grace
	if grace == 0 {
		grace = -1
	}
	err = client.Worker{
		Client: cl, Queues: c.Queue, Name: c.name(), Concurrency: c.Concurrency, Lease: c.Lease, Grace: grace, GiveUp: c.patience(), Log: log,
		Handle: func(ctx context.Context, a *client.Attempt) (any, error) {
			return c.handle(ctx, a, say, &commands)
		},
	}.Run(ctx)
	return coded(err)
}

// name is that of the worker. A host whose name is none for a worker makes one without.
func (c *workCmd) name() string {
	if c.Worker != "" {
		return c.Worker
	}
	host, err := os.Hostname()
	if err != nil || !jobs.ValidWorker(host) {
		return ""
	}
	return host
}

// talker lets several commands share standard error.
type talker struct {
	mu sync.Mutex // guards w
	w  interface{ Write([]byte) (int, error) }
}

func (t *talker) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(p)
}

// handle runs the command for one attempt.
func (c *workCmd) handle(ctx context.Context, a *client.Attempt, say *talker, commands *groups) (any, error) {
	dir, err := os.MkdirTemp("", "jobcast-artifacts-")
	if err != nil {
		return nil, fmt.Errorf("make folder for artifacts: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintf(say, "jobcast: remove folder of artifacts: %v\n", err)
		}
	}()
	x := &execution{attempt: a, dir: dir, say: say, commands: commands}
	failed := x.run(ctx, c.Command)
	if context.Cause(ctx) != nil {
		return nil, failed
	}
	if err := x.upload(); err != nil && failed == nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return x.result, nil
}
