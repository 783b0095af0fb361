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

// queuesCmd is `jobcast queues`.
type queuesCmd struct {
	JSON bool `name:"json" help:"Print one queue per line as JSON, as the API returns it."`
	remote
}

// Run prints what waits in the queues, and who works on them.
func (c *queuesCmd) Run(ctx context.Context, std *Stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	list, err := cl.Queues(ctx)
	if err != nil {
		return coded(err)
	}
	if len(list.Queues) == 0 {
		fmt.Fprintln(std.Err, "no queues.")
		return nil
	}
	if c.JSON {
		for _, q := range list.Queues {
			if _, err := fmt.Fprintf(std.Out, "%s\n", q.Raw()); err != nil {
				return fmt.Errorf("print queues: %w", err)
			}
		}
		return nil
	}
	return printQueues(std.Out, list.Queues)
}

func printQueues(w io.Writer, list []client.Queue) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "QUEUE\tPENDING\tDUE\tRUNNING\tOLDEST\tWORKERS")
	for _, q := range list {
		oldest, names := "-", make([]string, len(q.Workers))
		if q.Due > 0 {
			oldest = q.OldestAge.Truncate(time.Second).String()
		}
		for i, one := range q.Workers {
			names[i] = cmp.Or(one.Name, "(no name)")
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\n", q.Name, q.Pending, q.Due, q.Running, oldest, cmp.Or(oneLine(strings.Join(names, ", ")), "-"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print queues: %w", err)
	}
	return nil
}
