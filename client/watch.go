package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// From is where a watch without a cursor starts.
type From string

// The values of From.
const (
	FromDefault From = ""      // a job at its first event, the client's log now
	FromStart   From = "start" // at the oldest event that is kept
	FromNow     From = "now"   // behind the newest
)

// WatchOptions say where a watch starts and how it goes on. Zero means the default
// of each field.
type WatchOptions struct {
	After    string        // a cursor, such as an event's ID: start right after it
	From     From          // where to start without After
	Conflate bool          // of what is fetched together, only the newest progress of each job and attempt
	GiveUp   time.Duration // end with a *LostError after so long without success; 0 or negative: [Forever]

	// Notify, if set, hears about the connection. It is called by the goroutine
	// that ranges over the watch, between two events.
	Notify func(Notice)
}

// Notice is news about the connection of a watch.
type Notice struct {
	State     State
	Transport Transport
	Err       error         // of Lost
	Wait      time.Duration // of Lost: until the next try
}

// State is what a Notice is about.
type State int

// The states of a watch.
const (
	Connected State = iota // the server has answered
	Live                   // history is done; what follows happens now
	Lost                   // the connection ended; another try follows
)

// Watch returns the events of a job, or of the client's whole log if id is
// empty. It connects when it is ranged over and resumes by itself, on every
// transport: no event comes twice and none is left out, except where an
// EventReset says so. A job's events end after the terminal one; a client's log
// never ends. An error is the last thing that is yielded: a *Problem if the
// server refuses, a *LostError, or why ctx ended.
func (c *Client) Watch(ctx context.Context, id string, o WatchOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := &watch{c: c, job: strings.ToLower(id), o: o, cursor: o.After, yield: yield}
		w.patience = newPatience(orDefault(o.GiveUp, Forever))
		what := "watch job " + id
		if id == "" {
			what = "watch client"
		}
		if err := w.run(ctx); !errors.Is(err, errOver) {
			yield(Event{}, wrap(what, err))
		}
	}
}

// Why a connection ended that did not fail.
var (
	errOver      = errors.New("the watch is over") // there is nothing more, or the caller wants none
	errReconnect = errors.New("the server asked to come back")
	errSilent    = errors.New("the server sends nothing")
	errCut       = errors.New("the stream was cut")
)

// watch is one ranging over a Watch.
type watch struct {
	c        *Client
	job      string // empty: the client's log
	o        WatchOptions
	cursor   string // where to go on; empty: o.From says
	yield    func(Event, error) bool
	patience *patience

	transport Transport     // of this connection
	through   bool          // this connection has brought a frame
	first     *time.Timer   // ends this connection unless it gets through; nil: none
	retry     time.Duration // of errReconnect
}

// autoOrder is what Auto tries; see Client.works.
func autoOrder() []Transport { return []Transport{WebSocket, SSE, Poll} }

// run connects again and again until the watch is over. It returns errOver or
// the error to yield.
func (w *watch) run(ctx context.Context) error {
	order := []Transport{w.c.opt.Transport}
	at := 0
	if order[0] == Auto {
		order = autoOrder()
		at = int(w.c.works.Load())
	}
	for blocked := 0; ; {
		w.transport, w.through = order[at], false
		err := w.connect(ctx, len(order) > 1)
		switch {
		case errors.Is(err, errOver):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case w.through:
			blocked = 0
			if len(order) > 1 {
				w.c.works.Store(int32(at))
			}
		case len(order) > 1 && obstructed(err):
			at = (at + 1) % len(order)
			if blocked++; blocked < len(order) {
				continue
			}
			blocked = 0
		}
		if err := w.rest(ctx, err); err != nil {
			return err
		}
	}
}

// rest waits before the next connection, or returns why there is none.
func (w *watch) rest(ctx context.Context, err error) error {
	var wait time.Duration
	switch {
	case errors.Is(err, errReconnect):
		wait = w.patience.excused(w.retry)
	case !passing(err):
		return err
	default:
		var lost error
		if wait, lost = w.patience.next(err, askedWait(err)); lost != nil {
			return lost
		}
	}
	w.notify(Notice{State: Lost, Err: err, Wait: wait})
	return pause(ctx, wait)
}

// obstructed reports whether a connection that brought nothing may have failed
// for its transport's sake: another transport is worth a try.
func obstructed(err error) bool {
	var p *Problem
	if !errors.As(err, &p) || p.Code == "" {
		return true
	}
	switch p.Code {
	case "upgrade_required", "not_acceptable", "method_not_allowed":
		return true
	}
	return false
}

func (w *watch) notify(n Notice) {
	if w.o.Notify != nil {
		n.Transport = w.transport
		w.o.Notify(n)
	}
}

// heard notes a sign that the connection works.
func (w *watch) heard() {
	w.patience.success()
	if !w.through {
		w.through = true
		if w.first != nil {
			w.first.Stop()
		}
		w.notify(Notice{State: Connected})
	}
}

// frame takes a control frame or an event. A non-nil error ends the connection.
func (w *watch) frame(name string, data []byte) error {
	w.heard()
	switch name {
	case "", "job.event":
		return w.event(data)
	case "subscribed", "live":
		var f struct{ Cursor string }
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("read frame %s: %w", name, err)
		}
		w.cursor = f.Cursor
		if name == "live" {
			w.notify(Notice{State: Live})
		}
	case "reset":
		var r Reset
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("read frame reset: %w", err)
		}
		return w.reset(r)
	case "reconnect":
		var f struct{ RetryMs int64 }
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("read frame reconnect: %w", err)
		}
		w.retry = min(max(time.Duration(f.RetryMs)*time.Millisecond, 0), maxAskedWait)
		return errReconnect
	case "end":
		if w.job != "" {
			return errOver
		}
	case "problem", "error":
		p := &Problem{}
		if err := json.Unmarshal(data, p); err != nil {
			return fmt.Errorf("read frame %s: %w", name, err)
		}
		return p
	}
	return nil // connected, ping, and what a later server may say
}

// event gives out an event, whose text becomes the event's own.
func (w *watch) event(text []byte) error {
	e, err := parseEvent(text)
	if err != nil {
		return err
	}
	w.cursor = e.ID
	if !w.yield(e, nil) || (w.job != "" && e.Type.Terminal()) {
		return errOver
	}
	return nil
}

// reset gives out what stands in the place of events that are not there.
func (w *watch) reset(r Reset) error {
	w.cursor = r.Cursor
	if !w.yield(resetEvent(w.job, r), nil) {
		return errOver
	}
	return nil
}
