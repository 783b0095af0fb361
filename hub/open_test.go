package hub

import "testing"

// TestFewEvents: a short history comes with the room, and is not read once more.
func TestFewEvents(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", Other)
	m.commit("b", Other)
	m.commit("a", Other)
	m.fail = true // no Page
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{})
	join(t, r, "b", Start{})
	h.Publish([]*Event{m.commit("b", Terminal)})
	items, _ := r.sub.Next(nil, 100, 1<<20)
	equal(t, items[:4], "started:a@e-0", "e-1", "e-3", "live:a@e-3")

	late := newReader(h)
	defer late.sub.Close()
	join(t, late, "b", Start{Cursor: &Cursor{Seq: 2, Text: id(2)}})
	items, _ = late.sub.Next(nil, 100, 1<<20)
	equal(t, items, "started:b@e-2", "e-4", "live:b@e-4", "end:b@e-4")

	h, _ = open(t, bounds{}) // whose tail is empty
	h.history = m
	end := newReader(h)
	defer end.sub.Close()
	join(t, end, "b", Start{From: FromNowOrEnd})
	items, _ = end.sub.Next(nil, 100, 1<<20)
	equal(t, items, "started:b@", "e-4", "live:b@e-4", "end:b@e-4")
}

// TestFewEventsInTheTail: what came with the room is not kept when the tail has it too.
func TestFewEventsInTheTail(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", Other)
	first := newReader(h)
	defer first.sub.Close()
	join(t, first, "a", Start{From: FromNow}) // so the tail has what follows
	h.Publish([]*Event{m.commit("a", Other), m.commit("a", Other)})
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{Cursor: &Cursor{Seq: 1, Text: id(1)}})
	equal(t, r.pull(100, 1<<20), "started:a@e-1", "e-2", "e-3", "live:a@e-3")
	if r.sub.landed != nil {
		t.Errorf("%d events are kept", len(r.sub.landed.page.Events))
	}
}
