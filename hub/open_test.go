package hub

import (
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

// TestFewEvents: a short history comes with the room, and is not read once more.
func TestFewEvents(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", eventlog.TypeLog)
	m.commit("b", eventlog.TypeLog)
	m.commit("a", eventlog.TypeLog)
	m.fail = true // no Page
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{})
	join(t, r, "b", Start{})
	h.Publish([]eventlog.Event{m.commit("b", eventlog.TypeCompleted)})
	items, _ := r.sub.Next(nil, 100, 1<<20)
	equal(t, items[:4], "started:a@e-0", "e-1", "e-3", "live:a@e-3")

	late := newReader(h)
	defer late.sub.Close()
	join(t, late, "b", Start{Cursor: &eventlog.Cursor{Epoch: "e", Seq: 2}})
	items, _ = late.sub.Next(nil, 100, 1<<20)
	equal(t, items, "started:b@e-2", "e-4", "live:b@e-4", "end:b@e-4")

	h, _ = open(t, bounds{}) // whose tail is empty
	h.log = m
	end := newReader(h)
	defer end.sub.Close()
	join(t, end, "b", Start{From: FromNowOrEnd})
	items, _ = end.sub.Next(nil, 100, 1<<20)
	equal(t, items, "started:b@", "e-4", "live:b@e-4", "end:b@e-4")
}

// TestTail: a room that starts before its newest events begins there, whatever it has before;
// a cursor goes first.
func TestTail(t *testing.T) {
	h, m := open(t, bounds{})
	for range 3 {
		m.commit("a", eventlog.TypeLog)
		m.commit("b", eventlog.TypeLog)
	}
	for n, want := range map[int][]string{
		1: {"started:a@e-4", "e-5", "live:a@e-6"}, 2: {"started:a@e-2", "e-3", "e-5", "live:a@e-6"}, 9: {"started:a@e-0", "e-1", "e-3", "e-5", "live:a@e-6"},
	} {
		r := newReader(h)
		join(t, r, "a", Start{Tail: n})
		equal(t, r.pull(100, 1<<20), want...)
		r.sub.Close()
	}
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{Tail: 1, Cursor: &eventlog.Cursor{Epoch: "e", Seq: 2}})
	equal(t, r.pull(100, 1<<20), "started:a@e-2", "e-3", "e-5", "live:a@e-6")
}

// TestFewEventsInTheTail: what came with the room is not kept when the tail has it too.
func TestFewEventsInTheTail(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", eventlog.TypeLog)
	first := newReader(h)
	defer first.sub.Close()
	join(t, first, "a", Start{From: FromNow}) // so the tail has what follows
	h.Publish([]eventlog.Event{m.commit("a", eventlog.TypeLog), m.commit("a", eventlog.TypeLog)})
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{Cursor: &eventlog.Cursor{Epoch: "e", Seq: 1}})
	equal(t, r.pull(100, 1<<20), "started:a@e-1", "e-2", "e-3", "live:a@e-3")
	if r.sub.fetched != nil {
		t.Errorf("%d events are kept", len(r.sub.fetched.page.Events))
	}
}
