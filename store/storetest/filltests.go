package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

// sized is an artifact of so many bytes, whose file bears a name of its own.
func sized(l jobs.Leased, name string, size int64) jobs.StoredArtifact {
	a := stored(l.Job.ID, name, newID())
	a.Size = size
	return a
}

// hold holds room for exactly size bytes.
func (w *world) hold(l jobs.Leased, id, name string, size int64) error {
	held, _, err := w.store.HoldArtifact(w.Context(), l.Lease, jobs.Hold{ID: id, Name: name, Least: size, Most: size})
	if err == nil && held != size {
		w.Errorf("%d bytes are held, want %d", held, size)
	}
	return err
}

func (w *world) add(l jobs.Leased, a jobs.StoredArtifact) error {
	return errOf(w.store.AddArtifact(w.Context(), l.Lease, a, nil))
}

// testArtifactLimit: a client's artifacts have so many bytes together, whoever
// keeps count; what goes gives its bytes back, and one that is replaced counts by
// the difference.
func testArtifactLimit(w *world) {
	w.limit(jobs.Limits{ArtifactsPerClient: 1000})
	one, two, other := w.running("a"), w.running("a"), w.running("b")
	no := func(err error, used, asked int64) {
		w.Helper()
		w.wantLimit(err, jobs.LimitError{What: jobs.LimitArtifacts, Max: 1000, Used: used, Asked: asked})
	}
	ok := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	no(w.hold(one, "h", "f", 1001), 0, 1001)
	no(w.add(one, sized(one, "f", 1001)), 0, 1001)
	ok(w.add(one, sized(one, "f", 600)))
	ok(w.add(two, sized(two, "f", 400)))
	no(w.add(two, sized(two, "g", 1)), 1000, 1)
	ok(w.add(two, sized(two, "empty", 0)))
	ok(w.add(other, sized(other, "f", 1000)))
	w.reopen()
	no(w.hold(two, "h", "g", 1), 1000, 1)
	ok(w.add(one, sized(one, "f", 600))) // in place of as many
	no(w.add(one, sized(one, "f", 601)), 1000, 1)
	ok(w.add(one, sized(one, "f", 500)))
	no(w.add(two, sized(two, "g", 101)), 900, 101)
	ok(w.add(two, sized(two, "g", 100)))
	w.wantUsage("a", jobs.Usage{Jobs: 2, Artifacts: 1000})
	w.wantUsage("b", jobs.Usage{Jobs: 1, Artifacts: 1000})
	ok(errOf(w.store.Complete(w.Context(), two.Lease, nil)))
	no(w.hold(one, "h", "g", 1), 1000, 1) // a job's end keeps what it left
	w.pruneAll(later())
	w.wantUsage("a", jobs.Usage{Jobs: 1, Artifacts: 500})
	ok(w.hold(one, "h", "g", 500))
	w.limit(jobs.Limits{ArtifactsPerClient: 400})
	w.wantLimit(w.hold(one, "h", "g", 1), jobs.LimitError{What: jobs.LimitArtifacts, Max: 400, Used: 500, Asked: 1})
	ok(w.add(one, sized(one, "f", 450))) // less than before is no more than before
	got := must(w.store.Filled(w.Context()))(w)
	if got.Artifacts != 1450 || got.Most != (jobs.Usage{Jobs: 1, Artifacts: 1000}) || got.Storage < 8192 {
		w.Errorf("filled: %+v", got)
	}
}

// testArtifactHolds: what is on its way counts until it is there, or given up.
func testArtifactHolds(w *world) {
	w.limit(jobs.Limits{ArtifactsPerClient: 1000})
	l := w.running("a")
	no := func(err error, used, asked int64) {
		w.Helper()
		w.wantLimit(err, jobs.LimitError{What: jobs.LimitArtifacts, Max: 1000, Used: used, Asked: asked})
	}
	if err := errors.Join(w.hold(l, "h1", "f", 600), w.hold(l, "h2", "g", 400)); err != nil {
		w.Fatal(err)
	}
	no(w.hold(l, "h3", "x", 1), 1000, 1)
	no(w.add(l, sized(l, "x", 1)), 1000, 1)
	no(w.hold(l, "h1", "f", 601), 400, 601)
	no(w.hold(l, "h3", "x", 1), 1000, 1) // the hold that was refused to grow is still there
	a := sized(l, "f", 600)
	a.Hold = "h1"
	if err := w.add(l, a); err != nil {
		w.Fatal(err)
	}
	no(w.hold(l, "h3", "x", 1), 1000, 1) // it counts once
	if err := errors.Join(w.store.DropHold(w.Context(), "h2"), w.store.DropHold(w.Context(), "h2"), w.store.DropHold(w.Context(), "h1")); err != nil {
		w.Fatal(err)
	}
	if err := w.hold(l, "h3", "f", 1000); err != nil { // in place of f
		w.Fatal(err)
	}
	no(w.hold(l, "h4", "x", 1), 1000, 1)
	w.reopen() // holds are gone
	held, r, err := w.store.HoldArtifact(w.Context(), l.Lease, jobs.Hold{ID: "h5", Name: "x", Least: 10, Most: 5000})
	if err != nil || held != 400 || r.Lasts != time.Hour {
		w.Errorf("as much as there is: %d, %+v, %v", held, r, err)
	}
	lost := l.Lease
	lost.Token += "x"
	if _, _, err := w.store.HoldArtifact(w.Context(), lost, jobs.Hold{ID: "h6", Name: "x"}); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("hold with a wrong token: %v", err)
	}
	for i := range jobs.MaxArtifacts - 1 {
		if err := w.add(l, sized(l, fmt.Sprint("n", i), 0)); err != nil {
			w.Fatal(err)
		}
	}
	var conflict *jobs.ConflictError
	if err := w.hold(l, "h7", "more", 0); !errors.As(err, &conflict) {
		w.Errorf("hold for one artifact too many: %v", err)
	}
	if err := w.hold(l, "h7", "f", 0); err != nil {
		w.Errorf("hold for an artifact that is replaced: %v", err)
	}
}

// testArtifactRace: whatever uploads of a client come and fail at the same time,
// their bytes never exceed the bound.
func testArtifactRace(w *world) {
	const limit, callers, each = 10_000, 12, 25
	w.limit(jobs.Limits{ArtifactsPerClient: limit})
	jobsOf := make([]jobs.Leased, callers)
	for i := range jobsOf {
		jobsOf[i] = w.running("a")
	}
	var under atomic.Int64 // bytes that are held or there; names are used once, so nothing is replaced
	var all sync.WaitGroup
	for i, l := range jobsOf {
		all.Go(func() {
			for n := range each {
				a := sized(l, fmt.Sprint("f", n), rand.Int64N(2000))
				a.Hold = newID()
				err := w.hold(l, a.Hold, a.Name, a.Size)
				var no *jobs.LimitError
				switch {
				case errors.As(err, &no):
					continue
				case err != nil:
					w.Errorf("hold: %v", err)
					return
				}
				if now := under.Add(a.Size); now > limit {
					w.Errorf("%d bytes were let in", now)
				}
				if (i+n)%3 == 0 { // given up
					under.Add(-a.Size) // first: room is there only after it was given back
					err = w.store.DropHold(w.Context(), a.Hold)
				} else {
					err = w.add(l, a)
				}
				if err != nil {
					w.Errorf("after the hold: %v", err)
				}
			}
		})
	}
	all.Wait()
	w.wantUsage("a", jobs.Usage{Jobs: callers, Artifacts: under.Load()})
	w.reopen()
	w.wantUsage("a", jobs.Usage{Jobs: callers, Artifacts: under.Load()})
}

// testStorageFull: when the folder is full, what adds is refused, and what ends or
// frees is not; what retention deletes makes room again.
func testStorageFull(w *world) {
	w.limit(jobs.Limits{Storage: 64 << 20})
	big := queued()
	big.Payload = json.RawMessage(`"` + strings.Repeat("x", 250<<10) + `"`)
	held, spare, last, open := w.running("a"), w.running("b"), w.running("b"), w.submit("b", queued())
	if err := w.add(held, sized(held, "f", 20<<20)); err != nil {
		w.Fatal(err)
	}
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	first, _, err := w.store.Submit(w.Context(), "a", newID(), big, key)
	for n := 0; err == nil && n < 1000; n++ {
		err = w.trySubmit("a", big)
	}
	var full *jobs.LimitError
	if !errors.As(err, &full) || full.What != jobs.LimitStorage || !errors.Is(err, jobs.ErrStorageFull) ||
		full.Used+full.Asked <= full.Max || full.Asked < 250<<10 || full.Max >= 64<<20 {
		w.Fatalf("submits until the storage is full: %v, %+v", err, full)
	}
	if got := must(w.store.Filled(w.Context()))(w); got.Storage > 64<<20 || got.Storage < full.Max-(1<<20) {
		w.Errorf("filled %d of %d bytes", got.Storage, full.Max)
	}
	for range 2 {
		for err = nil; err == nil; { // the last small jobs that still fit
			err = w.trySubmit("c", queued())
		}
		w.refusedAll(held, spare, err)
		if j, replayed, err := w.store.Submit(w.Context(), "a", newID(), big, key); err != nil || !replayed || j.ID != first.ID {
			w.Errorf("a repeated submit: %v, %v", replayed, err)
		}
		w.reopen()
	}
	for what, err := range map[string]error{
		"extend":   errOf(w.store.Extend(w.Context(), held.Lease)),
		"claim":    errOf(w.store.Claim(w.Context(), jobs.Claim{Client: "b", Queues: []string{"q"}, Max: 1, TTL: time.Hour})),
		"cancel":   errOf(w.store.Cancel(w.Context(), "b", open.ID)),
		"fail":     errOf(w.store.Fail(w.Context(), spare.Lease, jobs.Failure{Class: "X", Retry: true})),
		"complete": errOf(w.store.Complete(w.Context(), held.Lease, json.RawMessage(`{"x":"`+strings.Repeat("x", 50<<10)+`"}`))),
	} {
		if err != nil {
			w.Errorf("%s: %v", what, err)
		}
	}
	w.pruneAll(later()) // the job with the artifact has ended
	g := must(w.store.Garbage(w.Context(), "", 10))(w)
	for err = nil; err == nil; { // what was deleted makes room
		err = w.trySubmit("a", big)
	}
	if err := w.hold(last, "h", "g", 18<<20); !errors.Is(err, jobs.ErrStorageFull) {
		w.Errorf("while the file is still there: %v", err)
	}
	if err := w.store.ForgetGarbage(w.Context(), g); err != nil {
		w.Fatal(err)
	}
	if err := w.hold(last, "h", "g", 18<<20); err != nil {
		w.Errorf("when the file has gone: %v", err)
	}
	w.submit("a", big)
}

// refusedAll checks that nothing can be added, and that submit, whose error is
// given, is refused likewise.
func (w *world) refusedAll(held, spare jobs.Leased, submit error) {
	w.Helper()
	k, _, err := auth.NewKey("a", "more", nil, auth.KeyOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for what, err := range map[string]error{
		"submit":   submit,
		"batch":    errOf(w.store.SubmitBatch(w.Context(), "a", newIDs(2), batchOf(2), jobs.Idempotency{})),
		"progress": errOf(w.store.Append(w.Context(), spare.Lease, []jobs.Body{jobs.Logged("info", strings.Repeat("x", 4<<10))})),
		"hold":     w.hold(held, "h", "g", 1),
		"artifact": w.add(held, sized(held, "g", 1)),
		"key":      w.store.CreateKey(w.Context(), k),
	} {
		var full *jobs.LimitError
		if !errors.As(err, &full) || full.What != jobs.LimitStorage {
			w.Errorf("%s: %v, want storage_full", what, err)
		}
	}
}

// testStorageFullAtOnce: commands that are committed together find no more room
// together than one after the other.
func testStorageFullAtOnce(w *world) {
	const limit = 64 << 20
	w.limit(jobs.Limits{Storage: limit})
	held := w.running("a")
	if err := w.add(held, sized(held, "f", 40<<20)); err != nil {
		w.Fatal(err)
	}
	big := queued()
	big.Payload = json.RawMessage(`"` + strings.Repeat("x", 250<<10) + `"`)
	var all sync.WaitGroup
	for range 300 {
		all.Go(func() {
			if err := w.trySubmit("a", big); err != nil && !errors.Is(err, jobs.ErrStorageFull) {
				w.Errorf("submit: %v", err)
			}
		})
	}
	all.Wait()
	if got := must(w.store.Filled(w.Context()))(w); got.Storage > limit {
		w.Errorf("filled %d of %d bytes", got.Storage, int64(limit))
	}
}
