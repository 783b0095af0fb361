package hub

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/eventlog"
)

// TestUnion checks, under random commits, publishes, joins, leaves and batch
// sizes, that each room of a connection gets what lies after its start, and
// that the connection as a whole never goes back.
func TestUnion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &memory{gone: map[string]bool{}}
		h := New(m)
		h.bounds = bounds{
			tailEvents: rapid.IntRange(1, 12).Draw(rt, "tail"), tailBytes: 1 << 20,
			pageEvents: rapid.IntRange(1, 5).Draw(rt, "page"), pageBytes: 1 << 20,
		}
		defer h.Close()
		jobs := []string{"a", "b", "c"}
		for _, j := range jobs {
			m.commit(j, eventlog.TypeLog)
		}
		x := &union{rt: rt, h: h, m: m, r: newReader(h), rooms: map[string]*roomModel{}}
		defer x.r.sub.Close()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				x.pending = append(x.pending, m.commit(rapid.SampledFrom(jobs).Draw(rt, "job"), eventlog.TypeLog))
			},
			"publish": func(rt *rapid.T) { x.publish(rapid.IntRange(1, 5).Draw(rt, "n")) },
			"join": func(rt *rapid.T) {
				x.join(rapid.SampledFrom(append([]string{""}, jobs...)).Draw(rt, "room"), rapid.Uint64Range(0, m.head()).Draw(rt, "after"))
			},
			"leave": func(rt *rapid.T) { x.leave(rapid.SampledFrom(append([]string{""}, jobs...)).Draw(rt, "room")) },
			"pull":  func(rt *rapid.T) { x.pull(rapid.IntRange(1, 7).Draw(rt, "max")) },
		})
		x.publish(len(x.pending))
		x.pull(100)
		x.complete()
	})
}

// roomModel is what the test knows of one joined room.
type roomModel struct{ next uint64 } // the room lacks nothing up to here

type union struct {
	rt      *rapid.T
	h       *Hub
	m       *memory
	r       *reader
	pending []eventlog.Event // committed, not published
	rooms   map[string]*roomModel
	replays []string // joined rooms that are not live, in order
	begun   bool     // the first of them has started
	pos     uint64   // the newest live event
}

func (x *union) publish(n int) {
	n = min(n, len(x.pending))
	if n > 0 {
		x.h.Publish(x.pending[:n])
		x.pending = x.pending[n:]
	}
}

func (x *union) join(room string, after uint64) {
	if _, joined := x.rooms[room]; joined {
		return
	}
	if _, err := x.r.sub.Join(context.Background(), room, Start{Cursor: &eventlog.Cursor{Epoch: "e", Seq: after}}); err != nil {
		x.rt.Fatalf("join: %v", err)
	}
	x.rooms[room] = &roomModel{next: after}
	x.replays = append(x.replays, room)
}

func (x *union) leave(room string) {
	cursor, ok := x.r.sub.Leave(room)
	if ok != (x.rooms[room] != nil) {
		x.rt.Fatalf("leave %q: %v", room, ok)
	}
	if ok {
		x.stands(room, cursor)
	}
	delete(x.rooms, room)
	x.begun = x.begun && x.replays[0] != room
	x.replays = slices.DeleteFunc(x.replays, func(r string) bool { return r == room })
}

func (x *union) pull(limit int) {
	for _, it := range x.r.pull(limit, 1<<20) {
		switch {
		case it.Mark != nil && it.Mark.Kind == Started:
			if len(x.replays) == 0 || it.Mark.Room.Job != x.replays[0] {
				x.rt.Fatalf("mark %v, expected %q to start", show([]Item{it}), x.replays)
			}
			x.begun = true
		case it.Mark != nil:
			if it.Mark.Kind != Live || len(x.replays) == 0 || it.Mark.Room.Job != x.replays[0] {
				x.rt.Fatalf("mark %v, expected %q live", show([]Item{it}), x.replays)
			}
			for name := range x.rooms { // it is the place of all rooms that are live
				if !slices.Contains(x.replays[1:], name) {
					x.stands(name, it.Mark.Cursor)
				}
			}
			x.replays, x.begun = x.replays[1:], false
		case x.begun: // the connection stands still: this is the first join's history
			x.advance(x.replays[0], it.Event)
		default:
			x.live(it.Event)
		}
	}
}

func (x *union) live(e *Event) {
	if e.Seq <= x.pos {
		x.rt.Fatalf("%s after e-%d", e.ID, x.pos)
	}
	x.pos = e.Seq
	useful := false
	for name, r := range x.rooms {
		if (name == "" || name == e.JobID) && e.Seq > r.next && !slices.Contains(x.replays, name) {
			x.advance(name, e)
			useful = true
		}
	}
	if !useful {
		x.rt.Fatalf("%s came to nobody", e.ID)
	}
}

// stands checks that cursor is a place to come back to for a room: not before
// what it got, nor past what it has yet to get.
func (x *union) stands(room, cursor string) {
	var seq uint64
	if _, err := fmt.Sscanf(cursor, "e-%d", &seq); err != nil {
		x.rt.Fatalf("cursor %q of room %q: %v", cursor, room, err)
	}
	r := x.rooms[room]
	if seq < r.next {
		x.rt.Fatalf("room %q is at e-%d, and would come back with %s", room, r.next, cursor)
	}
	for _, e := range x.m.events[r.next:seq] {
		if room == "" || e.JobID == room {
			x.rt.Fatalf("room %q would come back with %s and never got %s", room, cursor, e.ID)
		}
	}
}

// advance gives e to a room, which must lack nothing before it.
func (x *union) advance(name string, e *Event) {
	r := x.rooms[name]
	if e.Seq <= r.next || name != "" && e.JobID != name {
		x.rt.Fatalf("room %q at e-%d got %s of %q", name, r.next, e.ID, e.JobID)
	}
	for _, missed := range x.m.events[r.next : e.Seq-1] {
		if name == "" || missed.JobID == name {
			x.rt.Fatalf("room %q got %s and never %s", name, e.ID, missed.ID)
		}
	}
	r.next = e.Seq
}

// complete checks that no room lacks anything.
func (x *union) complete() {
	if len(x.replays) > 0 {
		x.rt.Fatalf("%q never went live", x.replays)
	}
	for name, r := range x.rooms {
		for _, e := range x.m.events[r.next:] {
			if name == "" || e.JobID == name {
				x.rt.Fatalf("room %q lacks %s", name, e.ID)
			}
		}
	}
}

// TestOldPage: what was read of the log for the rooms that were behind is not
// taken for the whole history of a room that is joined later.
func TestOldPage(t *testing.T) {
	m := &memory{gone: map[string]bool{}}
	h := New(m)
	h.bounds = bounds{tailEvents: 1, tailBytes: 1 << 20, pageEvents: 2, pageBytes: 1 << 20}
	defer h.Close()
	for _, job := range []string{"a", "b", "c"} {
		m.commit(job, eventlog.TypeLog)
	}
	r := newReader(h)
	defer r.sub.Close()
	join := func(room string, after uint64) {
		if _, err := r.sub.Join(t.Context(), room, Start{Cursor: &eventlog.Cursor{Epoch: "e", Seq: after}}); err != nil {
			t.Fatal(err)
		}
	}
	join("b", 0)
	first, second := m.commit("b", eventlog.TypeLog), m.commit("a", eventlog.TypeLog)
	h.Publish([]eventlog.Event{first})
	join("c", 0)
	r.pull(1, 1<<20) // one at a time, so that some of the page is left
	h.Publish([]eventlog.Event{second, m.commit("a", eventlog.TypeLog)})
	r.pull(1, 1<<20)
	join("", 4)
	want := []string{"started:@e-4", "e-5", "e-6", "live:@e-6"}
	if got := show(r.pull(1, 1<<20)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
