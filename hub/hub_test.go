package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/eventlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errUnknown = errors.New("unknown job")

// memory is a committed log in memory: the smallest eventlog.Reader there can be.
type memory struct {
	mu     sync.Mutex // guards everything below
	events []eventlog.Event
	pruned uint64
	gone   map[string]bool
	fail   bool
}

func id(seq uint64) string { return fmt.Sprintf("e-%d", seq) }

func (m *memory) commit(job string, kind eventlog.Type) eventlog.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := uint64(len(m.events) + 1)
	e := eventlog.Event{Client: "acme", JobID: job, Seq: seq, ID: id(seq), Type: kind, JSON: []byte(id(seq))}
	m.events = append(m.events, e)
	return e
}

func (m *memory) head() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.events))
}

func (m *memory) Tail(_ context.Context, r eventlog.Room, n int) (at eventlog.Cursor, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range slices.Backward(m.events) {
		if r.Job == "" || e.JobID == r.Job {
			if n--; n < 0 {
				break
			}
			at = eventlog.Cursor{Epoch: "e", Seq: e.Seq - 1}
		}
	}
	return at, nil
}

func (m *memory) Open(_ context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := eventlog.Opened{Head: uint64(len(m.events)), HeadID: id(uint64(len(m.events))), Oldest: m.pruned, OldestID: id(m.pruned)}
	if r.Job != "" {
		first := slices.IndexFunc(m.events, func(e eventlog.Event) bool { return e.JobID == r.Job })
		if first < 0 || m.gone[r.Job] {
			return eventlog.Opened{}, errUnknown
		}
		o.Oldest, o.OldestID = uint64(first), id(uint64(first))
		for _, e := range m.events {
			if e.JobID == r.Job && e.Type.Terminal() {
				o.End, o.Status = e.Seq, e.Type.Status()
			}
		}
	}
	if at != nil && at.Seq > o.Head {
		o.Reason = "future"
	}
	if at != nil && r.Job == "" && at.Seq < m.pruned {
		o.Reason = "pruned"
	}
	if r.Job != "" && (at != nil || o.End != 0) {
		from := o.Oldest
		if at != nil && o.Reason == eventlog.Valid {
			from = max(from, at.Seq)
		}
		if p := m.page(r, from, fewEvents); !p.More {
			o.Events, o.Whole = p.Events, true
		}
	}
	return o, nil
}

func (m *memory) Page(_ context.Context, r eventlog.Room, after uint64, maxEvents, _ int) (eventlog.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return eventlog.Page{}, errors.New("disk")
	}
	return m.page(r, after, maxEvents), nil
}

func (m *memory) page(r eventlog.Room, after uint64, maxEvents int) eventlog.Page {
	p := eventlog.Page{Pruned: m.pruned, OldestID: id(m.pruned), Gone: m.gone[r.Job], HeadID: id(uint64(len(m.events)))}
	for _, e := range m.events {
		if e.Seq <= after || e.Seq <= m.pruned && r.Job == "" || r.Job != "" && e.JobID != r.Job {
			continue
		}
		if len(p.Events) == maxEvents {
			p.More = true
			break
		}
		p.Events = append(p.Events, e)
	}
	return p
}

// reader drives one subscription the way a transport does.
type reader struct {
	sub   *Subscription
	woken chan struct{}
}

func newReader(h *Hub) *reader {
	r := &reader{woken: make(chan struct{}, 1)}
	r.sub = h.Subscribe("acme", func() {
		select {
		case r.woken <- struct{}{}:
		default:
		}
	})
	return r
}

// pull takes what there is, waiting for history that is being read.
func (r *reader) pull(maxEvents, maxBytes int) []Item {
	var all []Item
	for {
		items, more := r.sub.Next(nil, maxEvents, maxBytes)
		all = append(all, items...)
		if more {
			continue
		}
		if !r.sub.Reading() {
			return all
		}
		<-r.woken
	}
}

// until pulls until the newest item satisfies ok.
func (r *reader) until(t *testing.T, ok func(Item) bool) []Item {
	t.Helper()
	var all []Item
	timeout := time.After(time.Minute)
	for {
		items := r.pull(100, 1<<20)
		all = append(all, items...)
		if len(all) > 0 && ok(all[len(all)-1]) {
			return all
		}
		select {
		case <-r.woken:
		case <-timeout:
			t.Fatalf("nothing more came after %v", show(all))
		}
	}
}

func show(items []Item) []string {
	out := make([]string, len(items))
	for i, it := range items {
		if it.Event != nil {
			out[i] = it.Event.ID
			continue
		}
		name := [...]string{"started", "live", "reset", "end", "gone", "fault"}[it.Mark.Kind]
		out[i] = name + ":" + it.Mark.Room.Job + "@" + it.Mark.Cursor
	}
	return out
}

func equal(t *testing.T, got []Item, want ...string) {
	t.Helper()
	if !slices.Equal(show(got), want) {
		t.Fatalf("got  %v\nwant %v", show(got), want)
	}
}

func open(t *testing.T, small bounds) (*Hub, *memory) {
	m := &memory{gone: map[string]bool{}}
	h := New(m)
	if small != (bounds{}) {
		h.bounds = small
	}
	t.Cleanup(h.Close)
	return h, m
}

func join(t *testing.T, r *reader, job string, st Start) Joined {
	t.Helper()
	j, err := r.sub.Join(context.Background(), job, st)
	if err != nil {
		t.Fatalf("join %q: %v", job, err)
	}
	return j
}

func TestHistoryThenLiveThenEnd(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", eventlog.TypeStarted)
	m.commit("b", eventlog.TypeLog)
	m.commit("a", eventlog.TypeProgress)
	r := newReader(h)
	defer r.sub.Close()
	if j := join(t, r, "a", Start{}); j.Cursor != "e-0" {
		t.Fatalf("starts at %s", j.Cursor)
	}
	equal(t, r.pull(100, 1<<20), "started:a@e-0", "e-1", "e-3", "live:a@e-3")
	h.Publish([]eventlog.Event{m.commit("b", eventlog.TypeLog), m.commit("a", eventlog.TypeCompleted)})
	equal(t, r.until(t, func(it Item) bool { return it.Mark != nil }), "e-5", "end:a@e-5")
	if _, joined := r.sub.Cursor("a"); joined {
		t.Fatal("the room was not left after its end")
	}
}

func TestEndedJobFromItsEnd(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", eventlog.TypeLog)
	m.commit("a", eventlog.TypeCompleted)
	m.commit("b", eventlog.TypeLog)
	r := newReader(h)
	defer r.sub.Close()
	if j := join(t, r, "a", Start{Cursor: &eventlog.Cursor{Epoch: "e", Seq: 2}}); !j.Ended {
		t.Fatal("not said to have ended")
	}
	equal(t, r.pull(100, 1<<20), "started:a@e-2", "live:a@e-3", "end:a@e-3")
}

func TestReset(t *testing.T) {
	h, m := open(t, bounds{})
	for range 4 {
		m.commit("a", eventlog.TypeLog)
	}
	m.pruned = 2
	for _, tc := range []struct {
		job        string
		start      Start
		reason, on string
	}{
		{"", Start{Cursor: &eventlog.Cursor{Seq: 1}}, "pruned", "e-4"},
		{"", Start{Cursor: &eventlog.Cursor{Seq: 9}}, "future", "e-4"},
		{"", Start{Invalid: true}, "invalid", "e-4"},
		{"a", Start{Cursor: &eventlog.Cursor{Seq: 9}}, "future", "e-0"},
	} {
		r := newReader(h)
		j := join(t, r, tc.job, tc.start)
		if j.Reset == nil || string(j.Reset.Reason) != tc.reason || j.Cursor != tc.on || j.Reset.Cursor != tc.on {
			t.Errorf("%q %+v: %+v", tc.job, tc.start, j)
		}
		if got := show(r.pull(1, 1)); got[0] != "started:"+tc.job+"@"+tc.on || got[1] != "reset:"+tc.job+"@"+tc.on {
			t.Errorf("%q %+v: %v", tc.job, tc.start, got)
		}
		r.sub.Close()
	}
}

// A position read from the store can be ahead of what is published: the tail
// must not be believed to hold what lies between.
func TestCommittedButNotPublished(t *testing.T) {
	h, m := open(t, bounds{})
	first := newReader(h)
	defer first.sub.Close()
	join(t, first, "", Start{From: FromNow})
	h.Publish([]eventlog.Event{m.commit("a", eventlog.TypeLog)})
	second := m.commit("a", eventlog.TypeLog) // committed, and published only below
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "", Start{From: FromStart})
	equal(t, r.pull(100, 1<<20), "started:@e-0", "e-1", "e-2", "live:@e-2")
	h.Publish([]eventlog.Event{second})
	h.Publish([]eventlog.Event{m.commit("a", eventlog.TypeLog)})
	equal(t, r.until(t, func(it Item) bool { return it.Event != nil && it.Event.Seq == 3 }), "e-3")
}

func TestQuietRoomStaysInTheTailOfALoudClient(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 8, tailBytes: 1 << 20, pageEvents: 4, pageBytes: 1 << 20})
	m.commit("quiet", eventlog.TypeLog)
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "quiet", Start{})
	r.pull(100, 1<<20)
	for range 100 {
		h.Publish([]eventlog.Event{m.commit("loud", eventlog.TypeLog)})
	}
	m.fail = true // whoever needs the store now gets a fault
	h.Publish([]eventlog.Event{m.commit("quiet", eventlog.TypeLog)})
	equal(t, r.until(t, func(it Item) bool { return true }), "e-102")
}

func TestFallenOffTheTailReadsTheStore(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 8, tailBytes: 1 << 20, pageEvents: 4, pageBytes: 1 << 20})
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "", Start{From: FromNow})
	r.pull(100, 1<<20)
	var want []string
	for range 50 {
		e := m.commit("a", eventlog.TypeLog)
		want = append(want, e.ID)
		h.Publish([]eventlog.Event{e})
	}
	equal(t, r.until(t, func(it Item) bool { return it.Event != nil && it.Event.Seq == 50 }), want...)
}

// fewEvents is how many events of a job's room memory.Open reads.
const fewEvents = 3

func TestFaultAndGone(t *testing.T) {
	h, m := open(t, bounds{})
	for _, job := range []string{"a", "b"} {
		for range fewEvents + 1 {
			m.commit(job, eventlog.TypeLog)
		}
	}
	m.fail = true
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{})
	equal(t, r.pull(100, 1<<20), "started:a@e-0", "fault:a@")
	m.fail = false
	join(t, r, "b", Start{})
	m.gone["b"] = true
	equal(t, r.pull(100, 1<<20), "started:b@e-4", "gone:b@")
}

func TestPrunedWhileReplaying(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 8, tailBytes: 1 << 20, pageEvents: 2, pageBytes: 1 << 20})
	for range 6 {
		m.commit("a", eventlog.TypeLog)
	}
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "", Start{From: FromStart})
	items, _ := r.sub.Next(nil, 2, 1<<20)
	for len(items) < 3 {
		<-r.woken
		items, _ = r.sub.Next(items, 2, 1<<20)
	}
	equal(t, items, "started:@e-0", "e-1", "e-2")
	m.mu.Lock()
	m.pruned = 5
	m.mu.Unlock()
	equal(t, r.pull(100, 1<<20), "reset:@e-6", "live:@e-6")
}

func TestConflate(t *testing.T) {
	ev := func(seq uint64, job string, kind eventlog.Type) Item {
		return Item{Event: &Event{Event: eventlog.Event{Seq: seq, ID: id(seq), JobID: job, Type: kind}}}
	}
	got := Conflate([]Item{
		ev(1, "a", eventlog.TypeProgress), ev(2, "b", eventlog.TypeProgress), ev(3, "a", eventlog.TypeProgress), {Mark: &Mark{Kind: Live}},
		ev(4, "a", eventlog.TypeStarted), ev(5, "a", eventlog.TypeProgress), ev(6, "a", eventlog.TypeLog), ev(7, "b", eventlog.TypeProgress),
	}, nil)
	// The newest progress of a's first attempt stays, because another began.
	equal(t, got, "e-3", "live:@", "e-4", "e-5", "e-6", "e-7")
}

func TestJoinTwiceAndAfterClose(t *testing.T) {
	h, m := open(t, bounds{})
	m.commit("a", eventlog.TypeLog)
	r := newReader(h)
	join(t, r, "a", Start{})
	if _, err := r.sub.Join(context.Background(), "a", Start{}); !errors.Is(err, ErrJoined) {
		t.Errorf("second join: %v", err)
	}
	if _, err := r.sub.Join(context.Background(), "nope", Start{}); !errors.Is(err, errUnknown) {
		t.Errorf("unknown job: %v", err)
	}
	r.sub.Close()
	if _, err := r.sub.Join(context.Background(), "a", Start{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	if len(h.tails) != 0 {
		t.Errorf("%d tails are left", len(h.tails))
	}
}

// One writer commits and publishes while readers join, leave and rejoin with
// their cursor: each reader's list must be the log itself.
func TestSeamUnderAHammeringWriter(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 64, tailBytes: 1 << 20, pageEvents: 16, pageBytes: 1 << 20})
	const total = 5_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range total {
			h.Publish([]eventlog.Event{m.commit([]string{"a", "b"}[i%2], eventlog.TypeLog)})
		}
	})
	for range 8 {
		wg.Go(func() {
			var seen uint64
			for seen < total {
				r := newReader(h)
				if _, err := r.sub.Join(context.Background(), "", Start{Cursor: &eventlog.Cursor{Seq: seen}}); err != nil {
					t.Error(err)
					return
				}
				for range 20 {
					for _, it := range r.pull(50, 1<<20) {
						if it.Event == nil {
							continue
						}
						if it.Event.Seq != seen+1 {
							t.Errorf("%d after %d", it.Event.Seq, seen)
							return
						}
						seen++
					}
				}
				r.sub.Close()
			}
		})
	}
	wg.Wait()
}

// Whoever comes back with Position misses nothing, also in the middle of a
// replay, when the connection itself is further on.
func TestPosition(t *testing.T) {
	h, m := open(t, bounds{})
	for range 4 {
		m.commit("a", eventlog.TypeLog)
	}
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{})
	if got := r.sub.Position(); got != "e-0" {
		t.Errorf("before the replay: %s", got)
	}
	for got := 0; got < 2; {
		items, _ := r.sub.Next(nil, 2, 1<<20)
		for _, it := range items {
			if it.Event != nil {
				got++
			}
		}
		if got < 2 {
			<-r.woken
		}
	}
	if got := r.sub.Position(); got != "e-2" {
		t.Errorf("in the replay: %s", got)
	}
	r.pull(100, 1<<20)
	if got := r.sub.Position(); got != "e-4" {
		t.Errorf("live: %s", got)
	}
}

// A hole in the client's log says nothing of its jobs: of two rooms that lag
// behind it, one is whole and the other is gone, and both are told so.
func TestRoomsBehindAHole(t *testing.T) {
	h, m := open(t, bounds{tailEvents: 4, tailBytes: 1 << 20, pageEvents: 3, pageBytes: 1 << 20})
	m.commit("a", eventlog.TypeLog)
	m.commit("b", eventlog.TypeLog)
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "a", Start{From: FromNow})
	join(t, r, "b", Start{From: FromNow})
	r.pull(100, 1<<20)
	for i := range 20 {
		h.Publish([]eventlog.Event{m.commit([]string{"a", "b"}[i%2], eventlog.TypeLog)})
	}
	m.mu.Lock()
	m.gone["a"], m.pruned = true, 19
	m.mu.Unlock()
	got := r.until(t, func(it Item) bool { return it.Event != nil && it.Event.Seq == 22 })
	equal(t, got, "started:a@e-2", "gone:a@", "started:b@e-2", "e-4", "e-6", "e-8", "e-10", "e-12", "e-14", "e-16", "e-18",
		"live:b@e-19", "e-20", "e-22")
}
