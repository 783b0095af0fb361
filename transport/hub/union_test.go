package hub

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"
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
			m.commit(j, Other)
		}
		x := &union{rt: rt, h: h, m: m, r: newReader(h), rooms: map[string]*roomModel{}}
		defer x.r.sub.Close()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				x.pending = append(x.pending, m.commit(rapid.SampledFrom(jobs).Draw(rt, "job"), Other))
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
	pending []*Event // committed, not published
	rooms   map[string]*roomModel
	replays []string // joined rooms that are not live, in order
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
	if _, err := x.r.sub.Join(context.Background(), room, Start{Cursor: &Cursor{Seq: after}}); err != nil {
		x.rt.Fatalf("join: %v", err)
	}
	x.rooms[room] = &roomModel{next: after}
	x.replays = append(x.replays, room)
}

func (x *union) leave(room string) {
	if _, ok := x.r.sub.Leave(room); ok != (x.rooms[room] != nil) {
		x.rt.Fatalf("leave %q: %v", room, ok)
	}
	delete(x.rooms, room)
	x.replays = slices.DeleteFunc(x.replays, func(r string) bool { return r == room })
}

func (x *union) pull(limit int) {
	for _, it := range x.r.pull(limit, 1<<20) {
		switch {
		case it.Mark != nil && it.Mark.Kind == Started:
			if len(x.replays) == 0 || it.Mark.Room.Job != x.replays[0] {
				x.rt.Fatalf("mark %v, expected %q to start", show([]Item{it}), x.replays)
			}
		case it.Mark != nil:
			if it.Mark.Kind != Live || len(x.replays) == 0 || it.Mark.Room.Job != x.replays[0] {
				x.rt.Fatalf("mark %v, expected %q live", show([]Item{it}), x.replays)
			}
			x.replays = x.replays[1:]
		case len(x.replays) > 0: // the connection stands still: this is the first join's history
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
		if (name == "" || name == e.Job) && e.Seq > r.next {
			x.advance(name, e)
			useful = true
		}
	}
	if !useful {
		x.rt.Fatalf("%s came to nobody", e.ID)
	}
}

// advance gives e to a room, which must lack nothing before it.
func (x *union) advance(name string, e *Event) {
	r := x.rooms[name]
	if e.Seq <= r.next || name != "" && e.Job != name {
		x.rt.Fatalf("room %q at e-%d got %s of %q", name, r.next, e.ID, e.Job)
	}
	for _, missed := range x.m.events[r.next : e.Seq-1] {
		if name == "" || missed.Job == name {
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
			if name == "" || e.Job == name {
				x.rt.Fatalf("room %q lacks %s", name, e.ID)
			}
		}
	}
}
