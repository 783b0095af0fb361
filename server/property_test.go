package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestReadersSeeWhatWasCommitted lets chance decide what is written and read,
// over which transport, where readers are cut, and when the server restarts or
// crashes. What a reader got over all its resumes, put together, is exactly
// what the writers were told was committed.
func TestReadersSeeWhatWasCommitted(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t, transporttest.Options{Grace: time.Millisecond})
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		w := newWorld(t, rt, server, fmt.Sprintf("client-%d", checks))
		for range rapid.IntRange(4, 10).Draw(rt, "steps") {
			w.step(rt)
		}
		w.finish(rt)
	})
}

// world is one client of the server, its jobs and its readers.
type world struct {
	t       *testing.T
	server  transporttest.Server
	log     *transporttest.Log
	caller  transporttest.Caller
	works   []*transporttest.Work // running
	readers []*follower
}

// follower is a reader over all its resumes.
type follower struct {
	job    string // empty: the client's room
	cursor string // empty: never read
	got    []transporttest.Item
}

func newWorld(t *testing.T, rt *rapid.T, server transporttest.Server, client string) *world {
	_, secret := server.Key(client, auth.KeyOptions{})
	w := &world{
		t: t, server: server, log: transporttest.NewLog(server, client),
		caller:  transporttest.Caller{Dial: server.Dial, Secret: secret},
		readers: []*follower{{}},
	}
	w.begin(rt)
	return w
}

func (w *world) begin(rt *rapid.T) {
	work := w.log.Begin(rt)
	w.works = append(w.works, work)
	w.readers = append(w.readers, &follower{job: work.Job})
}

// step does one thing that chance picks.
func (w *world) step(rt *rapid.T) {
	switch rapid.SampledFrom([]string{"begin", "emit", "emit", "read", "read", "read", "storm", "end", "restart"}).Draw(rt, "step") {
	case "begin":
		w.begin(rt)
	case "emit":
		if len(w.works) > 0 {
			work := rapid.SampledFrom(w.works).Draw(rt, "job")
			work.Emit(rt, rapid.IntRange(1, 40).Draw(rt, "events"), rapid.IntRange(1, 10).Draw(rt, "batch"))
		}
	case "read":
		f := rapid.SampledFrom(w.readers).Draw(rt, "reader")
		w.read(rt, f, len(w.log.After(rt, f.job, f.place())), false)
	case "storm":
		w.storm(rt)
	case "end":
		if len(w.works) > 1 {
			w.works[0].Finish(rt)
			w.works = w.works[1:]
		}
	case "restart":
		w.restart(rt)
	}
}

func (f *follower) place() string {
	if len(f.got) == 0 {
		return "0-0"
	}
	return f.got[len(f.got)-1].ID
}

// open opens the reader where it left off, over a transport that chance picks.
func (w *world) open(ctx context.Context, rt *rapid.T, f *follower) (transporttest.Reader, error) {
	tr := rapid.SampledFrom(transporttest.Transports()).Draw(rt, "transport")
	o := transporttest.Opening{Job: f.job, Cursor: f.cursor}
	if f.cursor == "" {
		o.From = "start"
	} else if rapid.Bool().Draw(rt, "query") {
		o.Cursor, o.Query = "", f.cursor
	}
	return tr.Open(ctx, w.caller, o)
}

// readTime bounds one reading: everything it waits for has been committed.
const readTime = time.Minute

// read reads some of the n events that are there, at least all of them if
// asked, and cuts the connection.
func (w *world) read(rt *rapid.T, f *follower, n int, all bool) {
	ctx, cancel := context.WithTimeout(w.t.Context(), readTime)
	defer cancel()
	r, err := w.open(ctx, rt, f)
	var refused *transporttest.Refusal
	if errors.As(err, &refused) && refused.Status == http.StatusNoContent && n == 0 {
		return // the end was read before
	}
	if err != nil {
		rt.Fatalf("open from %q: %v", f.cursor, err)
	}
	defer r.Close()
	if !all {
		n = rapid.IntRange(0, n).Draw(rt, "how many")
	}
	for n > 0 {
		it, err := r.Next()
		if err != nil {
			rt.Fatalf("%d events are missing: %v", n, err)
		}
		if f.keep(rt, it) {
			n--
		}
	}
	if c := r.Cursor(); c != "" {
		f.cursor = c
	}
}

// keep takes note of an item and reports whether it is an event.
func (f *follower) keep(rt *rapid.T, it transporttest.Item) bool {
	if it.Name == "reset" || it.Name == "problem" {
		rt.Fatalf("a good cursor %q met %s %s", f.cursor, it.Name, it.Data)
	}
	if it.Event == nil {
		return false
	}
	f.got = append(f.got, it)
	return true
}

// restart ends the server one way or the other and starts it again.
func (w *world) restart(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "crash") {
		w.server.Crash()
	} else if err := w.server.Stop(); err != nil {
		rt.Fatalf("stop: %v", err)
	}
	w.server.Start()
}

// storm restarts the server while a writer writes and readers read.
func (w *world) storm(rt *rapid.T) {
	ctx, cancel := context.WithTimeout(w.t.Context(), readTime)
	defer cancel()
	var busy sync.WaitGroup
	for _, f := range w.readers {
		r, err := w.open(ctx, rt, f)
		var refused *transporttest.Refusal
		if errors.As(err, &refused) && refused.Status == http.StatusNoContent {
			continue // its end was read before
		}
		if err != nil {
			rt.Fatalf("open from %q: %v", f.cursor, err)
		}
		busy.Go(func() {
			defer r.Close()
			for {
				it, err := r.Next()
				if err != nil {
					return
				}
				if it.Event != nil {
					f.got = append(f.got, it)
				}
				if c := r.Cursor(); c != "" {
					f.cursor = c
				}
			}
		})
	}
	if len(w.works) > 0 {
		work := w.works[0]
		busy.Go(func() {
			for ctx.Err() == nil && work.TryEmit(w.t, 2) == nil {
			}
		})
	}
	w.restart(rt)
	cancel()
	busy.Wait()
}

// finish reads everything to its end and compares.
func (w *world) finish(rt *rapid.T) {
	for _, work := range w.works {
		work.Finish(rt)
	}
	w.log.Resolve(rt, w.whole(rt))
	for _, f := range w.readers {
		want := w.log.Entries(f.job)
		if len(f.got) > len(want) {
			rt.Fatalf("%d events were read, %d committed", len(f.got), len(want))
		}
		w.read(rt, f, len(want)-len(f.got), true)
		transporttest.Same(rt, f.got, want)
	}
}

// whole reads the client's log from its start to the newest event that a writer
// was told of.
func (w *world) whole(rt *rapid.T) []transporttest.Item {
	ctx, cancel := context.WithTimeout(w.t.Context(), readTime)
	defer cancel()
	r, err := w.open(ctx, rt, &follower{})
	if err != nil {
		rt.Fatalf("open: %v", err)
	}
	defer r.Close()
	head := w.log.Head()
	var got []transporttest.Item
	for {
		it, err := r.Next()
		if err != nil {
			rt.Fatalf("after %d events: %v", len(got), err)
		}
		if it.Event != nil {
			got = append(got, it)
		}
		if it.Event != nil && it.ID == head {
			return got
		}
	}
}
