package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jobcast/jobcast/client"
)

// jobsCmd is `jobcast jobs`.
type jobsCmd struct {
	Status string `help:"Only jobs that are pending, processing, completed, failed or cancelled." enum:"pending,processing,completed,failed,cancelled," default:"" placeholder:"STATUS"`
	Queue  string `help:"Only jobs of this queue." placeholder:"QUEUE"`
	Search string `help:"Only jobs whose id, title, error or error message contains this text." placeholder:"TEXT"`
	From   string `help:"Only jobs created at this time (RFC 3339) or later." placeholder:"TIME"`
	To     string `help:"Only jobs created before this time (RFC 3339)." placeholder:"TIME"`
	Limit  int    `help:"Maximum number of jobs." default:"20" placeholder:"N"`
	JSON   bool   `name:"json" help:"Print one job per line as JSON, as the API returns it."`
	remote

	from, to time.Time // of From and To
}

// Validate bounds the limit from below; above there is no bound. It reads the times.
func (c *jobsCmd) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit: must be at least 1")
	}
	for name, one := range map[string]struct {
		text string
		to   *time.Time
	}{"--from": {c.From, &c.from}, "--to": {c.To, &c.to}} {
		if one.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, one.text)
		if err != nil {
			return fmt.Errorf("%s: invalid time %q, want e.g. 2026-01-31T12:00:00Z", name, one.text)
		}
		*one.to = at
	}
	return nil
}

// Run prints the newest jobs.
func (c *jobsCmd) Run(ctx context.Context, std *Stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	var list []*client.Job
	o := client.ListOptions{Status: client.Status(c.Status), Queue: c.Queue, Search: c.Search, From: c.from, To: c.to, PageSize: min(c.Limit, client.MaxPageSize)}
	for j, err := range cl.List(ctx, o) {
		if err != nil {
			return coded(err)
		}
		if list = append(list, j); len(list) == c.Limit {
			break
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(std.Err, "no jobs.")
		return nil
	}
	if c.JSON {
		for _, j := range list {
			if _, err := fmt.Fprintf(std.Out, "%s\n", j.Raw()); err != nil {
				return fmt.Errorf("print jobs: %w", err)
			}
		}
		return nil
	}
	return printJobs(std.Out, list)
}

func printJobs(w io.Writer, list []*client.Job) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATUS\tQUEUE\tATTEMPT\tCREATED\tNOTE")
	for _, j := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d/%d\t%s\t%s\n", j.ID, j.Status, cmp.Or(j.Queue, "-"), j.Attempt, j.MaxAttempts,
			j.CreatedAt.UTC().Format(time.RFC3339), note(j))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print jobs: %w", err)
	}
	return nil
}

// note is the most telling thing about a job, on one line.
func note(j *client.Job) string {
	switch {
	case j.Status == client.Failed && j.Error != "":
		return oneLine(j.Error + ": " + j.ErrorMessage)
	case j.Status == client.Processing && j.Progress != nil && j.Message != "":
		return oneLine(fmt.Sprintf("%.0f %% %s", *j.Progress, j.Message))
	case j.Status == client.Processing && j.Progress != nil:
		return fmt.Sprintf("%.0f %%", *j.Progress)
	}
	return "-"
}

// maxNote keeps a line of the terminal a line.
const maxNote = 80

// oneLine makes text safe to show: control characters, which could also drive
// the terminal, become spaces.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxNote {
		text = string(runes[:maxNote-1]) + "…"
	}
	return text
}

// cancelCmd is `jobcast cancel`.
type cancelCmd struct {
	Job []string `arg:"" name:"job" help:"Ids of jobs."`
	remote
}

// Run cancels each job and prints its id and status. It goes on after a
// refusal; the exit code is that of the worst.
func (c *cancelCmd) Run(ctx context.Context, std *Stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	code := exitOK
	for _, id := range c.Job {
		job, err := cl.Cancel(ctx, id)
		if err != nil {
			fmt.Fprintf(std.Err, "jobcast: %v\n", err)
			code = worse(code, exitCode(err))
			continue
		}
		if _, err := fmt.Fprintf(std.Out, "%s %s\n", job.ID, job.Status); err != nil {
			return fmt.Errorf("print job: %w", err)
		}
	}
	if code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// retryCmd is `jobcast retry`.
type retryCmd struct {
	Job            string `arg:"" name:"job" help:"Id of the job to retry."`
	IdempotencyKey string `name:"idempotency-key" help:"Retries with the same key create one job." placeholder:"KEY"`
	following
	remote
}

// Run makes the new job and, with --watch, follows it to its end.
func (c *retryCmd) Run(ctx context.Context, std *Stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	job, err := cl.Retry(ctx, c.Job, c.IdempotencyKey)
	if err != nil {
		return coded(err)
	}
	return c.follow(ctx, std, cl, job, c.patience())
}
