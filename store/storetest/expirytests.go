package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// expireJobs lets so many jobs expire that nobody has begun.
func (w *world) expireJobs(want int) {
	w.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for n := 0; n < want; {
		one, next, err := swept(w.store.ExpireJobs(w.Context(), 200))
		if err != nil || time.Now().After(deadline) {
			w.Fatalf("%d of %d jobs have expired: %v", n, want, err)
		}
		if n += one; n > want {
			w.Fatalf("%d jobs have expired, want %d", n, want)
		}
		if n < want && !next.IsZero() {
			time.Sleep(time.Until(next))
		}
	}
}

// brief is a job that ends if nobody begins it within d.
func brief(d time.Duration) jobs.Spec {
	s := queued()
	s.ExpiresIn = d
	return s
}

func testExpireJobs(w *world) {
	if n, next, err := swept(w.store.ExpireJobs(w.Context(), 10)); n != 0 || !next.IsZero() || err != nil {
		w.Errorf("without jobs: %d, %v, %v", n, next, err)
	}
	long := w.submit("a", brief(time.Hour))
	if got := long.ExpiresAt; got == nil || got.Sub(long.CreatedAt.Time) != time.Hour {
		w.Errorf("expiresAt is %v, createdAt %v", got, long.CreatedAt)
	}
	if diff := difference(long, w.get("a", long.ID)); diff != "" {
		w.Errorf("read job differs (-submitted +read):\n%s", diff)
	}
	if n, next, err := swept(w.store.ExpireJobs(w.Context(), 10)); n != 0 || next.Sub(long.ExpiresAt.Time).Abs() > time.Second || err != nil {
		w.Errorf("before its time: %d, %v, %v; want %v", n, next, err, long.ExpiresAt)
	}
	later := brief(time.Hour)
	later.RunAt = time.Now().Add(2 * time.Hour)
	if j := w.submit("a", later); j.ExpiresAt.Sub(j.RunAt.Time) != time.Hour {
		w.Errorf("expiresAt is %v, runAt %v", j.ExpiresAt, j.RunAt)
	}
	past := brief(time.Hour)
	past.RunAt = time.Now().Add(-2 * time.Hour)
	if j := w.submit("a", past); j.ExpiresAt.Sub(j.CreatedAt.Time) != time.Hour {
		w.Errorf("expiresAt is %v, createdAt %v, runAt is over", j.ExpiresAt, j.CreatedAt)
	}

	short := brief(20 * time.Millisecond)
	begun := w.submit("c", short)
	l := w.claim("c")
	back := w.submit("d", short)
	if err := w.store.Release(w.Context(), w.claim("d").Lease); err != nil {
		w.Fatal(err)
	}
	gone := w.submit("e", short)
	must(w.store.Cancel(w.Context(), "e", gone.ID))(w)
	alone := w.submit("b", short)
	w.expireJobs(1)
	for _, client := range []string{"c", "d", "e"} { // their times are over as well
		if n, _, err := swept(w.store.ExpireJobs(w.Context(), 10)); n != 0 || err != nil {
			w.Errorf("%s: expired %d, %v", client, n, err)
		}
	}
	w.wantStatus(w.get("c", begun.ID), jobs.Processing)
	w.wantStatus(w.get("d", back.ID), jobs.Pending)
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	got := w.get("b", alone.ID)
	w.wantStatus(got, jobs.Failed)
	if *got.Error != jobs.ClassExpired || *got.ErrorMessage != "nobody began the job within 20 ms" || got.Attempt != 0 ||
		got.StartedAt != nil || got.CompletedAt == nil || got.CompletedAt.Before(got.ExpiresAt.Time) {
		w.Errorf("expired job is %+v", got)
	}
	w.wantTypes("b", alone.ID, eventlog.TypeCreated, eventlog.TypeFailed)
	events := w.history("b", alone.ID)
	if d := w.data(events[1]); d["error"] != "Expired" || d["errorMessage"] != *got.ErrorMessage || d["completedAt"] != got.CompletedAt.String() {
		w.Errorf("event %s", events[1].JSON)
	}
	if c := w.claims(jobs.Claim{Client: "b", Queues: []string{"q"}, Max: 1, TTL: time.Hour}); len(c) != 0 {
		w.Error("an expired job was claimed")
	}
	again, _, err := w.store.Retry(w.Context(), "b", alone.ID, newID(), jobs.Idempotency{})
	if err != nil || again.ExpiresAt == nil || again.ExpiresAt.Sub(again.CreatedAt.Time) != 20*time.Millisecond {
		w.Errorf("the retry expires at %v, %v", again.ExpiresAt, err)
	}
	w.reopen()
	w.expireJobs(1)
	w.wantStatus(w.get("b", again.ID), jobs.Failed)
}

// testExpireTurns: a client with thousands of expired jobs does not keep the one of
// another waiting, and each batch is bounded.
func testExpireTurns(w *world) {
	const many = 500
	for range many {
		w.submit("a", brief(time.Millisecond))
	}
	var others []string
	for i := range 5 {
		client := fmt.Sprint("b", i)
		others = append(others, client, w.submit(client, brief(time.Millisecond)).ID)
	}
	w.reopen()
	time.Sleep(5 * time.Millisecond) // all are over
	n, next, err := swept(w.store.ExpireJobs(w.Context(), 60))
	if err != nil || n < 10 || n > 60 || next.After(time.Now()) {
		w.Errorf("first batch: %d, %v, %v", n, next, err)
	}
	for pair := range slices.Chunk(others, 2) {
		w.wantStatus(w.get(pair[0], pair[1]), jobs.Failed)
	}
	total := n
	for range 100 {
		if n, next, err = swept(w.store.ExpireJobs(w.Context(), 60)); err != nil || n > 60 {
			w.Fatalf("batch: %d, %v", n, err)
		}
		if total += n; next.IsZero() {
			break
		}
	}
	if total != many+5 {
		w.Errorf("%d jobs expired, want %d", total, many+5)
	}
	w.wantUsage("a", jobs.Usage{})
	for i := range 30 { // more clients than a batch has places: all have their turn
		w.submit(fmt.Sprint("t", i), brief(time.Millisecond))
		w.submit(fmt.Sprint("t", i), brief(time.Millisecond))
	}
	time.Sleep(5 * time.Millisecond)
	for range 3 {
		if n, _, err = swept(w.store.ExpireJobs(w.Context(), 10)); n != 10 || err != nil {
			w.Fatalf("batch: %d, %v", n, err)
		}
	}
	for i := range 30 {
		w.wantUsage(fmt.Sprint("t", i), jobs.Usage{Jobs: 1})
	}
}

// testExpireRace: of a claim and the expiry of a job the first to commit wins, and
// the job has one end.
func testExpireRace(w *world) {
	for i := range 60 {
		j := w.submit("a", brief(time.Millisecond))
		time.Sleep(time.Millisecond)
		var claimed []jobs.Leased
		var n int
		var wg sync.WaitGroup
		wg.Go(func() {
			var err error
			if claimed, err = w.store.Claim(w.Context(), jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour}); err != nil {
				w.Errorf("claim: %v", err)
			}
		})
		wg.Go(func() {
			var err error
			if n, _, err = swept(w.store.ExpireJobs(w.Context(), 10)); err != nil {
				w.Errorf("expire: %v", err)
			}
		})
		wg.Wait()
		if n+len(claimed) != 1 {
			w.Fatalf("round %d: claimed %d times and expired %d times", i, len(claimed), n)
		}
		if n == 1 {
			w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeFailed)
			continue
		}
		must(w.store.Complete(w.Context(), claimed[0].Lease, nil))(w)
		w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeCompleted)
	}
}

// testQueueTTL: jobs with a queue that name no time get the store's; others none.
func testQueueTTL(w *world) {
	old := w.submit("a", queued())
	if old.ExpiresAt != nil {
		w.Errorf("without a setting a job expires at %v", old.ExpiresAt)
	}
	must(w.store.Cancel(w.Context(), "a", old.ID))(w)
	w.limit(jobs.Limits{QueueTTL: time.Hour})
	own := w.submit("a", brief(time.Minute))
	named := w.submit("a", queued())
	retry, _, err := w.store.Retry(w.Context(), "a", old.ID, newID(), jobs.Idempotency{})
	list := queued()
	list.Queue, list.Payload, list.Actions = "", nil, []byte(`[{"type":"wait","ms":1}]`)
	actions := w.submit("a", list)
	for what, c := range map[string]struct {
		j    jobs.Job
		want time.Duration
	}{"its own": {own, time.Minute}, "the default": {named, time.Hour}, "a retry": {retry, time.Hour}} {
		if c.j.ExpiresAt == nil || c.j.ExpiresAt.Sub(c.j.CreatedAt.Time) != c.want {
			w.Errorf("%s: expires at %v, created at %v", what, c.j.ExpiresAt, c.j.CreatedAt)
		}
		if diff := difference(c.j, w.get("a", c.j.ID)); diff != "" {
			w.Errorf("%s: read job differs (-submitted +read):\n%s", what, diff)
		}
	}
	if err != nil || actions.ExpiresAt != nil {
		w.Errorf("a job with actions expires at %v; %v", actions.ExpiresAt, err)
	}
}

// testExpiryClock: how long a job waits to be begun does not follow the system's
// clock, also across a restart; when its time begins does, if it has a runAt.
func testExpiryClock(w *world) {
	for _, skew := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		w.setClock(0)
		w.reopen()
		short, long := w.submit("a", brief(50*time.Millisecond)), w.submit("a", brief(time.Hour))
		later := brief(time.Hour)
		later.RunAt = w.wall().Add(time.Minute)
		waits := w.submit("a", later)
		w.setClock(skew)
		w.expireJobs(1)
		w.wantStatus(w.get("a", short.ID), jobs.Failed)
		w.wantStatus(w.get("a", long.ID), jobs.Pending)
		if n, _, err := swept(w.store.PromoteDue(w.Context(), 10)); err != nil || n != map[bool]int{true: 1}[skew > 0] {
			w.Errorf("clock set by %v: promoted %d, %v", skew, n, err)
		}
		if skew > 0 { // runAt and the hour after it are over; times are rounded up
			w.expireJobs(1)
		} else if n, _, err := swept(w.store.ExpireJobs(w.Context(), 10)); err != nil || n != 0 {
			w.Errorf("clock set by %v: %d expired, %v", skew, n, err)
		}
		w.reopen()
		if _, next, err := swept(w.store.ExpireJobs(w.Context(), 10)); skew < 0 && (err != nil || time.Until(next) > time.Hour || time.Until(next) < 50*time.Minute) {
			w.Errorf("after a restart with a clock set back the next expiry is at %v, %v", next, err)
		}
		for _, j := range []jobs.Job{long, waits} {
			_, _ = w.store.Cancel(w.Context(), "a", j.ID) // it may have expired
		}
	}
}
