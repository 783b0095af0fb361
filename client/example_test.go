package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jobcast/jobcast/client"
)

// connect is a client as all examples have it.
func connect() *client.Client {
	c, err := client.New(client.Options{URL: os.Getenv("JOBCAST_URL"), Key: os.Getenv("JOBCAST_KEY")})
	if err != nil {
		panic(err)
	}
	return c
}

// Submit a job and follow it to its end.
func ExampleClient_SubmitAndWatch() {
	c := connect()
	defer c.Close()
	job := client.Submission{Actions: []any{client.Wait(10 * time.Millisecond)}}
	_, events, err := c.SubmitAndWatch(context.Background(), job, client.WatchOptions{})
	if err != nil {
		panic(err)
	}
	for e, err := range events {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Type, e.Status)
	}
	// Output:
	// job.created pending
	// job.started processing
	// job.progress processing
	// job.completed completed
}

// Resume a watch where an earlier one ended, and learn of a gap.
func ExampleClient_Watch() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	job, err := c.Submit(ctx, client.Submission{Actions: []any{client.Wait(10 * time.Millisecond)}})
	if err != nil {
		panic(err)
	}
	last := "" // the ID of the last event that was dealt with; a real program keeps it on disk
	for e, err := range c.Watch(ctx, job.ID, client.WatchOptions{After: last}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Type)
		last = e.ID
		if e.Type == client.EventStarted {
			break
		}
	}
	fmt.Println("later")
	for e, err := range c.Watch(ctx, job.ID, client.WatchOptions{After: last}) {
		switch {
		case err != nil:
			fmt.Println("refused, or lost for good:", err)
		case e.Type == client.EventReset:
			fmt.Println("events are missing here")
		default:
			fmt.Println(e.Type)
		}
	}
	// Output:
	// job.created
	// job.started
	// later
	// job.progress
	// job.completed
}

// Run the jobs of a queue, four at a time. A program of its own would have ctx
// from signal.NotifyContext.
func ExampleWorker() {
	c := connect()
	defer c.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w := client.Worker{Client: c, Queues: []string{"greetings"}, Concurrency: 4,
		Handle: func(ctx context.Context, a *client.Attempt) (any, error) {
			var who struct{ Name string }
			if err := json.Unmarshal(a.Job.Payload, &who); err != nil {
				return nil, client.Final(err) // another attempt would not help
			}
			if err := a.Progress(50, "half way"); err != nil {
				return nil, err
			}
			return map[string]string{"greeting": "Hello, " + who.Name}, nil
		}}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	job := client.Submission{Queue: "greetings", Payload: map[string]string{"name": "moon"}}
	_, events, err := c.SubmitAndWatch(ctx, job, client.WatchOptions{})
	if err != nil {
		panic(err)
	}
	for e, err := range events {
		if err != nil {
			panic(err)
		}
		if e.Type != client.EventCompleted {
			continue
		}
		var done client.Completion
		if err := e.Decode(&done); err != nil {
			panic(err)
		}
		fmt.Println(string(done.Result))
	}
	stop() // it takes no more jobs, and lets its handlers finish
	fmt.Println(<-ended)
	// Output:
	// {"greeting":"Hello, moon"}
	// <nil>
}

// Upload a file that a job leaves behind.
func ExampleAttempt_Artifact() {
	c := connect()
	defer c.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w := client.Worker{Client: c, Queues: []string{"reports"},
		Handle: func(_ context.Context, a *client.Attempt) (any, error) {
			_, err := a.Artifact("report.csv", strings.NewReader("day,sales\n1,20\n")) // or an *os.File
			return nil, err
		}}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	_, events, err := c.SubmitAndWatch(ctx, client.Submission{Queue: "reports"}, client.WatchOptions{})
	if err != nil {
		panic(err)
	}
	for e, err := range events {
		if err != nil {
			panic(err)
		}
		if e.Type != client.EventArtifact {
			continue
		}
		var file client.Artifact
		if err := e.Decode(&file); err != nil {
			panic(err)
		}
		fmt.Println(file.Name, file.Size, file.ContentType)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// report.csv 15 text/csv; charset=utf-8
	// <nil>
}

// List the jobs that wait, newest first, and cancel them. Pages are fetched as they
// are needed.
func ExampleClient_List() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	for _, queue := range []string{"first", "second", "third"} {
		if _, err := c.Submit(ctx, client.Submission{Queue: queue}); err != nil {
			panic(err)
		}
	}
	for job, err := range c.List(ctx, client.ListOptions{Status: client.Pending, PageSize: 2}) {
		if err != nil {
			panic(err)
		}
		ended, err := c.Cancel(ctx, job.ID)
		if err != nil {
			panic(err)
		}
		fmt.Println(ended.Queue, ended.Status)
	}
	// Output:
	// third cancelled
	// second cancelled
	// first cancelled
}

// Submit many jobs, all of them or none.
func ExampleClient_SubmitBatch() {
	c := connect()
	defer c.Close()
	letters := []client.Submission{{Queue: "letters", Payload: "to you"}, {Queue: "letters", Payload: "to her"}}
	ids, err := c.SubmitBatch(context.Background(), letters, "letters-2026-12-01") // a repeat makes no further ones
	if err != nil {
		panic(err)
	}
	fmt.Println(len(ids), "jobs")
	// Output:
	// 2 jobs
}

// Tell refusals apart, and show what is wrong.
func ExampleProblem() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	_, err := c.Get(ctx, "no-such-job")
	fmt.Println(errors.Is(err, client.ErrNotFound))

	_, err = c.Submit(ctx, client.Submission{Queue: "q", Priority: 1000})
	var p *client.Problem
	if errors.As(err, &p) {
		for _, field := range p.Errors {
			fmt.Println(p.Code, field.Pointer)
		}
	}
	// Output:
	// true
	// invalid /priority
}
