package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

var each = []client.Transport{client.WebSocket, client.SSE, client.NDJSON, client.Poll}

// waits is a job of n short actions.
func waits(n int) client.Submission {
	var s client.Submission
	for range n {
		s.Actions = append(s.Actions, client.Wait(time.Millisecond))
	}
	return s
}

func submit(t *testing.T, c *client.Client, s client.Submission) *client.Job {
	t.Helper()
	j, err := c.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// types reads a watch to its end.
func types(t *testing.T, c *client.Client, id string, o client.WatchOptions) (got []string) {
	t.Helper()
	for e, err := range c.Watch(t.Context(), id, o) {
		if err != nil {
			t.Fatalf("watch: %v, after %v", err, got)
		}
		got = append(got, string(e.Type))
	}
	return got
}

func TestWatchJob(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	want := []string{"job.created", "job.started", "job.progress", "job.progress", "job.completed"}
	for _, tr := range append(each, client.Auto) {
		t.Run(string(tr), func(t *testing.T) {
			c := s.client("", client.Options{Transport: tr})
			j, events, err := c.SubmitAndWatch(t.Context(), waits(2), client.WatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var got, ids []string
			for e, err := range events {
				if err != nil {
					t.Fatal(err)
				}
				if e.JobID != j.ID || e.Time.IsZero() || !strings.HasPrefix(string(e.Raw()), `{"id":"`+e.ID+`"`) {
					t.Errorf("event %+v", e)
				}
				got, ids = append(got, string(e.Type)), append(ids, e.ID)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(want[2:], types(t, c, j.ID, client.WatchOptions{After: ids[1]})); d != "" {
				t.Errorf("after the second event: %s", d)
			}
			if got := types(t, c, j.ID, client.WatchOptions{After: ids[4]}); got != nil {
				t.Errorf("after the last event: %v", got)
			}
		})
	}
}

// Through a line that is cut all the time a reader gets the whole log, each
// event once.
func TestWatchThroughCuts(t *testing.T) {
	t.Parallel()
	const jobs = 12
	for _, tr := range each {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			direct := s.client("", client.Options{Transport: client.Poll})
			p := startProxy(t, s.address)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			most := 4000
			if tr == client.Poll { // an answer that never fits would never come
				most = 60_000
			}
			p.cut = func(n int) int {
				if n < 3 {
					return 100 * n
				}
				return rand.New(rand.NewPCG(seed, uint64(n))).IntN(most)
			}
			c := s.client(p.serve(), client.Options{Transport: tr})
			made := submit(t, direct, waits(1))
			before := made.Cursor // the first one's job.created
			for range jobs - 1 {
				submit(t, direct, waits(3))
			}
			read := func(c *client.Client) (ids []string) {
				ended := 0
				for e, err := range c.Watch(t.Context(), "", client.WatchOptions{After: before}) {
					if err != nil || e.Type == client.EventReset {
						t.Fatalf("watch: %v, %s", err, e.Raw())
					}
					ids = append(ids, e.ID)
					if e.Type.Terminal() {
						if ended++; ended == jobs {
							break
						}
					}
				}
				return ids
			}
			got := read(c)
			if d := cmp.Diff(read(direct), got); d != "" {
				t.Error(d)
			}
			if n := p.connections(); n < 3 {
				t.Errorf("only %d connections: nothing was cut", n)
			}
		})
	}
}

// A watch lives through a drain and through a crash of the server.
func TestWatchThroughRestarts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.address)
	addr := p.serve()
	direct := func() *client.Client { return s.client("", client.Options{}) }
	type got struct {
		id    string
		reset bool
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := map[client.Transport]chan got{}
	live := make(chan struct{}, 100)
	done := make(chan error, len(each))
	for _, tr := range each {
		c := s.client(addr, client.Options{Transport: tr})
		ch := make(chan got, 1000)
		results[tr] = ch
		go func() {
			for e, err := range c.Watch(ctx, "", client.WatchOptions{Notify: func(n client.Notice) {
				if n.State == client.Live {
					live <- struct{}{}
				}
			}}) {
				if err != nil {
					done <- err
					return
				}
				if e.Type == client.EventCreated || e.Type == client.EventReset {
					ch <- got{e.JobID, e.Type == client.EventReset}
				}
			}
		}()
	}
	for range each {
		<-live
	}
	for round, end := range []func(){s.stop, s.kill, func() {}} {
		want := got{id: submit(t, direct(), waits(1)).ID}
		for tr, ch := range results {
			select {
			case g := <-ch:
				if g != want {
					t.Errorf("round %d: %s got %+v, want %+v", round, tr, g, want)
				}
			case <-time.After(2 * time.Minute):
				t.Fatalf("round %d: %s got nothing", round, tr)
			}
		}
		end()
		if round < 2 {
			s.start()
		}
	}
	cancel()
	for range each {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}
}

// A cursor that cannot be continued from is a reset, everywhere, and the job is
// told anew.
func TestWatchReset(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, tr := range each {
		t.Run(string(tr), func(t *testing.T) {
			c := s.client("", client.Options{Transport: tr})
			j := submit(t, c, waits(1))
			want := []string{"reset", "job.created", "job.started", "job.progress", "job.completed"}
			for cursor, reason := range map[string]string{"elsewhere-9": "epoch", "nonsense": "invalid"} {
				var got []string
				for e, err := range c.Watch(t.Context(), j.ID, client.WatchOptions{After: cursor}) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(e.Type))
					if e.Type == client.EventReset {
						var r client.Reset
						if err := e.Decode(&r); err != nil || r.Reason != reason || e.JobID != j.ID || e.ID != r.Cursor {
							t.Errorf("%s: %+v, %v", cursor, r, err)
						}
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s: %s", cursor, d)
				}
			}
		})
	}
}

func TestWatchRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, tr := range append(each, client.Auto) {
		t.Run(string(tr), func(t *testing.T) {
			for name, tc := range map[string]struct {
				o    client.Options
				want error
			}{
				"no such job": {client.Options{}, client.ErrNotFound},
				"no such key": {client.Options{Key: "jc_none_none"}, client.ErrUnauthenticated},
			} {
				tc.o.Transport = tr
				n := 0
				for _, err := range s.client("", tc.o).Watch(t.Context(), "00000000-0000-7000-8000-000000000000", client.WatchOptions{}) {
					n++
					var p *client.Problem
					if !errors.Is(err, tc.want) || !errors.As(err, &p) {
						t.Errorf("%s: %v", name, err)
					}
				}
				if n != 1 {
					t.Errorf("%s: %d times", name, n)
				}
			}
		})
	}
}

// A revoked key ends its watches with a refusal, and they do not come back.
func TestWatchRevoked(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	admin := s.client("", client.Options{})
	for _, tr := range each {
		t.Run(string(tr), func(t *testing.T) {
			k, err := admin.CreateKey(t.Context(), client.NewKey{Name: "short-lived"})
			if err != nil {
				t.Fatal(err)
			}
			c := s.client("", client.Options{Transport: tr, Key: k.Secret})
			revoke := func(n client.Notice) {
				if n.State == client.Live {
					if err := admin.RevokeKey(t.Context(), k.ID); err != nil {
						t.Error(err)
					}
				}
			}
			for _, err := range c.Watch(t.Context(), "", client.WatchOptions{Notify: revoke}) {
				if !errors.Is(err, client.ErrUnauthenticated) {
					t.Error(err)
				}
			}
		})
	}
}

func TestWatchGivesUp(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, tr := range append(each, client.Auto) {
		t.Run(string(tr), func(t *testing.T) {
			p := startProxy(t, func() string { return "127.0.0.1:1" }) // nobody is there
			c := s.client(p.serve(), client.Options{Transport: tr})
			lost := 0
			for _, err := range c.Watch(t.Context(), "", client.WatchOptions{
				GiveUp: 200 * time.Millisecond,
				Notify: func(n client.Notice) {
					if n.State == client.Lost && n.Err != nil {
						lost++
					}
				},
			}) {
				var l *client.LostError
				if !errors.As(err, &l) || lost == 0 {
					t.Errorf("%v after %d tries", err, lost)
				}
			}
		})
	}
}

func TestConflate(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, tr := range each {
		t.Run(string(tr), func(t *testing.T) {
			c := s.client("", client.Options{Transport: tr})
			j := submit(t, c, waits(20))
			_ = types(t, c, j.ID, client.WatchOptions{}) // to its end
			got := strings.Join(types(t, c, j.ID, client.WatchOptions{Conflate: true}), " ")
			if want := "job.created job.started job.progress job.completed"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
