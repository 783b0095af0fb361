package storetest

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func testSubmit(w *world) {
	before := time.Now().Add(-time.Second)
	spec := jobs.Spec{
		Actions: json.RawMessage(`[{"type":"wait","ms":1}]`), Metadata: json.RawMessage(`{"a":"b"}`),
		MaxAttempts: 2, Timeout: 90 * time.Second, Priority: -7,
	}
	id := newID()
	j, replayed, err := w.store.Submit(w.Context(), "a", id, spec, jobs.Idempotency{})
	if err != nil || replayed {
		w.Fatalf("submit: replayed %v, error %v", replayed, err)
	}
	if j.CreatedAt.Before(before) || j.CreatedAt.After(time.Now()) {
		w.Errorf("createdAt is %v", j.CreatedAt)
	}
	events := w.history("a", id)
	want := jobs.Job{
		ID: id, ClientID: "a", Status: jobs.Pending, Actions: spec.Actions, Metadata: spec.Metadata, MaxAttempts: 2,
		TimeoutMs: 90_000, Priority: -7, Artifacts: []jobs.Artifact{}, CreatedAt: j.CreatedAt, Cursor: events[0].ID,
	}
	if diff := difference(want, j); diff != "" {
		w.Errorf("submitted job (-want +got):\n%s", diff)
	}
	if diff := difference(j, w.get("a", id)); diff != "" {
		w.Errorf("read job differs (-submitted +read):\n%s", diff)
	}
	w.wantTypes("a", id, eventlog.TypeCreated)

	runAt := time.Now().Add(time.Hour)
	spec = queued()
	spec.RunAt = runAt
	j = w.submit("a", spec)
	if j.Queue == nil || *j.Queue != "q" || string(j.Payload) != `{"n":1}` || j.Actions != nil {
		w.Errorf("queued job is %+v", j)
	}
	if j.RunAt == nil || !j.RunAt.Equal(jobs.At(runAt).Time) {
		w.Errorf("runAt is %v, want %v", j.RunAt, runAt)
	}
	if diff := difference(j, w.get("a", j.ID)); diff != "" {
		w.Errorf("read queued job differs (-submitted +read):\n%s", diff)
	}
	if _, err := w.store.Get(w.Context(), "a", newID()); !errors.Is(err, jobs.ErrNotFound) {
		w.Errorf("get of an unknown job: %v", err)
	}
	counts := must(w.store.Counts(w.Context()))(w)
	if counts[jobs.Pending] != 2 || counts[jobs.Processing] != 0 {
		w.Errorf("counts are %v", counts)
	}
}

func testIdempotency(w *world) {
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	first, _, err := w.store.Submit(w.Context(), "a", newID(), queued(), key)
	if err != nil {
		w.Fatal(err)
	}
	w.claim("a")
	again, replayed, err := w.store.Submit(w.Context(), "a", newID(), queued(), key)
	if err != nil || !replayed || again.ID != first.ID || again.Status != jobs.Processing {
		w.Errorf("second submit: %v %v %v %v", again.ID, again.Status, replayed, err)
	}
	other := jobs.Idempotency{Key: "k", Hash: [32]byte{2}}
	if _, _, err := w.store.Submit(w.Context(), "a", newID(), queued(), other); !errors.Is(err, jobs.ErrIdempotencyMismatch) {
		w.Errorf("same key, other body: %v", err)
	}
	foreign, replayed, err := w.store.Submit(w.Context(), "b", newID(), queued(), other)
	if err != nil || replayed || foreign.ID == first.ID {
		w.Errorf("same key of another client: %v %v", replayed, err)
	}
	must(w.store.Cancel(w.Context(), "b", foreign.ID))(w)
	key = jobs.Idempotency{Key: "retry", Hash: [32]byte{3}}
	one, replayed, err := w.store.Retry(w.Context(), "b", foreign.ID, newID(), key)
	if err != nil || replayed {
		w.Fatalf("retry: %v %v", replayed, err)
	}
	two, replayed, err := w.store.Retry(w.Context(), "b", foreign.ID, newID(), key)
	if err != nil || !replayed || two.ID != one.ID {
		w.Errorf("second retry: %v %v", replayed, err)
	}
}

func testTwins(w *world) {
	const twins = 20
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	ids, fresh := make([]string, twins), make([]bool, twins)
	var wg sync.WaitGroup
	for i := range twins {
		wg.Go(func() {
			j, replayed, err := w.store.Submit(w.Context(), "a", newID(), queued(), key)
			if err != nil {
				w.Errorf("twin %d: %v", i, err)
			}
			ids[i], fresh[i] = j.ID, !replayed
		})
	}
	wg.Wait()
	n := 0
	for i := range twins {
		if ids[i] != ids[0] {
			w.Errorf("twin %d got job %s, twin 0 got %s", i, ids[i], ids[0])
		}
		if fresh[i] {
			n++
		}
	}
	if n != 1 {
		w.Errorf("%d callers made the job", n)
	}
	if got := len(w.page(eventlog.Room{Client: "a"}, 0, 100)); got != 1 {
		w.Errorf("the log has %d events", got)
	}
}

// narrowLists: a list that is narrowed has these jobs and no others, however few are looked
// at for a page.
func (w *world) narrowLists() {
	spec := func(queue, title string) jobs.Spec {
		s := queued()
		s.Queue, s.Title = queue, title
		return s
	}
	var all []jobs.Job
	for i := range 9 {
		all = append(all, w.submit("n", spec([]string{"red", "blue", "q"}[i%3], []string{"Größe 10 % OFF", "", "plain"}[i%3])))
		w.submit("m", spec("red", "plain"))
		time.Sleep(2 * time.Millisecond) // no two jobs of the client have the same time
	}
	early := newID() // an id is drawn before its job is stored, and others may come in between
	w.submit("m", spec("red", "plain"))
	last, _, err := w.store.Submit(w.Context(), "n", early, spec("late", ""), jobs.Idempotency{})
	if err != nil {
		w.Fatal(err)
	}
	all = append(all, last)
	l := must(w.store.Claim(w.Context(), jobs.Claim{Client: "n", Queues: []string{"blue"}, Max: 1, TTL: time.Minute}))(w)
	must(w.store.Fail(w.Context(), l[0].Lease, jobs.Failure{Class: "CardDeclined", Message: "no money_left"}))(w)
	at := func(i int) time.Time { return all[i].CreatedAt.Time }
	for _, test := range []struct {
		q    jobs.ListQuery
		want []int // newest first
	}{
		{jobs.ListQuery{Queue: "blue"}, []int{7, 4, 1}},
		{jobs.ListQuery{Queue: "blue", Status: jobs.Failed}, []int{1}},
		{jobs.ListQuery{Queue: "none"}, nil},
		{jobs.ListQuery{Search: "größe 10 %"}, []int{6, 3, 0}},
		{jobs.ListQuery{Search: "GRÖSSE"}, nil},
		{jobs.ListQuery{Search: "PLAIN", Queue: "q", From: at(3)}, []int{8, 5}},
		{jobs.ListQuery{Search: "carddecl"}, []int{1}},
		{jobs.ListQuery{Search: "y_l"}, []int{1}},
		{jobs.ListQuery{Search: all[5].ID[9:]}, []int{5}},
		{jobs.ListQuery{From: at(2), To: at(5)}, []int{4, 3, 2}},
		{jobs.ListQuery{From: at(8).Add(time.Millisecond), To: at(8).Add(time.Hour)}, []int{9}},
		{jobs.ListQuery{Queue: "late", To: at(9).Add(time.Hour)}, []int{9}},
		{jobs.ListQuery{From: at(9).Add(time.Millisecond)}, nil},
		{jobs.ListQuery{To: at(0)}, nil},
	} {
		for _, scan := range []int{0, 1, 4} {
			var got []string
			q := test.q
			q.Limit, q.MaxScan = 2, scan
			for pages := 0; ; pages++ {
				p := must(w.store.List(w.Context(), "n", q))(w)
				for _, j := range p.Jobs {
					got = append(got, j.ID)
				}
				if p.Next == nil {
					break
				}
				if q.After = *p.Next; pages > 20 {
					w.Fatalf("%+v has no end", q)
				}
			}
			var want []string
			for _, i := range test.want {
				want = append(want, all[i].ID)
			}
			if diff := difference(want, got); diff != "" {
				w.Errorf("%+v (-want +got):\n%s", q, diff)
			}
		}
	}
}

func testList(w *world) {
	var want []string // newest first
	for range 7 {
		want = append(want, w.submit("a", queued()).ID)
		w.submit("b", queued())
	}
	slices.Reverse(want)
	list := func(q jobs.ListQuery) (ids []string) {
		w.Helper()
		for {
			p := must(w.store.List(w.Context(), "a", q))(w)
			for _, j := range p.Jobs {
				ids = append(ids, j.ID)
			}
			if p.Next == nil {
				return ids
			}
			if len(p.Jobs) != q.Limit || *p.Next != p.Jobs[len(p.Jobs)-1].ID {
				w.Fatalf("page of %d jobs, next %s", len(p.Jobs), *p.Next)
			}
			q.After = *p.Next
		}
	}
	for _, limit := range []int{1, 3, 7, 200} {
		if diff := difference(want, list(jobs.ListQuery{Limit: limit})); diff != "" {
			w.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	must(w.store.Cancel(w.Context(), "a", want[2]))(w)
	must(w.store.Cancel(w.Context(), "a", want[4]))(w)
	if diff := difference([]string{want[2], want[4]}, list(jobs.ListQuery{Limit: 1, Status: jobs.Cancelled})); diff != "" {
		w.Errorf("cancelled (-want +got):\n%s", diff)
	}
	if got := list(jobs.ListQuery{Limit: 3, Status: jobs.Pending}); len(got) != 5 {
		w.Errorf("%d pending jobs", len(got))
	}
	w.narrowLists()
	p := must(w.store.List(w.Context(), "nobody", jobs.ListQuery{Limit: 10}))(w)
	if p.Jobs == nil || len(p.Jobs) != 0 || p.Next != nil {
		w.Errorf("a client without jobs has the list %+v", p)
	}
	foreign := must(w.store.List(w.Context(), "b", jobs.ListQuery{Limit: 10}))(w)
	for _, j := range must(w.store.List(w.Context(), "a", jobs.ListQuery{Limit: 10, After: foreign.Jobs[0].ID}))(w).Jobs {
		if j.ClientID != "a" {
			w.Errorf("listed a job of %s", j.ClientID)
		}
	}
}

func testCancel(w *world) {
	j := w.submit("a", queued())
	got := must(w.store.Cancel(w.Context(), "a", j.ID))(w)
	w.wantStatus(got, jobs.Cancelled)
	if got.CompletedAt == nil || got.Cursor != w.history("a", j.ID)[1].ID {
		w.Errorf("cancelled job is %+v", got)
	}
	if diff := difference(got, must(w.store.Cancel(w.Context(), "a", j.ID))(w)); diff != "" {
		w.Errorf("cancelled twice (-first +second):\n%s", diff)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeCancelled)
	if n := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour}); len(n) != 0 {
		w.Error("a cancelled job was claimed")
	}

	w.submit("a", queued())
	l := w.claim("a")
	must(w.store.Cancel(w.Context(), "a", l.Job.ID))(w)
	if _, err := w.store.Append(w.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "late")}); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("append after cancel: %v", err)
	}
	if _, err := w.store.Complete(w.Context(), l.Lease, nil); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("complete after cancel: %v", err)
	}

	w.submit("a", queued())
	l = w.claim("a")
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	_, err := w.store.Cancel(w.Context(), "a", l.Job.ID)
	var conflict *jobs.ConflictError
	if !errors.As(err, &conflict) || conflict.Job.ID != l.Job.ID || conflict.Job.Status != jobs.Completed || conflict.Detail == "" {
		w.Errorf("cancel after complete: %v", err)
	}
}

func testRetry(w *world) {
	spec := queued()
	spec.Metadata, spec.Priority, spec.RunAt = json.RawMessage(`{"m":1}`), 9, time.Now().Add(time.Hour)
	spec.Title, spec.Console = "Tea", "warn"
	use := "shop"
	spec.State = &jobs.StateUse{Use: &use, Origins: []string{"https://x.test"}}
	j := w.submit("a", spec)
	if diff := difference(spec.State, j.State); diff != "" {
		w.Errorf("state (-want +got):\n%s", diff)
	}
	if j.Title == nil || *j.Title != "Tea" || j.Console == nil || *j.Console != "warn" {
		w.Errorf("title %v, console %v", j.Title, j.Console)
	}
	var conflict *jobs.ConflictError
	if _, _, err := w.store.Retry(w.Context(), "a", j.ID, newID(), jobs.Idempotency{}); !errors.As(err, &conflict) {
		w.Errorf("retry of a pending job: %v", err)
	}
	must(w.store.Cancel(w.Context(), "a", j.ID))(w)
	id := newID()
	got, _, err := w.store.Retry(w.Context(), "a", j.ID, id, jobs.Idempotency{})
	if err != nil {
		w.Fatal(err)
	}
	want := j
	want.ID, want.RetryOf, want.RunAt, want.CreatedAt, want.Cursor = id, &j.ID, nil, got.CreatedAt, got.Cursor
	if diff := difference(want, got); diff != "" {
		w.Errorf("retry (-want +got):\n%s", diff)
	}
	if diff := difference(got, w.get("a", id)); diff != "" {
		w.Errorf("read retry differs (-submitted +read):\n%s", diff)
	}
	if l := w.claim("a"); l.Job.ID != id {
		w.Errorf("claimed %s, want the retry %s", l.Job.ID, id)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeCancelled)
}

// testOwnership: to another client a job is as one that does not exist.
func testOwnership(w *world) {
	w.submit("b", queued()) // b exists
	j := w.submit("a", queued())
	l := w.claim("a")
	for _, client := range []string{"b", "nobody"} {
		for _, id := range []string{j.ID, newID()} {
			lease := jobs.Lease{Client: client, JobID: id, Token: l.Lease.Token}
			_, get := w.store.Get(w.Context(), client, id)
			_, cancel := w.store.Cancel(w.Context(), client, id)
			_, _, retry := w.store.Retry(w.Context(), client, id, newID(), jobs.Idempotency{})
			_, open := w.store.Open(w.Context(), eventlog.Room{Client: client, Job: id}, nil)
			_, add := w.store.Append(w.Context(), lease, []jobs.Body{jobs.Logged("info", "x")})
			_, extend := w.store.Extend(w.Context(), lease)
			_, complete := w.store.Complete(w.Context(), lease, nil)
			_, fail := w.store.Fail(w.Context(), lease, jobs.Failure{})
			release := w.store.Release(w.Context(), lease)
			for name, err := range map[string]error{"get": get, "cancel": cancel, "retry": retry, "open": open, "append": add,
				"extend": extend, "complete": complete, "fail": fail, "release": release} {
				if !errors.Is(err, jobs.ErrNotFound) {
					w.Errorf("%s by %s: %v", name, client, err)
				}
			}
			p := must(w.store.Page(w.Context(), eventlog.Room{Client: client, Job: id}, 0, 10, 1<<20))(w)
			if !p.Gone || len(p.Events) > 0 {
				w.Errorf("page read by %s: %+v", client, p)
			}
		}
	}
	if got := w.claims(jobs.Claim{Client: "nobody", Queues: []string{"q"}, Max: 9, TTL: time.Hour}); len(got) != 0 {
		w.Errorf("another client claimed %d jobs", len(got))
	}
	for _, e := range w.page(eventlog.Room{Client: "b"}, 0, 10) {
		if e.JobID == j.ID || e.Client != "b" {
			w.Errorf("b's log shows %s", e.JSON)
		}
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted)
}
