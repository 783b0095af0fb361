package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// asked is one call of a store.
type asked struct {
	name string
	call func(ctx context.Context) error
}

func called[T any](_ T, err error) error { return err }

// everything lists a call of each method that reads or writes. Each would be
// refused, or do little, on a store that is well.
func everything(s Store, l jobs.Lease) []asked {
	room, now := eventlog.Room{Client: "a", Job: l.JobID}, time.Now()
	spare := joined(1)
	return []asked{
		{"Submit", func(ctx context.Context) error {
			_, _, err := s.Submit(ctx, "a", newID(), queued(), jobs.Idempotency{})
			return err
		}},
		{"SubmitBatch", func(ctx context.Context) error {
			return called(s.SubmitBatch(ctx, "a", newIDs(2), batchOf(2), jobs.Idempotency{Key: newID()}))
		}},
		{"Get", func(ctx context.Context) error { return called(s.Get(ctx, "a", l.JobID)) }},
		{"List", func(ctx context.Context) error { return called(s.List(ctx, "a", jobs.ListQuery{Limit: 10})) }},
		{"Claim", func(ctx context.Context) error {
			return called(s.Claim(ctx, jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1}))
		}},
		{"Append", func(ctx context.Context) error {
			return called(s.Append(ctx, l, []jobs.Body{jobs.Logged("info", "x")}))
		}},
		{"Settle", func(ctx context.Context) error {
			_, _, err := s.Settle(ctx, []jobs.Step{{Lease: l, Events: []jobs.Body{jobs.Logged("info", "x")}}}, nil)
			return err
		}},
		{"AddArtifact", func(ctx context.Context) error {
			return called(s.AddArtifact(ctx, l, jobs.StoredArtifact{Artifact: jobs.Artifact{Name: "x"}, File: newID()}, nil))
		}},
		{"Artifact", func(ctx context.Context) error { return called(s.Artifact(ctx, "a", l.JobID, "x")) }},
		{"Garbage", func(ctx context.Context) error { return called(s.Garbage(ctx, "", 1)) }},
		{"ForgetGarbage", func(ctx context.Context) error { return s.ForgetGarbage(ctx, []string{"x"}) }},
		{"KnownFiles", func(ctx context.Context) error { return called(s.KnownFiles(ctx, []string{"x"})) }},
		{"Prune", func(ctx context.Context) error {
			return called(s.Prune(ctx, now.Add(time.Hour), time.Minute))
		}},
		{"Counts", func(ctx context.Context) error { return called(s.Counts(ctx)) }},
		{"Open", func(ctx context.Context) error { return called(s.Open(ctx, room, nil)) }},
		{"OpenLog", func(ctx context.Context) error { return called(s.Open(ctx, eventlog.Room{Client: "a"}, nil)) }},
		{"Tail", func(ctx context.Context) error { return called(s.Tail(ctx, room, 5)) }},
		{"Page", func(ctx context.Context) error { return called(s.Page(ctx, room, 0, 10, 1<<20)) }},
		{"Session", func(ctx context.Context) error { return called(s.Session(ctx, "a", "s")) }},
		{"JoinRoom", func(ctx context.Context) error { return s.JoinRoom(ctx, "a", "s", spare, nil) }},
		{"ReplaceRooms", func(ctx context.Context) error { return s.ReplaceRooms(ctx, "a", "s", []session.Room{spare}) }},
		{"LeaveSession", func(ctx context.Context) error { return s.LeaveSession(ctx, "a", "s") }},
		{"KeyByHash", func(ctx context.Context) error { return called(s.KeyByHash(ctx, [32]byte{1})) }},
		{"Keys", func(ctx context.Context) error { return called(s.Keys(ctx, "")) }},
		{"CreateKey", func(ctx context.Context) error {
			return s.CreateKey(ctx, auth.Stored{Key: auth.Key{ID: newID(), ClientID: "b", CreatedAt: now}, Hash: [32]byte{2}})
		}},
		{"Revision", func(ctx context.Context) error { return called(s.Revision(ctx)) }},
		{"CountClients", func(ctx context.Context) error { return called(s.CountClients(ctx)) }},
		{"Complete", func(ctx context.Context) error { return called(s.Complete(ctx, l, json.RawMessage("{}"))) }},
	}
}

// testTrouble: a disk that does not answer is the machine's trouble, whoever meets
// it and whatever he asked for. It passes without a restart and takes back nothing.
func testTrouble(w *world) {
	for n := range 3 {
		w.submit("a", queued())
		if err := w.store.CreateKey(w.Context(), auth.Stored{Key: auth.Key{ID: fmt.Sprint(n), ClientID: "a", CreatedAt: time.Now()}, Hash: [32]byte{byte(n + 10)}}); err != nil {
			w.Fatal(err)
		}
	}
	l := w.claim("a")
	before := must(w.store.Open(w.Context(), eventlog.Room{Client: "a"}, nil))(w).Head
	w.submit("a", queued()) // what readers have cached is out of date
	before++
	heal := w.h.Break()
	for _, a := range everything(w.store, l.Lease) {
		if err := a.call(w.Context()); !errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, jobs.ErrLost) {
			w.Errorf("%s of a broken disk: %v, want %v", a.name, err, jobs.ErrUnavailable)
		}
	}
	heal()
	if head := must(w.store.Open(w.Context(), eventlog.Room{Client: "a"}, nil))(w).Head; head != before {
		w.Errorf("the log's head is %d, want %d", head, before)
	}
	w.submit("a", queued())
	if _, err := w.store.Complete(w.Context(), l.Lease, json.RawMessage("{}")); err != nil {
		w.Errorf("complete after the trouble: %v", err)
	}
	for i, e := range w.history("a", "") {
		if e.Seq != uint64(i+1) {
			w.Fatalf("event %d has the number %d", i+1, e.Seq)
		}
	}
}
