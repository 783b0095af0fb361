package client_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

// A worker that is cut off stops its handler when its lease must be taken for
// lost, and another one gets the job.
func TestWorkerCutOff(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var off atomic.Bool
	p := startProxy(t, func() string {
		if off.Load() {
			return "127.0.0.1:1" // nobody is there
		}
		return s.address()
	})
	c := s.client(p.serve(), client.Options{})
	cause := make(chan error, 1)
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Lease: 5 * time.Second,
		Handle: func(ctx context.Context, _ *client.Attempt) (any, error) {
			off.Store(true)
			p.cutAll()
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return nil, nil
		}})
	direct := s.client("", client.Options{})
	id := queued(t, direct, client.Submission{})
	if err := <-cause; !errors.Is(err, client.ErrLeaseLost) {
		t.Errorf("cause %v", err)
	}
	run(t, client.Worker{Client: direct, Queues: []string{"q"}, Handle: func(context.Context, *client.Attempt) (any, error) {
		return nil, nil
	}})
	got := story(t, direct, id)
	if d := cmp.Diff("completed {}", got[len(got)-1]); d != "" || !strings.HasPrefix(got[2], "retrying LeaseExpired: ") {
		t.Errorf("%q", got)
	}
}

// A worker that stops lets its handler finish, and when that takes too long
// hands the job back.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	begun, let := make(chan struct{}), make(chan struct{})
	handle := func(ctx context.Context, _ *client.Attempt) (any, error) {
		begun <- struct{}{}
		select {
		case <-let:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	w := client.Worker{Client: c, Queues: []string{"q"}, Handle: handle, Grace: time.Minute}
	stop := run(t, w)
	first := queued(t, c, client.Submission{})
	<-begun
	second := queued(t, c, client.Submission{MaxAttempts: 1}) // there is no slot for it
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case <-stopped:
		t.Error("it did not wait for its handler")
	case <-time.After(50 * time.Millisecond):
	}
	close(let)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"created", "started", "completed {}"}, story(t, c, first)); d != "" {
		t.Error(d)
	}
	let = make(chan struct{})
	w.Grace = -1
	stop = run(t, w)
	<-begun
	if err := stop(); err != nil {
		t.Error(err)
	}
	want := []string{"created", "started", "failed Interrupted: the worker stopped: the worker stops"}
	if d := cmp.Diff(want, story(t, c, second)); d != "" {
		t.Error(d)
	}
}

// A worker comes through a drain and a crash of its server.
func TestWorkerThroughRestarts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.address)
	c := s.client(p.serve(), client.Options{})
	let := make(chan struct{})
	begun := make(chan struct{}, 10)
	run(t, client.Worker{Client: c, Queues: []string{"q"}, Handle: func(ctx context.Context, a *client.Attempt) (any, error) {
		begun <- struct{}{}
		<-let
		return nil, a.Log("still here")
	}})
	for _, end := range []func(){s.stop, s.kill} {
		id := queued(t, c, client.Submission{})
		<-begun
		end()
		s.start()
		let <- struct{}{}
		want := []string{"created", "started", "log info still here", "completed {}"}
		if d := cmp.Diff(want, story(t, c, id)); d != "" {
			t.Error(d)
		}
	}
}

func TestWorkerRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	admin := s.client("", client.Options{})
	k, err := admin.CreateKey(t.Context(), client.NewKey{Name: "reader", Scopes: []string{"watch"}})
	if err != nil {
		t.Fatal(err)
	}
	none := func(context.Context, *client.Attempt) (any, error) { return nil, nil }
	w := client.Worker{Client: s.client("", client.Options{Key: k.Secret}), Queues: []string{"q"}, Handle: none}
	if err := w.Run(t.Context()); !errors.Is(err, client.ErrForbidden) {
		t.Errorf("a key that may only read: %v", err)
	}
	w.Client, w.Queues = admin, []string{"No Queue"}
	if err := w.Run(t.Context()); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("no name of a queue: %v", err)
	}
	if err := (client.Worker{}).Run(t.Context()); err == nil {
		t.Error("an empty worker ran")
	}
	for _, name := range []string{"..", "a b", strings.Repeat("n", 65)} {
		w.Name = name
		if err := w.Run(t.Context()); err == nil || errors.Is(err, client.ErrForbidden) || errors.Is(err, client.ErrInvalid) {
			t.Errorf("a worker named %q: %v", name, err)
		}
	}
}
