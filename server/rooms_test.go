package server_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestRoomsOfOneConnection lets chance decide which rooms a WebSocket connection
// joins from where, leaves and joins again, what is written meanwhile, and when
// the connection is cut and opened again. What each room got between the cursor
// it started from and the one it was left with is exactly what was committed
// there, in order, each event once however many rooms match it.
func TestRoomsOfOneConnection(t *testing.T) {
	server := servertest.Start(t, transporttest.Options{})
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		g := newGuest(t, rt, server, fmt.Sprintf("guest-%d", checks))
		defer g.leave()
		for range rapid.IntRange(10, 40).Draw(rt, "steps") {
			g.step(rt)
		}
		g.finish(rt)
	})
}

// guest is a client with one WebSocket connection at a time.
type guest struct {
	t      *testing.T
	caller transporttest.Caller
	log    *transporttest.Log
	works  []*transporttest.Work // running
	ended  []string              // jobs that have ended
	places map[string]string     // by room: where it was left
	model  *websocketModel

	busy sync.WaitGroup // writers
	mu   sync.Mutex     // guards err
	err  error          // of a writer
}

func newGuest(t *testing.T, rt *rapid.T, server transporttest.Server, client string) *guest {
	_, secret := server.Key(client, auth.KeyOptions{})
	g := &guest{
		t: t, log: transporttest.NewLog(server, client), places: make(map[string]string),
		caller: transporttest.Caller{Dial: server.Dial, Secret: secret},
	}
	for range 3 {
		g.works = append(g.works, g.log.Begin(rt))
	}
	g.connect(rt)
	return g
}

func (g *guest) leave() {
	g.model.close()
	g.busy.Wait()
}

func (g *guest) connect(rt *rapid.T) {
	socket, err := transporttest.DialSocket(g.t.Context(), g.caller)
	if err != nil {
		rt.Fatalf("connect: %v", err)
	}
	g.model = newWebsocketModel(socket)
}

// step does one thing that chance picks.
func (g *guest) step(rt *rapid.T) {
	switch rapid.SampledFrom([]string{
		"join", "join", "join", "again", "leave", "leave", "write", "write", "write", "end", "answers", "everything", "cut",
	}).Draw(rt, "step") {
	case "join":
		g.join(rt, rapid.SampledFrom(g.rooms()).Draw(rt, "room"))
	case "again":
		g.again(rt)
	case "leave":
		g.part(rt)
	case "write":
		g.write(rt)
	case "end":
		g.end(rt)
	case "answers":
		g.model.until(g.t, rt, "every message is answered", g.model.answered)
	case "everything":
		g.everything(rt)
	case "cut":
		g.cut(rt)
		g.connect(rt)
	}
}

// rooms are those that can be joined; the client's has no name.
func (g *guest) rooms() []string {
	all := []string{""}
	for _, w := range g.works {
		all = append(all, w.Job)
	}
	return append(all, g.ended...)
}

// join subscribes to a room that is not joined, from a place that chance picks.
func (g *guest) join(rt *rapid.T, room string) {
	if g.model.knows(room) {
		return
	}
	a := ask{join: true}
	switch rapid.SampledFrom([]string{"place", "place", "any", "default", "start", "now"}).Draw(rt, "from") {
	case "place":
		a.cursor = g.places[room]
	case "any":
		a.cursor = rapid.SampledFrom(g.log.Entries("")).Draw(rt, "cursor").ID
	case "start":
		a.from = "start"
	case "now":
		a.from = "now"
	}
	g.say(rt, room, a)
}

// say says it, and notes where the room may start if no cursor is given.
func (g *guest) say(rt *rapid.T, room string, a ask) {
	if a.from == "start" || a.from == "" && room != "" {
		a.high = seqOf(g.log.Entries(room)[0].ID) - 1
	} else {
		a.low, a.high = seqOf(g.log.Head()), math.MaxUint64
	}
	if err := g.model.say(room, a); err != nil {
		rt.Fatalf("say: %v", err)
	}
}

// again subscribes to a room that is joined already. If its job ends before the
// message arrives, that joins it anew.
func (g *guest) again(rt *rapid.T) {
	if live := g.model.live(); len(live) > 0 {
		g.say(rt, rapid.SampledFrom(live).Draw(rt, "room"), ask{join: true, again: true})
	}
}

// part leaves a room, also one whose history is still being read.
func (g *guest) part(rt *rapid.T) {
	if joined := g.model.joined(); len(joined) > 0 {
		g.say(rt, rapid.SampledFrom(joined).Draw(rt, "room"), ask{})
	}
}

// write writes while the next steps are taken.
func (g *guest) write(rt *rapid.T) {
	work := rapid.SampledFrom(g.works).Draw(rt, "job")
	n, batch := rapid.IntRange(1, 30).Draw(rt, "events"), rapid.IntRange(1, 10).Draw(rt, "batch")
	g.busy.Go(func() {
		for ; n > 0; n -= batch {
			if err := work.TryEmit(rt, min(n, batch)); err != nil {
				g.mu.Lock()
				g.err = err
				g.mu.Unlock()
				return
			}
		}
	})
}

// written waits for the writers, so that the log holds all that may have come.
func (g *guest) written(rt *rapid.T) {
	g.busy.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		rt.Fatalf("write: %v", g.err)
	}
}

// end ends a job and begins another one.
func (g *guest) end(rt *rapid.T) {
	g.written(rt)
	work := g.works[0]
	work.Finish(rt)
	g.ended = append(g.ended, work.Job)
	g.works = append(g.works[1:], g.log.Begin(rt))
}

// everything waits until all that was written has come.
func (g *guest) everything(rt *rapid.T) {
	g.written(rt)
	last := make(map[string]string)
	for _, room := range g.rooms() {
		entries := g.log.Entries(room)
		last[room] = entries[len(entries)-1].ID
	}
	g.model.until(g.t, rt, "all that was written has come", func() bool { return g.model.answered() && g.model.reached(last) })
	g.check(rt)
}

// cut ends the connection without a word and checks what it brought.
func (g *guest) cut(rt *rapid.T) {
	g.model.close()
	g.written(rt)
	g.check(rt)
}

// check compares the stretches that are over with what was committed.
func (g *guest) check(rt *rapid.T) {
	over, fault := g.model.over()
	if fault != "" {
		rt.Fatalf("%s\n%s", fault, g.model.story())
	}
	for _, s := range over {
		want := g.log.After(rt, s.room, s.start)
		n := slices.IndexFunc(want, func(e transporttest.Entry) bool { return seqOf(e.ID) > seqOf(s.place) })
		if n >= 0 {
			want = want[:n]
		}
		if len(want) != len(s.got) {
			rt.Errorf("room %q from %s to %s: %d events came of %d\n%s", s.room, s.start, s.place, len(s.got), len(want), g.model.story())
		}
		transporttest.Same(rt, s.got, want)
		g.places[s.room] = s.place
	}
}

// finish comes back to every room where it was left, and gets everything.
func (g *guest) finish(rt *rapid.T) {
	g.cut(rt)
	g.connect(rt)
	for _, room := range g.rooms() {
		g.say(rt, room, ask{join: true, cursor: g.places[room]})
	}
	g.everything(rt)
	g.cut(rt)
}

func seqOf(cursor string) uint64 {
	c, _ := eventlog.ParseCursor(cursor) // Same and After judge cursors that are none
	return c.Seq
}
