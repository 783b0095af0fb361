package cmd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/jobcast/jobcast/client"
)

// watchCmd is `jobcast watch`.
type watchCmd struct {
	Job   []string `arg:"" optional:"" name:"job" help:"Ids of jobs; without any, all events of the client, without end."`
	After string   `help:"Resume after this event id; works across restarts and transports." placeholder:"ID"`
	From  string   `help:"Where to start without --after: start is the oldest event kept, now is after the newest. Default: a job's first event; now for the client's log." enum:"start,now," default:""`
	JSON  bool     `name:"json" help:"Print one event per line as JSON, even on a terminal; elsewhere this is the default."`
	remote
}

// Run watches. With jobs it ends when all have ended.
func (c *watchCmd) Run(ctx context.Context, std *Stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	o := client.WatchOptions{After: c.After, From: client.From(c.From), GiveUp: c.patience()}
	v := newView(std, c.JSON)
	if len(c.Job) == 0 {
		return v.everything(ctx, cl, o)
	}
	return v.jobs(ctx, cl, c.Job, o)
}

// view shows events: JSON lines, or something for a person.
type view struct {
	std  *Stdio
	tty  bool
	bars *bars // nil: none

	mu sync.Mutex // guards std's writers while several jobs are watched
}

func newView(std *Stdio, asJSON bool) *view {
	return &view{std: std, tty: !asJSON && onTerminal(std.Out)}
}

// everything shows the client's log until ctx ends, which is no fault.
func (v *view) everything(ctx context.Context, cl *client.Client, o client.WatchOptions) error {
	show := v.line
	if v.tty {
		show = v.sentence
	}
	_, err := v.follow(ctx, cl, "", o, show)
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, syscall.EPIPE): // whoever read the events has gone, and wants no word of it
		return &exitError{code: exitFailed}
	}
	return coded(err)
}

// maxWatched is how many jobs are watched at once; a key may hold 10 streams
// unless the server is set otherwise, and one may be another program's.
const maxWatched = 8

// jobs shows jobs until all have ended. The exit code is that of the worst.
func (v *view) jobs(ctx context.Context, cl *client.Client, ids []string, o client.WatchOptions) error {
	if v.tty {
		v.bars = newBars(v.std.Out)
	}
	codes := make([]int, len(ids))
	slots := make(chan struct{}, maxWatched)
	var all sync.WaitGroup
	for i, id := range ids {
		show, end := v.line, func() {}
		if v.tty {
			bar := v.bars.add(id)
			show, end = bar.show, bar.end
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			codes[i] = v.job(ctx, cl, id, o, show)
			end()
		})
	}
	all.Wait()
	if v.tty {
		v.bars.wait()
	}
	code := exitOK
	for _, c := range codes {
		code = worse(code, c)
	}
	if code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// job shows one job to its end and returns its exit code.
func (v *view) job(ctx context.Context, cl *client.Client, id string, o client.WatchOptions, show func(client.Event) error) int {
	status, err := v.follow(ctx, cl, id, o, show)
	if err == nil && !status.Terminal() { // the cursor was at the job's end
		status, err = statusOf(ctx, cl, id)
	}
	switch {
	case errors.Is(err, syscall.EPIPE): // whoever read the events has gone, and wants no word of it
		return exitFailed
	case err != nil:
		v.talk("jobcast: %v\n", err)
		return exitCode(err)
	}
	return statusCode(status)
}

func statusOf(ctx context.Context, cl *client.Client, id string) (client.Status, error) {
	j, err := cl.Get(ctx, id)
	if err != nil {
		return "", err
	}
	return j.Status, nil
}

// follow shows one watch to its end and returns the status after its last event.
func (v *view) follow(ctx context.Context, cl *client.Client, id string, o client.WatchOptions, show func(client.Event) error) (status client.Status, err error) {
	o.Conflate = v.tty
	cut := false
	o.Notify = func(n client.Notice) {
		switch {
		case n.State == client.Lost:
			cut = true
			v.talk("connection lost (%v), next try in %s\n", n.Err, n.Wait.Round(10*time.Millisecond))
		case n.State == client.Connected && cut:
			cut = false
			v.talk("connected again\n")
		}
	}
	for e, err := range cl.Watch(ctx, id, o) {
		if err != nil {
			return status, err
		}
		if e.Type == client.EventReset {
			v.talk("some events are not there any more; what follows begins anew\n")
		}
		status = e.Status
		if err := show(e); err != nil {
			return status, fmt.Errorf("print event: %w", err)
		}
	}
	return status, nil
}

// talk says something to the person, above the bars if there are any.
func (v *view) talk(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bars != nil {
		v.bars.above(fmt.Sprintf(format, args...))
		return
	}
	fmt.Fprintf(v.std.Err, format, args...)
}

// line prints an event as JSON.
func (v *view) line(e client.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := v.std.Out.Write(append(e.Raw(), '\n'))
	return err
}

// sentence prints an event for a person.
func (v *view) sentence(e client.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := fmt.Fprintf(v.std.Out, "%s  %s  %-13s  %s\n", e.Time.Local().Format(time.TimeOnly), e.JobID, e.Type, gist(e))
	return err
}

// gist is what an event says, on one line.
func gist(e client.Event) string {
	switch e.Type {
	case client.EventProgress:
		var p client.Progress
		if e.Decode(&p) == nil {
			return oneLine(fmt.Sprintf("%.0f %% %s", p.Progress, p.Message))
		}
	case client.EventFailed, client.EventRetrying:
		var f client.Failure
		if e.Decode(&f) == nil {
			return oneLine(f.Error + ": " + f.ErrorMessage)
		}
	case client.EventLog:
		var l client.LogLine
		if e.Decode(&l) == nil {
			return oneLine(l.Line)
		}
	case client.EventArtifact:
		var a client.Artifact
		if e.Decode(&a) == nil {
			return oneLine(fmt.Sprintf("%s, %d bytes", a.Name, a.Size))
		}
	}
	return ""
}
