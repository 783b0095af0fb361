package transporttest

import (
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
)

// maxDiff keeps a failure of thousands of events readable, in bytes.
const maxDiff = 4000

// Same fails the test unless a reader got exactly want, in order.
func Same(t TB, got []Item, want []Entry) {
	t.Helper()
	read := entriesOf(t, got)
	if slices.Equal(read, want) { // far cheaper than a diff of thousands
		return
	}
	diff := cmp.Diff(want, read)
	if len(diff) > maxDiff {
		diff = diff[:maxDiff] + "…"
	}
	t.Fatalf("what was read differs from what was committed (-committed +read):\n%s", diff)
}

// Resolve checks what was read of a client's whole log from its start: places
// 1, 2, 3, … without a gap, every acknowledged event at its place, and nothing
// else but what the writers were unsure of. Those are settled by it.
func (l *Log) Resolve(t TB, got []Item) {
	t.Helper()
	l.mu.Lock()
	for i, e := range entriesOf(t, got) {
		seq := cursorOf(t, e.ID).Seq
		if seq != uint64(i+1) {
			l.mu.Unlock()
			t.Fatalf("event %d of the log has the number %d", i+1, seq)
		}
		u, open := l.unsure[e.Mark]
		if _, known := l.entries[seq]; !known && open && u.Job == e.Job {
			l.entries[seq] = e
			delete(l.unsure, e.Mark)
		}
	}
	l.mu.Unlock()
	Same(t, got, l.Entries(""))
}

func entriesOf(t TB, items []Item) []Entry {
	t.Helper()
	out := make([]Entry, len(items))
	for i, it := range items {
		e, err := entryOf(it.Event)
		if err != nil {
			t.Fatalf("event %q: %v", it.Event, err)
		}
		if e.ID != it.ID {
			t.Fatalf("the transport calls an event %s that calls itself %s", it.ID, e.ID)
		}
		out[i] = e
	}
	return out
}

func cursorOf(t TB, text string) eventlog.Cursor {
	t.Helper()
	c, ok := eventlog.ParseCursor(text)
	if !ok {
		t.Fatalf("%q is no cursor", text)
	}
	return c
}
