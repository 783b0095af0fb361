package hub

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// inWorld runs a test in fake time on a log with the events 1 (job a), 2 (b), 3 (a), whose
// store is quick and well.
func inWorld(t *testing.T, test func(t *testing.T, x *world)) {
	synctest.Test(t, func(t *testing.T) {
		x := &world{rng: rand.New(rand.NewPCG(1, 1)), nodes: make(map[string]*node), queues: make([][]*node, 1), calm: true}
		x.newEpoch()
		for _, job := range []string{"a", "b", "a"} {
			x.commit(job)
		}
		x.hub = New(x)
		defer x.hub.Close()
		test(t, x)
		synctest.Wait()
	})
}

// commits adds events to the log, and says them only to the test.
func (x *world) commits(jobs ...string) []eventlog.Event {
	x.mu.Lock()
	defer x.mu.Unlock()
	var events []eventlog.Event
	for _, job := range jobs {
		x.commit(job)
		events = append(events, x.last().Event)
	}
	return events
}

// loses takes commits away from the end of the log, which goes on in a new epoch.
func (x *world) loses(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.chain = x.chain[:len(x.chain)-n]
	x.newEpoch()
}

// countReads returns how often the store was read so far.
func (x *world) countReads() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.reads
}

// follow joins a room at its newest event and takes what comes at once.
func follow(t *testing.T, x *world, room string) *reader {
	t.Helper()
	r := newReader(x.hub)
	t.Cleanup(r.sub.Close)
	join(t, r, room, Start{From: FromNow})
	r.pull(100, 1<<20)
	return r
}

// now is what a reader gets without waiting.
func now(r *reader) []Item {
	synctest.Wait()
	return r.pull(100, 1<<20)
}

// TestGapIsFilled: events that come before the ones that precede them are held, and are
// given out in order as soon as another publisher brings those. The store is not read.
func TestGapIsFilled(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		r := follow(t, x, "")
		e := x.commits("a", "b", "a", "b")
		before := x.countReads()
		x.hub.Publish(e[3:])
		x.hub.Publish(e[1:2])
		x.hub.Publish(e[1:2])
		equal(t, now(r))
		time.Sleep(gapWait - 1)
		x.hub.Publish(e[:1])
		equal(t, now(r), "e1-4", "e1-5")
		x.hub.Publish(e[2:3])
		equal(t, now(r), "e1-6", "e1-7")
		x.hub.Publish(e)
		time.Sleep(10 * gapWait)
		equal(t, now(r))
		if n := x.countReads() - before; n > 0 {
			t.Errorf("the store was read %d times", n)
		}
	})
}

// TestGapIsRead: what nobody brings is read after 50 ms, once for all readers.
func TestGapIsRead(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		r, other := follow(t, x, ""), follow(t, x, "a")
		e := x.commits("a", "b", "a")
		before := x.countReads()
		x.hub.Publish(e[2:])
		time.Sleep(gapWait - 1)
		equal(t, now(r))
		time.Sleep(time.Nanosecond)
		equal(t, now(r), "e1-4", "e1-5", "e1-6")
		equal(t, now(other), "e1-4", "e1-6")
		if n := x.countReads() - before; n != 1 {
			t.Errorf("the store was read %d times", n)
		}
	})
}

// TestLargeGap: a gap that is larger than a page is left to the readers, and the hub
// never holds more than a page of what is beyond it.
func TestLargeGap(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		x.hub.bounds = bounds{tailEvents: 100, tailBytes: 1 << 20, pageEvents: 4, pageBytes: 1 << 20}
		r, quiet := follow(t, x, "a"), follow(t, x, "b")
		var jobs, want []string
		for range 20 {
			jobs = append(jobs, "a")
		}
		e := x.commits(jobs...)
		for i := len(e) - 1; i > 0; i-- {
			x.hub.Publish(e[i : i+1])
			want = append([]string{e[i].ID}, want...)
		}
		tail := x.hub.lookup("acme")
		tail.mu.Lock()
		if g := tail.gap; len(g.held) != 4 || g.held[0].Seq != 5 || g.bytes != 4*len(e[0].JSON) {
			t.Errorf("%d events with %d bytes are held", len(g.held), g.bytes)
		}
		tail.mu.Unlock()
		time.Sleep(gapWait)
		equal(t, now(r), append([]string{e[0].ID}, want...)...)
		equal(t, now(quiet))
		x.hub.Publish(x.commits("b"))
		equal(t, now(quiet), "e1-24")
	})
}

// TestHeldBytes: events that are held have a bound in bytes too.
func TestHeldBytes(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		x.hub.bounds = bounds{tailEvents: 100, tailBytes: 1 << 20, pageEvents: 100, pageBytes: 9}
		follow(t, x, "a")
		x.hub.Publish(x.commits("a", "a", "a", "a")[1:]) // 4 bytes each
		tail := x.hub.lookup("acme")
		tail.mu.Lock()
		defer tail.mu.Unlock()
		if g := tail.gap; len(g.held) != 2 || g.bytes != 8 || g.told.Seq != 7 {
			t.Errorf("%d events with %d bytes are held, the log reaches up to %d", len(g.held), g.bytes, g.told.Seq)
		}
	})
}

// TestAdvance: what is only told of is read at once if somebody watches, and not at all
// otherwise. What is known already reads nothing.
func TestAdvance(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		e := x.commits("b")
		x.hub.Advance("acme", "e1", 4)
		if synctest.Wait(); x.countReads() > 0 {
			t.Error("the store was read, though nobody watches")
		}
		r := follow(t, x, "b")
		x.commits("a", "b")
		before := x.countReads()
		x.hub.Advance("acme", "e1", 6)
		x.hub.Advance("acme", "e1", 5)
		equal(t, now(r), "e1-6")
		x.hub.Advance("acme", "e1", 6)
		x.hub.Advance("acme", "e1", 2)
		x.hub.Publish(e)
		equal(t, now(r))
		if n := x.countReads() - before; n != 1 {
			t.Errorf("the store was read %d times", n)
		}
		x.commits("b")
		x.hub.Advance("acme", "e1", 9) // which is not there yet
		equal(t, now(r), "e1-7")
		x.hub.Publish(x.commits("a", "b"))
		equal(t, now(r), "e1-9")
	})
}

// TestHeadInAGap: the newest event that is told of is the head, though it is not here.
func TestHeadInAGap(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		follow(t, x, "a")
		x.hub.Publish(x.commits("a", "b")[1:])
		if head, err := x.hub.Head(t.Context(), "acme"); err != nil || head != "e1-5" {
			t.Errorf("the head is %s, error %v", head, err)
		}
		x.loses(3)
		x.hub.Advance("acme", "e2", 3) // nothing is known of e2 before the store was asked
		if head, err := x.hub.Head(t.Context(), "acme"); err != nil || head != "e1-2" {
			t.Errorf("after a loss the head is %s, error %v", head, err)
		}
	})
}

// TestEpochGoesOn: a log that goes on in another epoch is one log.
func TestEpochGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		r := follow(t, x, "")
		x.loses(0)
		x.hub.Publish(x.commits("a"))
		equal(t, now(r), "e2-4")
		x.loses(0)
		e := x.commits("b", "a")
		x.hub.Publish(e[1:])
		equal(t, now(r), "e3-5", "e3-6")
		x.hub.Publish(e[:1])
		x.hub.Publish(x.commits("a"))
		equal(t, now(r), "e3-7")
	})
}

// TestEpochInsteadOfTheHead: an event that has the next number is not the next one if
// its epoch began before it, in the place of what was given out.
func TestEpochInsteadOfTheHead(t *testing.T) {
	inWorld(t, func(t *testing.T, x *world) {
		r := follow(t, x, "a")
		x.hub.Publish(x.commits("b", "a"))
		equal(t, now(r), "e1-5")
		x.loses(1)
		x.hub.Publish(x.commits("a", "a")[1:])
		equal(t, now(r), "started:a@0-0", "reset:a@0-0", "e1-1", "e1-3", "e2-5", "e2-6", "live:a@e2-6")
	})
}

// TestLostCommits: when commits that were given out are not in the log any more, every
// reader that has them is reset, and the others go on.
func TestLostCommits(t *testing.T) {
	for _, told := range []string{"published", "advanced", "rechecked"} {
		t.Run(told, func(t *testing.T) {
			inWorld(t, func(t *testing.T, x *world) {
				client, job := follow(t, x, ""), follow(t, x, "a")
				x.hub.Publish(x.commits("b", "new", "a"))
				created := follow(t, x, "new")
				behind := newReader(x.hub)
				defer behind.sub.Close()
				join(t, behind, "", Start{Cursor: &eventlog.Cursor{Epoch: "e1", Seq: 2}})
				equal(t, now(client), "e1-4", "e1-5", "e1-6")
				equal(t, now(job), "e1-6")
				x.loses(2)
				head, next, history := "e2-5", "e2-6", []string{"started:@e1-2", "e1-3", "e1-4", "e2-5"}
				switch told {
				case "published":
					x.hub.Publish(x.commits("b"))
				case "advanced":
					x.commits("b")
					x.hub.Advance("acme", "e2", 5)
				case "rechecked":
					x.hub.Recheck("acme")
					head, next, history = "e1-4", "e2-5", history[:3]
				}
				equal(t, now(client), "started:@"+head, "reset:@"+head, "live:@"+head)
				equal(t, now(job), "started:a@0-0", "reset:a@0-0", "e1-1", "e1-3", "live:a@"+head)
				equal(t, now(created), "gone:new@")
				equal(t, now(behind), append(history, "live:@"+head)...)
				x.hub.Publish(x.commits("a"))
				equal(t, now(client), next)
				equal(t, now(job), next)
				equal(t, now(behind), next)
			})
		})
	}
}

// TestPublishersOfOneClient: publishers that bring one client's events at the same time,
// each in order and some of them twice, give every reader all of them in order.
func TestPublishersOfOneClient(t *testing.T) {
	const publishers, events = 4, 2000
	m := &memory{gone: map[string]bool{}}
	h := New(m)
	defer h.Close()
	r := newReader(h)
	defer r.sub.Close()
	join(t, r, "", Start{From: FromStart})
	var committing sync.Mutex
	var running sync.WaitGroup
	left := events
	for p := range publishers {
		running.Go(func() {
			for {
				committing.Lock()
				if left == 0 {
					committing.Unlock()
					return
				}
				left--
				e := m.commit(fmt.Sprint(p), eventlog.TypeLog)
				committing.Unlock()
				h.Publish([]eventlog.Event{e})
				if e.Seq%3 == 0 {
					h.Publish([]eventlog.Event{e})
				}
			}
		})
	}
	seen := uint64(0)
	for _, it := range r.until(t, func(it Item) bool { return it.Event != nil && it.Event.Seq == events }) {
		if it.Event == nil {
			continue
		}
		if seen++; it.Event.Seq != seen {
			t.Fatalf("event %d comes where %d is next", it.Event.Seq, seen)
		}
	}
	running.Wait()
}
