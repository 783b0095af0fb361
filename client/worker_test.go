package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

// run starts a worker and returns what stops it and gives its error.
func run(t *testing.T, w client.Worker) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				t.Errorf("worker: %v", err)
			}
		}
	})
	return stop
}

// story is a job's events, told shortly.
func story(t *testing.T, c *client.Client, id string) (told []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for e, err := range c.Watch(ctx, id, client.WatchOptions{}) {
		if err != nil {
			t.Fatalf("watch: %v, after %v", err, told)
		}
		text := strings.TrimPrefix(string(e.Type), "job.")
		switch e.Type {
		case client.EventProgress:
			var p client.Progress
			_ = e.Decode(&p)
			text += fmt.Sprintf(" %v %s", p.Progress, p.Message)
		case client.EventLog:
			var l client.LogLine
			_ = e.Decode(&l)
			text += " " + l.Level + " " + l.Line
		case client.EventFailed, client.EventRetrying:
			var f client.Failure
			_ = e.Decode(&f)
			text += " " + f.Error + ": " + f.ErrorMessage
		case client.EventCompleted:
			var done client.Completion
			_ = e.Decode(&done)
			text += " " + string(done.Result)
		}
		told = append(told, text)
	}
	return told
}

func queued(t *testing.T, c *client.Client, s client.Submission) string {
	t.Helper()
	s.Queue = "q"
	return submit(t, c, s).ID
}

// What a handler says and returns is what the job's events and its object say.
func TestWorker(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	long := strings.Repeat("ä", 10_000)
	run(t, client.Worker{Client: c, Queues: []string{"p", "q"}, Concurrency: 3,
		Handle: func(_ context.Context, a *client.Attempt) (any, error) {
			switch strings.Trim(string(a.Job.Payload), `"`) {
			case "talk":
				_ = a.Log("one\ntwo")
				_ = a.Progress(40, "half \xff way")
				_ = a.Progress(1000, "")
				return map[string]int{"n": 7}, nil
			case "long":
				_ = a.Log(long)
				_ = a.Progress(1, long)
				return nil, nil
			case "fail":
				return nil, fmt.Errorf("no luck: %s", a.Job.ID)
			case "final":
				return nil, client.Final(errors.New("never"))
			case "class":
				return nil, fmt.Errorf("wrapped: %w", &client.JobError{Class: "NoSuchFile", Final: true, Err: errors.New("x")})
			case "bare":
				return nil, &client.JobError{Class: "NoSuchFile"}
			case "empty":
				return nil, &client.JobError{}
			case "none":
				return nil, client.Final(nil)
			case "panic":
				panic("oh")
			case "list":
				return []int{1}, nil
			case "surrogate":
				return json.RawMessage(`{"title":"cut \ud83d"}`), nil
			case "twice":
				return json.RawMessage(`{"a":1,"a":2}`), nil
			case "deep":
				return json.RawMessage(`{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`), nil
			case "big":
				return map[string]string{"x": strings.Repeat("x", 100_000)}, nil
			}
			return json.RawMessage("null"), nil
		}})
	for payload, tc := range map[string]struct {
		attempts int
		want     []string
	}{
		"talk":  {3, []string{"log info one\ntwo", "progress 40 half \uFFFD way", "progress 100 ", `completed {"n":7}`}},
		"long":  {3, []string{"log info " + strings.Repeat("ä", 4096), "progress 1 " + strings.Repeat("ä", 512), "completed {}"}},
		"fail":  {1, []string{"failed WorkerError: no luck: ID"}},
		"final": {3, []string{"failed WorkerError: never"}},
		"class": {3, []string{"failed NoSuchFile: wrapped: x"}},
		"bare":  {1, []string{"failed NoSuchFile: NoSuchFile"}},
		"empty": {1, []string{"failed WorkerError: WorkerError"}},
		"none":  {3, []string{"completed {}"}},
		"panic": {1, []string{"failed Panic: the handler panicked: oh"}},
		"list":  {3, []string{"failed InvalidResult: the result is no JSON object"}},
		"null":  {3, []string{"completed {}"}},
	} {
		t.Run(payload, func(t *testing.T) {
			id := queued(t, c, client.Submission{Payload: payload, MaxAttempts: tc.attempts})
			got := story(t, c, id)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], id, "ID")
			}
			if d := cmp.Diff(append([]string{"created", "started"}, tc.want...), got); d != "" {
				t.Error(d)
			}
		})
	}
	for _, payload := range []string{"big", "surrogate", "twice", "deep"} { // the server refuses them
		t.Run(payload, func(t *testing.T) {
			got := story(t, c, queued(t, c, client.Submission{Payload: payload}))
			if last := got[len(got)-1]; len(got) != 3 || !strings.HasPrefix(last, "failed InvalidResult: the server refuses the result: ") {
				t.Errorf("%.200q", got)
			}
		})
	}
}

// An attempt that fails is made again.
func TestWorkerRetries(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Handle: func(_ context.Context, a *client.Attempt) (any, error) {
		if a.Job.Attempt == 1 {
			return nil, errors.New("not yet")
		}
		return map[string]int{"attempt": a.Job.Attempt}, nil
	}})
	want := []string{"created", "started", "retrying WorkerError: not yet", "started", `completed {"attempt":2}`}
	if d := cmp.Diff(want, story(t, c, queued(t, c, client.Submission{}))); d != "" {
		t.Error(d)
	}
}

// Thousands of reports, more than one request may carry, arrive in order.
func TestWorkerManyReports(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	const lines = 5000
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Handle: func(_ context.Context, a *client.Attempt) (any, error) {
		for i := range lines {
			if err := a.Log(fmt.Sprintf("line %d", i)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}})
	got := story(t, c, queued(t, c, client.Submission{}))
	if len(got) != lines+3 {
		t.Fatalf("%d events", len(got))
	}
	for i := range lines {
		if want := fmt.Sprintf("log info line %d", i); got[i+2] != want {
			t.Fatalf("event %d is %q", i+2, got[i+2])
		}
	}
}

// The handler learns that its job was cancelled, and a job that takes longer
// than it may is ended.
func TestWorkerContext(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	begun := make(chan string, 2)
	cause := make(chan error, 2)
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Lease: 15 * time.Second, Concurrency: 2,
		Handle: func(ctx context.Context, a *client.Attempt) (any, error) {
			begun <- a.Job.ID
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return nil, ctx.Err()
		}})
	id := queued(t, c, client.Submission{})
	if got := <-begun; got != id {
		t.Fatalf("began %s", got)
	}
	if _, err := c.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := <-cause; !errors.Is(err, client.ErrJobCancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if d := cmp.Diff([]string{"created", "started", "cancelled"}, story(t, c, id)); d != "" {
		t.Error(d)
	}
	id = queued(t, c, client.Submission{Timeout: time.Second, MaxAttempts: 1})
	if err := <-cause; !errors.Is(err, client.ErrTimeout) && !errors.Is(err, client.ErrLeaseLost) { // the server may be quicker
		t.Errorf("too long: %v", err)
	}
	got := story(t, c, id)
	if last := got[len(got)-1]; !strings.HasPrefix(last, "failed TimeoutError: ") {
		t.Errorf("too long: %q", got)
	}
}
