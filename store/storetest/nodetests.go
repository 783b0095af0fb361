package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// RunNodes runs the part of the suite that a store passes if several nodes may serve its
// data at the same time, each by a handle of its own. Whatever one of them has committed,
// the others see at once.
func RunNodes(t *testing.T, newHarness func(t *testing.T) Harness) {
	nodes := func(run func(w, other *world)) func(*world) {
		return func(w *world) { run(w, w.start("n2")) }
	}
	runAll(t, newHarness, []test{
		{"Commands", nodes(testNodes)}, {"Order", nodes(testNodesOrder)}, {"Epoch", nodes(testNodesEpoch)},
		{"Fencing", nodes(testNodesFencing)}, {"ClaimRace", nodes(testNodesClaims)}, {"NextClaimRace", nodes(testNodesNextClaims)}, {"LeasesAreLinear", nodes(testNodesLinear)},
		{"Start", nodes(testNodesStart)}, {"Sweeps", nodes(testNodesSweeps)}, {"Limits", nodes(testNodesLimits)},
		{"TwinsInFlight", nodes(testNodesTwins)}, {"Keys", nodes(testNodesKeys)}, {"SigningSecret", nodes(testNodesSecret)}, {"Sessions", nodes(testNodesSessions)},
	})
}

// wantTogether checks that a client's log is gapless, and that what the nodes were told
// of it is all of it: each in order, and each what it has committed itself.
func wantTogether(client string, nodes ...*world) {
	log := nodes[0].page(eventlog.Room{Client: client}, 0, 37)
	told := make(map[uint64]bool)
	for _, n := range nodes {
		n.Helper()
		if diff := difference(log, n.page(eventlog.Room{Client: client}, 0, 1000)); diff != "" {
			n.Errorf("log of %s (-%s +%s):\n%s", client, nodes[0].node, n.node, diff)
		}
		last := uint64(0)
		for _, e := range n.publisher.of(client) {
			if e.Seq <= last || e.Seq > uint64(len(log)) || difference(log[e.Seq-1], e) != "" {
				n.Errorf("%s was told of event %d after %d: %s", n.node, e.Seq, last, e.JSON)
				continue
			}
			last, told[e.Seq] = e.Seq, true
		}
	}
	for i, e := range log {
		if e.Seq != uint64(i+1) || !told[e.Seq] {
			nodes[0].Errorf("event %d of %s has seq %d; a node was told of it: %v", i+1, client, e.Seq, told[e.Seq])
		}
	}
}

// testNodes: each command may be given to either node, also those of one attempt.
func testNodes(w, other *world) {
	j := w.submit("a", queued())
	l := other.claim("a")
	if l.Job.ID != j.ID {
		w.Errorf("claimed %s, want %s", l.Job.ID, j.ID)
	}
	for _, n := range []*world{w, other, w} {
		before := len(n.publisher.of("a"))
		n.write(l, 1)
		if got := n.publisher.of("a"); len(got) <= before || got[len(got)-1].Type != eventlog.TypeProgress {
			w.Errorf("%s was not told of its own commit before the caller was answered", n.node)
		}
	}
	must(w.store.AddArtifact(w.Context(), l.Lease, stored(j.ID, "f", "one"), nil))(w)
	r := must(other.store.AddArtifact(w.Context(), l.Lease, stored(j.ID, "f", "two"), nil))(w)
	if r.Replaced != "one" {
		w.Errorf("replaced %q", r.Replaced)
	}
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	again := must(other.store.Complete(w.Context(), l.Lease, nil))(w) // the answer of the first may have been lost
	if diff := difference(w.get("a", j.ID), again); diff != "" {
		w.Errorf("completed again at the other (-job +answer):\n%s", diff)
	}
	if diff := difference(w.get("a", j.ID), other.get("a", j.ID)); diff != "" {
		w.Errorf("job (-n1 +n2):\n%s", diff)
	}
	failed := w.submit("a", queued())
	must(other.store.Cancel(w.Context(), "a", failed.ID))(w)
	if _, _, err := w.store.Retry(w.Context(), "a", failed.ID, newID(), jobs.Idempotency{}); err != nil {
		w.Error(err)
	}
	room := eventlog.Room{Client: "a"}
	if diff := difference(must(w.store.Open(w.Context(), room, nil))(w), must(other.store.Open(w.Context(), room, nil))(w)); diff != "" {
		w.Errorf("room (-n1 +n2):\n%s", diff)
	}
	wantTogether("a", w, other)
}

// testNodesOrder: a log has the order of its commits. What a caller does after it was
// answered stands behind what it did before, whichever nodes it asks; of many callers
// none loses an event.
func testNodesOrder(w, other *world) {
	const rounds = 20
	nodes := []*world{w, other}
	var all sync.WaitGroup
	for _, client := range []string{"a", "b"} {
		for i := range 4 {
			l := nodes[i%2].running(client)
			all.Go(func() {
				for n := range rounds {
					if _, err := nodes[(i+n)%2].store.Append(w.Context(), l.Lease, []jobs.Body{jobs.Progressed(float64(n), "", "")}); err != nil {
						w.Errorf("append: %v", err)
					}
				}
			})
		}
	}
	all.Wait()
	for _, client := range []string{"a", "b"} {
		next := make(map[string]float64)
		for _, e := range w.page(eventlog.Room{Client: client}, 0, 1000) {
			if e.Type != eventlog.TypeProgress {
				continue
			}
			if got := w.data(e)["progress"]; got != next[e.JobID] {
				w.Errorf("job %s: progress %v after %v", e.JobID, got, next[e.JobID]-1)
			}
			next[e.JobID]++
		}
		if len(next) != 4 {
			w.Errorf("%d jobs of %s", len(next), client)
		}
		wantTogether(client, w, other)
	}
}

// testNodesEpoch: the nodes share the epochs, and one that starts while another serves
// begins none.
func testNodesEpoch(w, other *world) {
	room := eventlog.Room{Client: "a"}
	l := w.running("a")
	other.write(l, 1)
	other.reopen()
	other.write(l, 1)
	w.write(l, 1)
	epochs := make(map[string]bool)
	for _, e := range w.page(room, 0, 10) {
		at, _ := eventlog.ParseCursor(e.ID)
		epochs[at.Epoch] = true
		for _, n := range []*world{w, other} {
			if v := n.verdict(room, e.ID); v != eventlog.Valid {
				w.Errorf("%s judges cursor %s as %q", n.node, e.ID, v)
			}
		}
	}
	if len(epochs) != 1 {
		w.Errorf("two nodes wrote in %d epochs", len(epochs))
	}
}

// lost checks that nothing can be done with a lease, at none of the nodes.
func lost(l jobs.Lease, nodes ...*world) {
	for _, n := range nodes {
		n.Helper()
		for name, err := range map[string]error{
			"append":   errOf(n.store.Append(n.Context(), l, []jobs.Body{jobs.Logged("info", "x")})),
			"extend":   errOf(n.store.Extend(n.Context(), l)),
			"complete": errOf(n.store.Complete(n.Context(), l, nil)),
			"fail":     errOf(n.store.Fail(n.Context(), l, jobs.Failure{})),
			"release":  n.store.Release(n.Context(), l),
			"artifact": errOf(n.store.AddArtifact(n.Context(), l, stored(l.JobID, "f", newID()), nil)),
		} {
			if !errors.Is(err, jobs.ErrLeaseLost) {
				n.Errorf("%s at %s with a lease that is lost: %v", name, n.node, err)
			}
		}
	}
}

// testNodesFencing: a lease that one node has ended is lost at all, and one that any node
// has renewed is open at all.
func testNodesFencing(w, other *world) {
	w.submit("a", queued())
	old := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Millisecond})[0]
	if n := other.expired(10); n != 1 {
		w.Fatalf("the other ended %d leases", n)
	}
	lost(old.Lease, w, other)
	l := other.claim("a")
	lost(old.Lease, w, other)
	must(w.store.Cancel(w.Context(), "a", l.Job.ID))(w)
	lost(l.Lease, other, w)

	kept := w.running("b")
	time.Sleep(50 * time.Millisecond) // less is not told from what a call takes
	renewed := time.Now()
	must(other.store.Extend(w.Context(), kept.Lease))(w)
	for _, n := range []*world{w, other} {
		out := must(n.store.ExpireLeases(n.Context(), 10))(w)
		if out.N != 0 || !out.Waits || time.Now().Add(out.Next).Before(renewed.Add(time.Hour)) {
			w.Errorf("at %s the renewed lease: %+v", n.node, out)
		}
	}
}

// testNodesClaims: no job is leased twice.
func testNodesClaims(w, other *world) {
	w.claimRace(120, w, other)
	wantTogether("a", w, other)
}

// testNodesNextClaims: one call, made at several nodes, claims one job, and what one node
// has answered again no other hands back.
func testNodesNextClaims(w, other *world) {
	w.nextClaimRace(w, other)
	w.submit("b", queued())
	w.submit("b", queued())
	l := w.claim("b")
	_, claimed := w.settle(after(l), completes(l))
	other.settle(after(l), completes(l))
	answers, _ := w.settle(nil, jobs.Step{Lease: claimed[0].Lease, Outcome: jobs.AttemptUnclaimed})
	w.wantErrs(answers, jobs.ErrLeaseLost)
}

// testNodesLinear: testLinear, with workers that ask different nodes.
func testNodesLinear(w, other *world) { linear(w, w.store, other.store) }

// testNodesStart: a node that starts ends the leases that it held itself, and no others,
// nor does it give them time.
func testNodesStart(w, other *world) {
	claim := jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour}
	w.submitMany("a", 3, queued())
	worker := other.claims(claim)[0]
	claim.Node = w.node
	mine := w.claims(claim)[0]
	claim.Node = other.node
	theirs := other.claims(claim)[0]
	before := must(w.store.ExpireLeases(w.Context(), 10))(w)
	due := time.Now().Add(before.Next)
	time.Sleep(50 * time.Millisecond) // less is not told from what a call takes
	other.reopen()
	w.wantTypes("a", theirs.Job.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying)
	lost(theirs.Lease, w, other)
	for _, l := range []jobs.Leased{worker, mine} {
		w.wantStatus(w.get("a", l.Job.ID), jobs.Processing)
	}
	sent := time.Now()
	after := must(w.store.ExpireLeases(w.Context(), 10))(w)
	if after.N != 0 || !after.Waits || sent.Add(after.Next).After(due) {
		w.Errorf("after the other's start: %+v, before: %+v", after, before)
	}
	must(other.store.Extend(w.Context(), worker.Lease))(w)
	must(w.store.Extend(w.Context(), mine.Lease))(w)
	if l := w.claim("a"); l.Job.ID != theirs.Job.ID || l.Job.Attempt != 2 {
		w.Errorf("claimed %+v", l.Job)
	}
}

// testNodesSweeps: what is due happens once, however many nodes sweep at the same time.
func testNodesSweeps(w, other *world) {
	const each = 30
	for range each {
		w.submit("gone", brief(time.Millisecond))
		soon := queued()
		soon.RunAt = w.wall().Add(time.Hour)
		w.submit("due", soon)
		ended := w.submit("ended", queued())
		must(w.store.Cancel(w.Context(), "ended", ended.ID))(w)
	}
	once := queued()
	once.MaxAttempts = 1
	w.submitMany("lost", each, once)
	w.claims(jobs.Claim{Client: "lost", Queues: []string{"q"}, Max: each, TTL: time.Millisecond})
	time.Sleep(5 * time.Millisecond) // all are over
	w.setClock(2 * time.Hour)
	other.setClock(2 * time.Hour)
	var mu sync.Mutex
	swept := make(map[string]int) // guarded by mu
	note := func(what string, n int, err error) {
		mu.Lock()
		defer mu.Unlock()
		swept[what] += n
		if err != nil {
			w.Errorf("%s: %v", what, err)
		}
	}
	var all sync.WaitGroup
	for i := range 4 {
		s := []*world{w, other}[i%2].store
		all.Go(func() {
			for range each { // more calls than there is to do
				leases, err := s.ExpireLeases(w.Context(), 7)
				note("leases", leases.N, err)
				due, err := s.PromoteDue(w.Context(), 7)
				note("due", due.N, err)
				expired, err := s.ExpireJobs(w.Context(), 7)
				note("expired", expired.N, err)
				pruned, err := s.Prune(w.Context(), w.wall().Add(time.Hour), 0)
				note("pruned", pruned.N, err)
			}
		})
	}
	all.Wait()
	if diff := difference(map[string]int{"leases": each, "due": each, "expired": each, "pruned": 3 * each}, swept); diff != "" {
		w.Errorf("swept (-want +got):\n%s", diff)
	}
	got := other.claims(jobs.Claim{Client: "due", Queues: []string{"q"}, Max: 100, TTL: time.Hour})
	if len(got) != each {
		w.Errorf("%d jobs became due, want %d", len(got), each)
	}
}

// testNodesLimits: a client's bounds are the same at all nodes, and what is on its way to
// one of them counts at the others until that node is gone.
func testNodesLimits(w, other *world) {
	limits := jobs.Limits{JobsPerClient: 20, ArtifactsPerClient: 1000}
	w.limit(limits)
	other.limit(limits)
	var all sync.WaitGroup
	for i := range 8 {
		node := []*world{w, other}[i%2]
		all.Go(func() {
			for range 5 {
				var no *jobs.LimitError
				if err := node.trySubmit("a", queued()); err != nil && !errors.As(err, &no) {
					w.Errorf("submit: %v", err)
				}
			}
		})
	}
	all.Wait()
	w.wantUsage("a", jobs.Usage{Jobs: 20})
	other.wantUsage("a", jobs.Usage{Jobs: 20})

	one, two := w.running("b"), other.running("b")
	full := func(n *world, l jobs.Leased, used, asked int64) {
		w.Helper()
		n.wantLimit(n.hold(l, newID(), "g", asked), jobs.LimitError{What: jobs.LimitArtifacts, Max: 1000, Used: used, Asked: asked})
	}
	w.ok(w.add(one, sized(one, "f", 300)))
	w.ok(other.hold(two, "h", "f", 600))
	full(w, one, 900, 101)
	full(other, two, 900, 101)
	other.reopen()
	w.ok(w.hold(one, "h2", "g", 700))
	full(other, two, 1000, 1)
	w.ok(other.store.DropHold(w.Context(), "h2"))
	w.ok(other.add(two, sized(two, "f", 700)))
	full(w, one, 1000, 1)
}

// testNodesTwins: twins that ask different nodes make one job, or one batch.
func testNodesTwins(w, other *world) {
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	ids := make([]string, 20)
	var all sync.WaitGroup
	for i := range ids {
		node := []*world{w, other}[i%2]
		all.Go(func() {
			j, _, err := node.store.Submit(w.Context(), "a", newID(), queued(), key)
			if ids[i] = j.ID; err != nil {
				w.Errorf("twin %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 {
		w.Errorf("twins made the jobs %v", ids)
	}
	key.Key = "batch"
	first, second := w.batch("a", batchOf(3), key), other.batch("a", batchOf(3), key)
	if !slices.Equal(first.IDs, second.IDs) || !second.Replayed {
		w.Errorf("a batch and its twin are %v and %v", first, second)
	}
	_, _, err := other.store.Submit(w.Context(), "a", newID(), queued(), key)
	w.wantMismatch("a job with the key of another node's batch", err)
	wantTogether("a", w, other)
}

// testNodesKeys: what one node does to keys the other sees, and its revision tells that
// there is something to see.
func testNodesKeys(w, other *world) {
	nodes := []*world{w, other}
	revision := int64(-1)
	for i := range 4 {
		here, there := nodes[i%2], nodes[1-i%2]
		k := here.key(fmt.Sprint("k", i), byte(i+1))
		for step, revoked := range []bool{false, true} {
			if revoked {
				there, here = here, there
				w.ok(here.store.RevokeKey(w.Context(), "a", k.ID, k.CreatedAt))
			}
			if now := must(there.store.Revision(w.Context()))(w); now <= revision {
				w.Errorf("key %d, step %d: %s has revision %d, and had %d", i, step, there.node, now, revision)
			}
			revision = must(here.store.Revision(w.Context()))(w)
			got := must(there.store.KeyByHash(w.Context(), k.Hash))(w)
			if got.ID != k.ID || (got.RevokedAt != nil) != revoked {
				w.Errorf("key %d, step %d: %s reads %+v", i, step, there.node, got.Key)
			}
		}
		if err := there.store.CreateKey(w.Context(), k); !errors.Is(err, auth.ErrExists) {
			w.Errorf("the same secret at %s: %v", there.node, err)
		}
	}
	if keys := must(other.store.Keys(w.Context(), "a"))(w); len(keys) != 4 {
		w.Errorf("%d keys", len(keys))
	}
}

// testNodesSessions: a session is resumed at any node with all its rooms, and what was
// left at one takes no room at another, nor is it resumed there.
func testNodesSessions(w, other *world) {
	w.join("a", "s", 1, 2)
	other.wantSession("joined at the other", "a", "s", false, joined(1), joined(2))
	w.ok(other.store.JoinRoom(w.Context(), "a", "s", joined(3), []int64{1}))
	w.wantSession("taken on by the other", "a", "s", false, joined(2), joined(3))
	w.ok(w.store.EndRooms(w.Context(), "a", "s", []session.End{{N: 2, End: 9}}))
	over := joined(2)
	over.End = 9
	other.wantSession("a room is over", "a", "s", false, over, joined(3))
	w.ok(other.store.LeaveSession(w.Context(), "a", "s"))
	w.join("a", "s", 4)
	w.ok(w.store.ReplaceRooms(w.Context(), "a", "s", []session.Room{joined(5)}))
	w.ok(w.store.TouchSessions(w.Context(), []string{"s"}))
	for _, n := range []*world{w, other} {
		n.wantSession("left at the other", "a", "s", true)
	}
	w.join("a", "idle", 1)
	if n := other.sweepAll(later()); n != 2 {
		w.Errorf("the other swept %d sessions, want 2", n)
	}
	w.wantNoSession("swept by the other", "a", "idle")
}
