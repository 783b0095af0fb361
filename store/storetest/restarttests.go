package storetest

import (
	"errors"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// copied copies the data and returns what puts the copy in their place.
func (w *world) copied() (restore func()) {
	w.Helper()
	w.close()
	put := w.h.Save()
	w.open()
	return func() {
		w.Helper()
		w.close()
		put()
		w.open()
	}
}

// restored puts a copy of the data in their place.
func (w *world) restored() {
	w.Helper()
	w.copied()()
}

// key makes a live key of client a.
func (w *world) key(id string, hash byte) auth.Stored {
	w.Helper()
	k := auth.Stored{Hash: [32]byte{hash}, Key: auth.Key{
		ID: id, ClientID: "a", Scopes: auth.DefaultScopes(), CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}}
	w.ok(w.store.CreateKey(w.Context(), k))
	return k
}

// submitOnce submits with an idempotency key and reports whether that was used before.
func (w *world) submitOnce(key string) (id string, replayed bool) {
	w.Helper()
	j, replayed, err := w.store.Submit(w.Context(), "a", newID(), queued(), jobs.Idempotency{Key: key, Hash: [32]byte{1}})
	w.ok(err)
	return j.ID, replayed
}

// testRestart: the same data, opened again, are as they were. Cursors stay good and
// events keep their ids, the log goes on without a gap, leases of workers are open for
// one full TTL, keys and their revocations stand, and so do sessions and those that were
// left. Whether a new epoch begins is up to the store.
func testRestart(w *world) {
	room := eventlog.Room{Client: "a"}
	once, _ := w.submitOnce("k") // 1
	must(w.store.Cancel(w.Context(), "a", once))(w)
	l := w.running("a") // 3, 4
	w.write(l, 2)
	live, revoked := w.key("live", 1), w.key("revoked", 2)
	w.ok(w.store.RevokeKey(w.Context(), "a", revoked.ID, revoked.CreatedAt))
	revoked.RevokedAt = &revoked.CreatedAt
	w.join("a", "s", 1, 2)
	w.ok(w.store.LeaveSession(w.Context(), "a", "left"))

	log, opened := w.page(room, 0, 100), must(w.store.Open(w.Context(), room, nil))(w)
	job, revision := w.get("a", l.Job.ID), must(w.store.Revision(w.Context()))(w)
	lasts := must(w.store.Extend(w.Context(), l.Lease))(w).Lasts
	end := time.Now().Add(lasts) // or somewhat before
	for range 2 {
		w.reopen()
		for what, diff := range map[string]string{
			"log":     difference(log, w.page(room, 0, 100)),
			"room":    difference(opened, must(w.store.Open(w.Context(), room, nil))(w)),
			"job":     difference(job, w.get("a", l.Job.ID)),
			"live":    difference(live, must(w.store.KeyByHash(w.Context(), live.Hash))(w)),
			"revoked": difference(revoked, must(w.store.KeyByHash(w.Context(), revoked.Hash))(w)),
		} {
			if diff != "" {
				w.Errorf("%s (-before the restart +after it):\n%s", what, diff)
			}
		}
		w.wantSession("after the restart", "a", "s", false, joined(1), joined(2))
		w.wantSession("left before the restart", "a", "left", true)
		if now := must(w.store.Revision(w.Context()))(w); now < revision {
			w.Errorf("the revision of keys went back from %d to %d", revision, now)
		}
		if id, replayed := w.submitOnce("k"); !replayed || id != once {
			w.Errorf("a repeated submit: replayed %v", replayed)
		}
		n, next, err := swept(w.store.ExpireLeases(w.Context(), 10))
		if n != 0 || err != nil || !next.After(end) || next.After(time.Now().Add(time.Hour)) {
			w.Errorf("%d leases ended, the next at %v, before the restart at %v; %v", n, next, end, err)
		}
	}
	w.write(l, 3)
	for _, e := range log {
		if v := w.verdict(room, e.ID); v != eventlog.Valid {
			w.Errorf("cursor %s from before the restarts: %q", e.ID, v)
		}
	}
	w.wantGapless("a", w.publisher.of("a"))
	w.key("next", 3)
	if now := must(w.store.Revision(w.Context()))(w); now <= revision {
		w.Errorf("a new key moved the revision from %d to %d", revision, now)
	}
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
}

// testRestore: an older copy takes the place of the data. All is as it was then: what
// was submitted, leased, keyed or joined since is not known, and what was ended or
// revoked since is open. No cursor of the lost future is good, whatever is written next
// and however often the copy is put back; all older ones are.
func testRestore(w *world) {
	room := eventlog.Room{Client: "a"}
	l := w.running("a")
	waits := w.submit("a", queued())
	w.write(l, 1) // 1..4
	old, revoked := w.page(room, 0, 10), w.key("revoked", 1)
	w.join("a", "s", 1)
	restore := w.copied()

	var lost []eventlog.Event
	judge := func(when string, wants ...eventlog.Reason) {
		w.Helper()
		for _, e := range old {
			if v := w.verdict(room, e.ID); v != eventlog.Valid {
				w.Errorf("%s: the older cursor %s is %q", when, e.ID, v)
			}
		}
		for _, e := range lost {
			if v := w.verdict(room, e.ID); v != wants[0] && v != wants[len(wants)-1] {
				w.Errorf("%s: cursor %s of the lost future is %q, want one of %q", when, e.ID, v, wants)
			}
		}
	}
	for round := range 2 {
		late := w.claim("a")
		once, _ := w.submitOnce("k")
		w.write(late, 2)
		must(w.store.Complete(w.Context(), l.Lease, nil))(w) // 5..9, lost
		lost = append(lost, w.page(room, 4, 10)...)
		added := w.key("added", 2)
		w.ok(w.store.RevokeKey(w.Context(), "a", revoked.ID, revoked.CreatedAt))
		w.join("a", "s", 2)
		w.join("a", "new", 1)
		w.ok(w.store.LeaveSession(w.Context(), "a", "s"))
		if len(lost) != 5*(round+1) {
			w.Fatalf("%d events will be lost", len(lost))
		}

		restore()
		judge("right after", eventlog.ReasonEpoch, eventlog.ReasonFuture)
		w.wantStatus(w.get("a", waits.ID), jobs.Pending)
		if _, err := w.store.Append(w.Context(), late.Lease, nil); !errors.Is(err, jobs.ErrLeaseLost) {
			w.Errorf("a lease of the lost future: %v", err)
		}
		if _, err := w.store.Get(w.Context(), "a", once); !errors.Is(err, jobs.ErrNotFound) {
			w.Errorf("a job of the lost future: %v", err)
		}
		if _, err := w.store.KeyByHash(w.Context(), added.Hash); !errors.Is(err, auth.ErrNoKey) {
			w.Errorf("a key of the lost future: %v", err)
		}
		if diff := difference(revoked, must(w.store.KeyByHash(w.Context(), revoked.Hash))(w)); diff != "" {
			w.Errorf("key that was revoked since (-want +got):\n%s", diff)
		}
		w.wantSession("left since", "a", "s", false, joined(1))
		w.wantNoSession("joined since", "a", "new")
	}

	if _, replayed := w.submitOnce("k"); replayed {
		w.Error("an idempotency key of the lost future is taken")
	}
	w.write(l, 6) // 5..11
	judge("after new events", eventlog.ReasonEpoch)
	log := w.page(room, 0, 100)
	if len(log) != 11 {
		w.Fatalf("the log goes on as %+v", log)
	}
	if diff := difference(old, log[:4]); diff != "" {
		w.Errorf("older events (-before +after):\n%s", diff)
	}
	for i, e := range log {
		if e.Seq != uint64(i+1) || w.verdict(room, e.ID) != eventlog.Valid {
			w.Errorf("event %d is %s, %q", i+1, e.ID, w.verdict(room, e.ID))
		}
	}
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
}

// testManage: a command that manages keys does so beside the node that serves: each sees
// at once what the other has changed.
func testManage(w *world) {
	other := w.h.Manage()
	defer func() { w.ok(other.Close()) }()
	revision := must(w.store.Revision(w.Context()))(w)
	raised := func(what string) {
		w.Helper()
		for _, s := range []Store{w.store, other} {
			if now := must(s.Revision(w.Context()))(w); now <= revision {
				w.Errorf("%s: the revision is %d, and was %d", what, now, revision)
			}
		}
		revision = must(w.store.Revision(w.Context()))(w)
	}
	same := func(what string, hash [32]byte) auth.Stored {
		w.Helper()
		here, there := must(w.store.KeyByHash(w.Context(), hash))(w), must(other.KeyByHash(w.Context(), hash))(w)
		if diff := difference(here, there); diff != "" {
			w.Errorf("%s (-serving +beside):\n%s", what, diff)
		}
		return here
	}
	own := w.key("own", 1)
	raised("created by the node")
	same("created by the node", own.Hash)
	their := auth.Stored{Key: auth.Key{ID: "their", ClientID: "b", CreatedAt: own.CreatedAt}, Hash: [32]byte{2}}
	w.ok(other.CreateKey(w.Context(), their))
	raised("created beside it")
	same("created beside it", their.Hash)
	w.ok(w.store.RevokeKey(w.Context(), "b", their.ID, own.CreatedAt))
	raised("revoked by the node")
	w.ok(other.RevokeKey(w.Context(), "", own.ID, own.CreatedAt))
	raised("revoked beside it")
	for _, hash := range [][32]byte{own.Hash, their.Hash} {
		if k := same("revoked", hash); k.RevokedAt == nil {
			w.Errorf("key %s is not revoked", k.ID)
		}
	}
	if err := other.CreateKey(w.Context(), own); !errors.Is(err, auth.ErrExists) {
		w.Errorf("the same secret beside it: %v", err)
	}
	j := w.submit("b", queued()) // a client that was made beside it
	if got := must(other.Get(w.Context(), "b", j.ID))(w); got.ID != j.ID {
		w.Errorf("job read beside it: %+v", got)
	}
}
