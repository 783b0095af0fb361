package client_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jobcast/jobcast/client"
)

// What is refused by a bound comes back at once, with its figures; a worker that
// finds no room for an artifact ends the job.
func TestLimits(t *testing.T) {
	t.Setenv("JOBCAST_MAX_JOBS_PER_CLIENT", "2")
	t.Setenv("JOBCAST_MAX_ARTIFACTS_PER_CLIENT", "1MiB")
	s := startServer(t)
	c := s.client("", client.Options{GiveUp: time.Hour})
	first := submit(t, c, client.Submission{Queue: "q", ExpiresIn: time.Hour})
	if first.ExpiresAt.Sub(first.CreatedAt) != time.Hour {
		t.Errorf("expires at %v, created at %v", first.ExpiresAt, first.CreatedAt)
	}
	second := queued(t, c, client.Submission{})
	_, err := c.Submit(t.Context(), client.Submission{Queue: "q"}) // it would be repeated for an hour
	var p *client.Problem
	if !errors.Is(err, client.ErrJobLimit) || !errors.As(err, &p) || p.Limit != 2 || p.Used != 2 || p.Asked != 1 || p.RetryAfter <= 0 {
		t.Errorf("one job too many: %v, %+v", err, p)
	}
	if _, err := c.Cancel(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	uploads := make(chan error, 9)
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Handle: func(_ context.Context, a *client.Attempt) (any, error) {
		_, err := a.Artifact("big", bytes.NewReader(make([]byte, 2<<20)))
		uploads <- err
		return nil, err
	}})
	for _, err := range c.Watch(t.Context(), first.ID, client.WatchOptions{}) { // to its end
		if err != nil {
			t.Fatal(err)
		}
	}
	j, err := c.Get(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if j.Status != client.Failed || j.Error != "ArtifactLimit" || j.Attempt != 1 {
		t.Errorf("the job is %s after %d attempts: %v", j.Status, j.Attempt, j.Error)
	}
	if err := <-uploads; !errors.Is(err, client.ErrArtifactLimit) || !errors.As(err, &p) || p.Limit != 1<<20 || p.Used != 0 || p.Asked != 2<<20 {
		t.Errorf("too much: %v", err)
	}
}
