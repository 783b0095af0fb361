package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func newIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = newID()
	}
	return ids
}

// batchOf is a batch of n jobs, each of which can be told from the others.
func batchOf(n int) []jobs.Spec {
	specs := make([]jobs.Spec, n)
	for i := range specs {
		specs[i] = queued()
		specs[i].Payload = json.RawMessage(fmt.Sprint(i))
	}
	return specs
}

func (w *world) batch(client string, specs []jobs.Spec, idem jobs.Idempotency) jobs.Batch {
	w.Helper()
	return must(w.store.SubmitBatch(w.Context(), client, newIDs(len(specs)), specs, idem))(w)
}

// wantMismatch checks a refusal.
func (w *world) wantMismatch(what string, err error) {
	w.Helper()
	if !errors.Is(err, jobs.ErrIdempotencyMismatch) {
		w.Errorf("%s: %v", what, err)
	}
}

// testBatch: the jobs of a batch are as if each had been submitted alone, in their order,
// except that their events are published together.
func testBatch(w *world) {
	specs := batchOf(250)
	specs[1] = jobs.Spec{Actions: json.RawMessage(`[{"type":"wait","ms":1}]`), MaxAttempts: 1, Timeout: time.Minute, Metadata: json.RawMessage(`{"m":1}`), Console: "error"}
	specs[2].Priority, specs[2].RunAt, specs[2].ExpiresIn = 7, time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond), time.Minute
	specs[3].ExpiresIn = 10 * time.Minute
	publishes := 0
	w.check = func([]eventlog.Event) { publishes++ }
	ids := newIDs(len(specs))
	got := must(w.store.SubmitBatch(w.Context(), "a", ids, specs, jobs.Idempotency{}))(w)
	if diff := cmp.Diff(jobs.Batch{IDs: ids, Expires: 10 * time.Minute}, got); diff != "" {
		w.Errorf("batch (-want +got):\n%s", diff)
	}
	published := w.publisher.of("a")
	if publishes != 1 || len(published) != len(ids) {
		w.Fatalf("%d events in %d publishes", len(published), publishes)
	}
	for i, e := range published {
		if e.Seq != uint64(i+1) || e.JobID != ids[i] || e.Type != eventlog.TypeCreated {
			w.Fatalf("event %d is %s", i, e.JSON)
		}
	}
	if diff := cmp.Diff(published, w.page(eventlog.Room{Client: "a"}, 0, 100)); diff != "" {
		w.Errorf("log (-published +read):\n%s", diff)
	}
	for i := range 4 {
		alone, batched := w.submit("b", specs[i]), w.get("a", ids[i])
		batched.ID, batched.ClientID, batched.CreatedAt, batched.Cursor = alone.ID, alone.ClientID, alone.CreatedAt, alone.Cursor
		if alone.ExpiresAt != nil && batched.ExpiresAt != nil && specs[i].RunAt.IsZero() {
			batched.ExpiresAt = alone.ExpiresAt
		}
		if diff := cmp.Diff(alone, batched); diff != "" {
			w.Errorf("job %d (-alone +in a batch):\n%s", i, diff)
		}
	}
	var listed []string
	for q := (jobs.ListQuery{Limit: 100}); ; {
		p := must(w.store.List(w.Context(), "a", q))(w)
		for _, j := range p.Jobs {
			listed = append(listed, j.ID)
		}
		if p.Next == nil {
			break
		}
		q.After = *p.Next
	}
	slices.Reverse(listed)
	if diff := cmp.Diff(ids, listed); diff != "" {
		w.Errorf("list (-want +got):\n%s", diff)
	}
	w.wantUsage("a", jobs.Usage{Jobs: int64(len(specs))})
	claimed := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 3, TTL: time.Hour})
	for i, at := range []int{0, 3, 4} {
		if claimed[i].Job.ID != ids[at] {
			w.Errorf("claim %d is %s, want job %d", i, claimed[i].Job.Payload, at)
		}
	}
}

// testBatchKey: a batch is made once for each key, and no key makes both a batch and a
// job.
func testBatchKey(w *world) {
	key := func(name string, hash byte) jobs.Idempotency {
		return jobs.Idempotency{Key: name, Hash: [32]byte{hash}}
	}
	specs := batchOf(3)
	first := w.batch("a", specs, key("batch", 1))
	w.submitOnce("job") // with hash 1
	failed := w.submit("a", queued())
	must(w.store.Cancel(w.Context(), "a", failed.ID))(w)
	retried, _, err := w.store.Retry(w.Context(), "a", failed.ID, newID(), key("retry", 1))
	w.ok(err)
	want := jobs.Batch{IDs: first.IDs, Replayed: true}
	for range 2 {
		if diff := cmp.Diff(want, w.batch("a", specs, key("batch", 1))); diff != "" {
			w.Errorf("again (-want +got):\n%s", diff)
		}
		w.wantMismatch("another body", errOf(w.store.SubmitBatch(w.Context(), "a", newIDs(2), batchOf(2), key("batch", 2))))
		w.wantMismatch("the key of a job", errOf(w.store.SubmitBatch(w.Context(), "a", newIDs(3), specs, key("job", 1))))
		w.wantMismatch("the key of a retry", errOf(w.store.SubmitBatch(w.Context(), "a", newIDs(3), specs, key("retry", 1))))
		w.wantMismatch("a job with the key of a batch", errOf2(w.store.Submit(w.Context(), "a", newID(), queued(), key("batch", 1))))
		w.wantMismatch("a retry with the key of a batch", errOf2(w.store.Retry(w.Context(), "a", failed.ID, newID(), key("batch", 1))))
		w.wantUsage("a", jobs.Usage{Jobs: 5})
		w.reopen() // the second time after a restart
	}
	if again, replayed, err := w.store.Retry(w.Context(), "a", failed.ID, newID(), key("retry", 1)); err != nil || !replayed || again.ID != retried.ID {
		w.Errorf("a retry again: %v %v", replayed, err)
	}
	if foreign := w.batch("b", specs, key("batch", 2)); foreign.Replayed || foreign.IDs[0] == first.IDs[0] {
		w.Error("the key of one client found another client's batch")
	}
	for range 2 {
		if w.batch("a", specs, jobs.Idempotency{}).Replayed {
			w.Error("a batch without a key was there already")
		}
	}
}

func testBatchTwins(w *world) {
	const twins, size = 8, 5
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	made := make([]jobs.Batch, twins)
	var wg sync.WaitGroup
	for i := range twins {
		wg.Go(func() {
			var err error
			if made[i], err = w.store.SubmitBatch(w.Context(), "a", newIDs(size), batchOf(size), key); err != nil {
				w.Errorf("twin %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, b := range made {
		if !slices.Equal(b.IDs, made[0].IDs) {
			w.Errorf("twins got %v and %v", b.IDs, made[0].IDs)
		}
		if !b.Replayed {
			fresh++
		}
	}
	if fresh != 1 {
		w.Errorf("%d callers made the batch", fresh)
	}
	w.wantUsage("a", jobs.Usage{Jobs: size})
}

// testBatchLimit: the whole batch has room, or none of it is stored.
func testBatchLimit(w *world) {
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	w.limit(jobs.Limits{JobsPerClient: 5})
	w.wantLimit(errOf(w.store.SubmitBatch(w.Context(), "a", newIDs(6), batchOf(6), key)),
		jobs.LimitError{What: jobs.LimitJobs, Max: 5, Used: 0, Asked: 6})
	w.submit("a", queued())
	log := w.page(eventlog.Room{Client: "a"}, 0, 100)
	w.wantLimit(errOf(w.store.SubmitBatch(w.Context(), "a", newIDs(5), batchOf(5), key)),
		jobs.LimitError{What: jobs.LimitJobs, Max: 5, Used: 1, Asked: 5})
	if diff := cmp.Diff(log, w.page(eventlog.Room{Client: "a"}, 0, 100)); diff != "" {
		w.Errorf("a refused batch changed the log (-before +after):\n%s", diff)
	}
	w.wantUsage("a", jobs.Usage{Jobs: 1})
	first := w.batch("a", batchOf(4), key) // a refusal leaves the key free
	if first.Replayed {
		w.Error("a refused batch took the key")
	}
	w.wantUsage("a", jobs.Usage{Jobs: 5})
	if again := w.batch("a", batchOf(4), key); !again.Replayed {
		w.Error("a batch is not repeated at the limit")
	}

	const bound = 64 << 20
	w.limit(jobs.Limits{Storage: bound})
	large, payload := batchOf(100), json.RawMessage(`"`+strings.Repeat("x", 700<<10)+`"`)
	for i := range large {
		large[i].Payload = payload
	}
	var full *jobs.LimitError
	err := errOf(w.store.SubmitBatch(w.Context(), "c", newIDs(len(large)), large, jobs.Idempotency{}))
	if !errors.As(err, &full) || full.What != jobs.LimitStorage || full.Asked < 100*700<<10 {
		w.Errorf("a batch beyond the bound on storage: %v", err)
	}
	w.wantUsage("c", jobs.Usage{})
}

// testPruneBatch: a batch's key is kept as long as the last of its jobs, and its answer
// stays whole.
func testPruneBatch(w *world) {
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	first := w.batch("a", batchOf(3), key)
	other := w.batch("a", batchOf(2), jobs.Idempotency{Key: "other", Hash: [32]byte{1}})
	for i, id := range first.IDs {
		again := w.batch("a", batchOf(3), key)
		if !again.Replayed || !slices.Equal(again.IDs, first.IDs) {
			w.Fatalf("with %d jobs gone: %+v", i, again)
		}
		w.wantMismatch("a job with the key", errOf2(w.store.Submit(w.Context(), "a", newID(), queued(), key)))
		must(w.store.Cancel(w.Context(), "a", id))(w)
		if n := w.pruneAll(later()); n != 1 {
			w.Fatalf("pruned %d jobs", n)
		}
		w.reopen()
	}
	if again := w.batch("a", batchOf(3), key); again.Replayed || slices.Equal(again.IDs, first.IDs) {
		w.Errorf("the key of a batch that is gone: %+v", again)
	}
	if !w.batch("a", batchOf(2), jobs.Idempotency{Key: "other", Hash: [32]byte{1}}).Replayed {
		w.Error("the key of another batch is gone")
	}
	for _, id := range other.IDs {
		must(w.store.Cancel(w.Context(), "a", id))(w)
	}
	if n := w.pruneAll(later()); n != 2 {
		w.Fatalf("pruned %d jobs", n)
	}
	if _, replayed := w.submitOnce("other"); replayed {
		w.Error("a job was found by the key of a batch that is gone")
	}
}
