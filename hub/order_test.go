package hub

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/eventlog"
)

// TestOrder lets several publishers bring a log's events shuffled and more than once, or
// not at all, while the log changes its epoch and loses commits, and the store is slow and
// fails. Every reader gets each event of its rooms once and in order, or is reset.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := &world{
			rng:    rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)),
			bounds: bounds{rapid.IntRange(1, 12).Draw(rt, "tail"), 1 << 20, rapid.IntRange(1, 6).Draw(rt, "page"), 1 << 20},
			faults: rapid.Bool().Draw(rt, "faults"),
			nodes:  make(map[string]*node),
			queues: make([][]*node, 3),
		}
		steps := rapid.SliceOfN(rapid.SampledFrom(worldSteps), 20, 150).Draw(rt, "steps")
		synctest.Test(t, func(*testing.T) { x.run(steps) })
		if x.err != nil {
			rt.Fatal(x.err)
		}
	})
}

// watcher reads rooms with one subscription, and comes back with its cursors when it
// is told to and after a fault.
type watcher struct {
	x      *world
	rejoin chan struct{}
	rooms  []string

	states  map[string]*watched // guarded by x.mu; so is the rest
	reading string              // the room whose history is read
	history bool                // one is
	log     []string            // what came
	given   []*node             // events
}

// watched is what a watcher knows of one room.
type watched struct {
	place  *node // up to here it has everything; nil is the beginning
	live   bool
	joined bool // Started came
	resets int  // since it was joined, without the loss of an event that came
	since  int  // index in given: what came after the newest reset
}

func (w *watcher) read(stop chan struct{}) {
	w.states = make(map[string]*watched)
	for _, room := range w.rooms {
		w.states[room] = &watched{}
	}
	for {
		woken := make(chan struct{}, 1)
		sub := w.x.hub.Subscribe("acme", func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
		ok := w.join(sub)
		for ok {
			if ok = w.take(sub); !ok {
				break
			}
			select {
			case <-woken:
			case <-w.rejoin:
				ok = false
			case <-stop:
				sub.Close()
				return
			}
		}
		sub.Close()
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// join joins all rooms where each of them stands.
func (w *watcher) join(sub *Subscription) bool {
	for _, room := range w.rooms {
		w.x.mu.Lock()
		s := w.states[room]
		s.live, s.joined, s.resets = false, false, w.x.losses-1
		w.history = false
		at := eventlog.Cursor{}
		if s.place != nil {
			at, _ = eventlog.ParseCursor(s.place.ID)
		}
		w.x.mu.Unlock()
		if _, err := sub.Join(context.Background(), room, Start{Cursor: &at}); err != nil {
			return false
		}
	}
	return true
}

// take takes what there is. It reports false after a fault.
func (w *watcher) take(sub *Subscription) bool {
	for {
		w.x.mu.Lock()
		limit := 1 + w.x.rng.IntN(5)
		w.x.mu.Unlock()
		items, more := sub.Next(nil, limit, 1<<20)
		w.x.mu.Lock()
		var err error
		for _, it := range items {
			if it.Mark != nil && it.Mark.Kind == Fault {
				w.x.mu.Unlock()
				return false
			}
			w.log = append(w.log, show([]Item{it})...)
			if err == nil {
				err = w.item(it)
			}
		}
		w.x.err = cmp.Or(w.x.err, err)
		w.x.mu.Unlock()
		if !more {
			return true
		}
	}
}

func (w *watcher) item(it Item) error {
	if e := it.Event; e != nil {
		return w.event(e)
	}
	s := w.states[it.Mark.Room.Job]
	to, known := w.x.nodes[it.Mark.Cursor]
	if !known && it.Mark.Cursor != "0-0" {
		return w.errorf("no such cursor")
	}
	switch it.Mark.Kind {
	case Started:
		w.reading, w.history = it.Mark.Room.Job, true
		s.joined, s.live = true, false
		if it.Mark.Joined.Reset == nil {
			return w.move(s, it.Mark.Room.Job, to)
		}
		return nil
	case Reset:
		lost := func(n *node) bool { return !w.x.contains(n) }
		if !slices.ContainsFunc(append(w.given[s.since:], s.place), lost) { // the position of the connection may have been lost
			if s.resets++; s.resets > w.x.losses {
				return w.errorf("a reset, though the log has lost nothing")
			}
		}
		s.place, s.since = to, len(w.given)
		return nil
	case Live:
		w.history, s.live = false, true
		return w.move(s, it.Mark.Room.Job, to)
	}
	return w.errorf("an unexpected mark")
}

func (w *watcher) event(e *Event) error {
	n, useful := w.x.nodes[e.ID], false
	w.given = append(w.given, n)
	for room, s := range w.states {
		mine := s.live && !w.history || w.history && room == w.reading
		if !mine || room != "" && room != e.JobID || s.place != nil && !w.history && s.place.follows(n) {
			continue
		}
		useful = true
		if err := w.move(s, room, n.prev); err != nil {
			return err
		}
		s.place = n
	}
	if !useful {
		return w.errorf("%s came to nobody", e.ID)
	}
	return nil
}

// follows reports whether n comes after other or is it.
func (n *node) follows(other *node) bool {
	for ; n != nil; n = n.prev {
		if n == other {
			return true
		}
	}
	return other == nil
}

// move moves a room on to a place without anything for it in between.
func (w *watcher) move(s *watched, room string, to *node) error {
	for n := to; n != s.place; n = n.prev {
		if n == nil {
			return w.errorf("room %q: from %s there is no way to where it goes on", room, s.place.ID)
		}
		if room == "" || n.JobID == room {
			return w.errorf("room %q: %s is missing before %s", room, n.ID, to.ID)
		}
	}
	s.place = to
	return nil
}

func (w *watcher) errorf(format string, args ...any) error {
	return fmt.Errorf("rooms %q: %s after %v, log %v", w.rooms, fmt.Sprintf(format, args...), w.log, w.x.ids())
}

// complete checks that no room lacks anything that is in the log.
func (w *watcher) complete() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	for room, s := range w.states {
		err := w.move(s, room, w.x.last())
		if !s.live {
			err = w.errorf("room %q: never live", room)
		}
		w.x.err = cmp.Or(w.x.err, err)
	}
}
