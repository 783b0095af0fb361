package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// node is an event and the one before it. What a log lost is still found from here.
type node struct {
	eventlog.Event
	prev *node
}

// world is a log, its publishers, its hub, and the readers.
type world struct {
	hub    *Hub
	bounds bounds
	faults bool

	mu     sync.Mutex // guards everything below
	rng    *rand.Rand
	err    error
	chain  []*node // the log now
	nodes  map[string]*node
	epoch  string
	epochs int
	losses int       // how often the log lost commits
	queues [][]*node // by publisher: committed, and not published
	calm   bool      // the store is quick and well
	reads  int       // of the store
}

// worldSteps are what may happen, as often as it stands here.
var worldSteps = []string{
	"commit", "commit", "commit", "commit", "publish", "publish", "publish", "publish again", "publish late", "drop", "advance", "advance late",
	"poll", "epoch", "lose", "rejoin", "wait", "wait", "wait long",
}

func (x *world) run(steps []string) {
	x.newEpoch()
	for _, job := range []string{"a", "b", "a"} {
		x.commit(job)
	}
	x.queues[0] = nil // published before anybody watched
	x.hub = New(x)
	x.hub.bounds = x.bounds
	defer x.hub.Close()
	stop := make(chan struct{})
	var reading sync.WaitGroup
	var watchers []*watcher
	for _, rooms := range [][]string{{""}, {"a"}, {"b", ""}, {"a", "b"}, {"", "a", "b"}} {
		w := &watcher{x: x, rejoin: make(chan struct{}, 1), rooms: rooms}
		watchers = append(watchers, w)
		reading.Go(func() { w.read(stop) })
	}
	for _, step := range steps {
		x.step(step, watchers)
	}
	x.mu.Lock()
	x.calm, x.faults = true, false
	x.mu.Unlock()
	for range 3 { // a lost wake-up costs a second; a reader that met a fault comes back
		x.step("poll", watchers)
		x.hub.Recheck("acme")
		time.Sleep(time.Second)
	}
	synctest.Wait()
	for _, w := range watchers {
		w.complete()
	}
	close(stop)
	reading.Wait()
	x.hub.mu.Lock()
	defer x.hub.mu.Unlock()
	if len(x.hub.tails) > 0 {
		x.fail("%d tails are left", len(x.hub.tails))
	}
}

func (x *world) step(step string, watchers []*watcher) {
	x.mu.Lock()
	p := x.rng.IntN(len(x.queues))
	switch step {
	case "commit":
		for range 1 + x.rng.IntN(4) {
			x.commit([]string{"a", "b"}[x.rng.IntN(2)])
		}
	case "publish", "drop":
		n := x.rng.IntN(len(x.queues[p]) + 1)
		events := x.queues[p][:n]
		x.queues[p] = x.queues[p][n:]
		if step == "publish" {
			x.publish(events)
		}
	case "publish again":
		n := x.rng.IntN(len(x.chain))
		x.publish(x.chain[n:min(n+3, len(x.chain))])
	case "publish late": // also what the log has lost since
		for _, id := range slices.Sorted(mapKeys(x.nodes)) {
			if x.rng.IntN(len(x.nodes)) == 0 {
				x.publish([]*node{x.nodes[id]})
			}
		}
	case "advance":
		x.advance(x.chain[len(x.chain)-1])
	case "advance late":
		x.advance(x.chain[x.rng.IntN(len(x.chain))])
	case "poll":
		var seen uint64
		if t := x.hub.lookup("acme"); t != nil {
			t.mu.Lock()
			seen, _ = t.seen()
			t.mu.Unlock()
		}
		last := x.chain[len(x.chain)-1]
		x.advance(last)
		if last.Seq < seen {
			x.unlocked(func() { x.hub.Recheck("acme") })
		}
	case "epoch":
		x.newEpoch()
	case "lose":
		x.chain = x.chain[:len(x.chain)-x.rng.IntN(min(5, len(x.chain)-2))]
		x.newEpoch()
		x.losses++
	case "rejoin":
		w := watchers[x.rng.IntN(len(watchers))]
		select {
		case w.rejoin <- struct{}{}:
		default:
		}
	}
	x.mu.Unlock()
	switch step {
	case "wait":
		synctest.Wait()
	case "wait long":
		time.Sleep(gapWait + time.Millisecond)
	}
}

func mapKeys(m map[string]*node) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (x *world) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = cmp.Or(x.err, fmt.Errorf(format, args...))
}

func (x *world) unlocked(fn func()) {
	x.mu.Unlock()
	defer x.mu.Lock()
	fn()
}

func (x *world) ids() []string {
	ids := make([]string, len(x.chain))
	for i, n := range x.chain {
		ids[i] = n.ID + n.JobID
	}
	return ids
}

func (x *world) newEpoch() {
	x.epochs++
	x.epoch = fmt.Sprint("e", x.epochs)
}

func (x *world) commit(job string) {
	n := &node{prev: x.last()}
	n.Event = eventlog.Event{Client: "acme", JobID: job, Seq: uint64(len(x.chain) + 1), Type: eventlog.TypeLog}
	n.ID = eventlog.Cursor{Epoch: x.epoch, Seq: n.Seq}.String()
	n.JSON = []byte(n.ID)
	x.chain = append(x.chain[:len(x.chain):len(x.chain)], n)
	x.nodes[n.ID] = n
	p := x.rng.IntN(len(x.queues))
	x.queues[p] = append(x.queues[p], n)
}

func (x *world) last() *node {
	if len(x.chain) == 0 {
		return nil
	}
	return x.chain[len(x.chain)-1]
}

func (x *world) publish(nodes []*node) {
	var events []eventlog.Event
	for _, n := range nodes {
		events = append(events, n.Event)
	}
	x.unlocked(func() { x.hub.Publish(events) })
}

func (x *world) advance(n *node) {
	at, _ := eventlog.ParseCursor(n.ID)
	x.unlocked(func() { x.hub.Advance("acme", at.Epoch, at.Seq) })
}

// slow takes time, before and after what the store does.
func (x *world) slow(read func() error) error {
	x.mu.Lock()
	before, after := time.Duration(x.rng.IntN(20))*time.Millisecond, time.Duration(x.rng.IntN(20))*time.Millisecond
	if x.calm || x.rng.IntN(3) > 0 {
		before, after = 0, 0
	}
	x.reads++
	broken := x.faults && x.rng.IntN(20) == 0
	x.mu.Unlock()
	time.Sleep(before)
	if broken {
		return errors.New("disk")
	}
	x.mu.Lock()
	err := read()
	x.mu.Unlock()
	time.Sleep(after)
	return err
}

// Open implements eventlog.Reader.
func (x *world) Open(_ context.Context, r eventlog.Room, at *eventlog.Cursor) (o eventlog.Opened, err error) {
	err = x.slow(func() error {
		if r.Job != "" && !slices.ContainsFunc(x.chain, func(n *node) bool { return n.JobID == r.Job }) {
			return errUnknown
		}
		last := x.last()
		o.Head, o.HeadID, o.OldestID = last.Seq, last.ID, eventlog.Cursor{}.String()
		if first := slices.IndexFunc(x.chain, func(n *node) bool { return n.JobID == r.Job }); first > 0 {
			o.Oldest, o.OldestID = x.chain[first-1].Seq, x.chain[first-1].ID
		}
		after := o.Oldest
		if at != nil {
			if o.Reason = x.judge(*at); o.Reason == eventlog.Valid {
				after = at.Seq
			}
		}
		if p := x.page(r, after, fewEvents); r.Job != "" && at != nil && !p.More {
			o.Events, o.Whole = p.Events, true
		}
		return nil
	})
	return o, err
}

// Tail implements eventlog.Reader. No reader of a world starts so.
func (x *world) Tail(context.Context, eventlog.Room, int) (eventlog.Cursor, error) {
	return eventlog.Cursor{}, errUnknown
}

func (x *world) judge(at eventlog.Cursor) eventlog.Reason {
	last, _ := eventlog.ParseCursor(x.last().ID)
	switch {
	case at == eventlog.Cursor{}, x.contains(x.nodes[at.String()]):
		return eventlog.Valid
	case at.Epoch == last.Epoch && at.Seq > last.Seq:
		return eventlog.ReasonFuture
	}
	return eventlog.ReasonEpoch
}

// contains reports whether n, nil being the beginning, is a place in the log.
func (x *world) contains(n *node) bool {
	return n == nil || n.Seq <= uint64(len(x.chain)) && x.chain[n.Seq-1] == n
}

// Page implements eventlog.Reader.
func (x *world) Page(_ context.Context, r eventlog.Room, after uint64, maxEvents, _ int) (p eventlog.Page, err error) {
	err = x.slow(func() error {
		p = x.page(r, after, maxEvents)
		return nil
	})
	return p, err
}

func (x *world) page(r eventlog.Room, after uint64, maxEvents int) (p eventlog.Page) {
	if r.Job != "" && !slices.ContainsFunc(x.chain, func(n *node) bool { return n.JobID == r.Job }) {
		return eventlog.Page{Gone: true}
	}
	p.HeadID = x.last().ID
	for _, n := range x.chain[min(after, uint64(len(x.chain))):] {
		if r.Job != "" && n.JobID != r.Job {
			continue
		}
		if len(p.Events) == maxEvents {
			p.More = true
			break
		}
		p.Events = append(p.Events, n.Event)
	}
	return p
}
