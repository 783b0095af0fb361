package hub

import (
	"context"
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

// TestHead: a client's newest event is known without the store while somebody
// watches, and never an older one is taken for it.
func TestHead(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 1, tailBytes: 5, pageEvents: 10, pageBytes: 100})
	asked := &opens{Reader: m}
	h.log = asked
	check := func(want string, asks int) {
		t.Helper()
		before := asked.n
		id, err := h.Head(context.Background(), "acme")
		if err != nil || id != want || asked.n-before != asks {
			t.Errorf("the head is %s after asking %d times, error %v; want %s, %d", id, asked.n-before, err, want, asks)
		}
	}
	m.commit("a", eventlog.TypeLog)
	check("e-1", 1)
	m.commit("a", eventlog.TypeLog)
	check("e-2", 1) // nobody watches, so it is asked again

	r := newReader(h)
	join(t, r, "a", Start{})
	check("e-2", 0) // as the store told when the room was opened
	h.Publish([]eventlog.Event{m.commit("b", eventlog.TypeLog)})
	check("e-3", 0) // as was published
	late := newReader(h)
	h.Publish([]eventlog.Event{m.commit("b", eventlog.TypeLog)})
	join(t, late, "b", Start{})
	check("e-4", 0)
	e := m.commit("b", eventlog.TypeLog)
	join(t, r, "b", Start{})
	check("e-5", 0)                                                           // the store was ahead of what was published
	h.agrees(h.lookup("acme"), tailMark{generation: r.sub.generation}, id(2)) // another join's answer that comes late
	check("e-5", 0)
	h.Publish([]eventlog.Event{e})
	check("e-5", 0)

	large := m.commit("b", eventlog.TypeLog)
	large.JSON = make([]byte, 10)
	h.Publish([]eventlog.Event{large})
	check("e-6", 0) // though the tail cannot hold it
	join(t, late, "a", Start{})
	check("e-6", 0)

	r.sub.Close()
	late.sub.Close()
	m.commit("a", eventlog.TypeLog)
	check("e-7", 1)
}

// opens counts how often a room is opened.
type opens struct {
	eventlog.Reader
	n int
}

func (o *opens) Open(ctx context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	o.n++
	return o.Reader.Open(ctx, r, at)
}
