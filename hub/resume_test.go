package hub

import (
	"context"
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

// What happened while nobody was connected comes by itself, though nothing more
// is ever published: the tail is new then and holds none of it.
func TestResumeInSilence(t *testing.T) {
	never := func(error) bool { return false }
	for _, c := range []struct {
		name string
		job  string
		want []string
	}{
		{"client", "", []string{"e-3", "e-4"}},
		{"job", "a", []string{"e-4", "end:a@e-4"}},
		{"quiet job", "b", []string{"e-3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, m := open(t, bounds{})
			m.commit("a", eventlog.TypeLog)
			m.commit("b", eventlog.TypeLog)
			m.commit("b", eventlog.TypeLog)
			m.commit("a", eventlog.TypeCompleted)
			r := newReader(h)
			defer r.sub.Close()
			at := eventlog.Cursor{Epoch: "e", Seq: 2}
			room := Resumed{Job: c.job, N: 1, Start: eventlog.Cursor{Epoch: "e"}, Done: 2, DoneID: id(2), Begun: true, Live: true}
			if _, err := r.sub.Resume(context.Background(), at, []Resumed{room}, never); err != nil {
				t.Fatal(err)
			}
			equal(t, r.pull(100, 1<<20), c.want...)
			h.Publish([]eventlog.Event{m.commit("b", eventlog.TypeLog)})
			if c.job != "a" {
				equal(t, r.pull(100, 1<<20), "e-5")
			}
		})
	}
}
