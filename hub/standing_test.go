package hub

import (
	"slices"
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

// TestStanding counts what a reader has yet to get, as it takes it in pieces.
func TestStanding(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 8, tailBytes: 1 << 20, pageEvents: 1000, pageBytes: 1 << 20})
	for _, job := range []string{"a", "b"} {
		m.commit(job, eventlog.TypeCreated)
	}
	r := newReader(h)
	defer r.sub.Close()
	check := func(what string, lag uint64, position string, rooms ...string) {
		t.Helper()
		got := r.sub.Standing()
		if got.Lag != lag || got.Position != position || got.Rooms != len(rooms) || !slices.Equal(got.First, rooms) {
			t.Errorf("%s: %+v, want lag %d at %q in %q", what, got, lag, position, rooms)
		}
	}
	publish := func(jobs ...string) {
		for _, job := range jobs {
			if wake := h.Append([]eventlog.Event{m.commit(job, eventlog.TypeLog)}); wake != nil {
				wake()
			}
		}
	}
	join := func(job string) {
		t.Helper()
		if _, err := r.sub.Join(t.Context(), job, Start{From: FromNow}); err != nil {
			t.Fatal(err)
		}
	}
	check("without a room", 0, "")
	join("a")
	r.until(t, func(it Item) bool { return it.Mark != nil && it.Mark.Kind == Live })
	check("live", 0, id(2), "a")
	publish("b", "b", "a", "b", "a")
	check("of five events two are its own", 2, id(2), "a")
	r.sub.Next(nil, 1, 1<<20)
	check("one is taken", 1, id(5), "a")
	r.pull(100, 1<<20)
	check("all are taken", 0, id(7), "a")
	join("")
	r.until(t, func(it Item) bool { return it.Mark != nil && it.Mark.Kind == Live })
	publish("a", "b", "a")
	check("those of two rooms count once", 3, id(7), "a", "")
	publish("a", "b", "a", "b", "a", "b", "a", "b")
	check("the tail has lost some", 11, id(7), "a", "")
	r.pull(100, 1<<20)
	check("all are taken again", 0, id(18), "a", "")
}

// TestStandingOfReplay counts history that is yet to be read.
func TestStandingOfReplay(t *testing.T) {
	h, m := open(t, bounds{})
	for range 40 {
		m.commit("a", eventlog.TypeLog)
	}
	r := newReader(h)
	defer r.sub.Close()
	if _, err := r.sub.Join(t.Context(), "a", Start{From: FromStart}); err != nil {
		t.Fatal(err)
	}
	if at := r.sub.Standing(); at.Lag != 40 || at.Position != id(0) {
		t.Errorf("before: %+v", at)
	}
	for taken := 0; taken < 10; {
		items, more := r.sub.Next(nil, 10-taken, 1<<20)
		for _, it := range items {
			if it.Event != nil {
				taken++
			}
		}
		if !more && r.sub.Reading() {
			<-r.woken
		}
	}
	if at := r.sub.Standing(); at.Lag != 30 || at.Position != id(10) {
		t.Errorf("after ten: %+v", at)
	}
}
