package client_test

import (
	"context"
	"fmt"
	"os"

	"github.com/jobcast/jobcast/client"
)

// Submit a job and follow it to its end.
func ExampleClient_SubmitAndWatch() {
	ctx := context.Background()
	c, err := client.New(client.Options{Key: os.Getenv("JOBCAST_KEY")})
	if err != nil {
		panic(err)
	}
	_, events, err := c.SubmitAndWatch(ctx, client.Submission{Actions: []any{client.Wait(0)}}, client.WatchOptions{})
	if err != nil {
		panic(err)
	}
	for e, err := range events {
		fmt.Println(e.Type, string(e.Data), err)
	}
}

// Run the jobs of a queue, four at a time, until ctx ends.
func ExampleWorker() {
	ctx := context.Background()
	c, err := client.New(client.Options{Key: os.Getenv("JOBCAST_KEY")})
	if err != nil {
		panic(err)
	}
	err = client.Worker{Client: c, Queues: []string{"resize"}, Concurrency: 4,
		Handle: func(ctx context.Context, a *client.Attempt) (any, error) {
			return map[string]any{"got": a.Job.Payload}, a.Progress(50, "half way")
		}}.Run(ctx)
	fmt.Println(err)
}

// Resume a watch where an earlier one ended, and learn of a gap.
func ExampleClient_Watch() {
	ctx, last := context.Background(), "k3f9-17" // an Event's ID, kept from before
	c, err := client.New(client.Options{Key: os.Getenv("JOBCAST_KEY")})
	if err != nil {
		panic(err)
	}
	for e, err := range c.Watch(ctx, "", client.WatchOptions{After: last}) {
		switch {
		case err != nil:
			fmt.Println("refused, or lost for good:", err)
		case e.Type == client.EventReset:
			fmt.Println("events are missing here")
		default:
			fmt.Println(e.JobID, e.Type)
		}
		last = e.ID
	}
	fmt.Println("next time behind", last)
}
