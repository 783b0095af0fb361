package storetest

import (
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func testClaim(w *world) {
	j := w.submit("a", queued())
	got := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 5, TTL: time.Minute})
	if len(got) != 1 {
		w.Fatalf("claimed %d jobs", len(got))
	}
	l := got[0]
	if l.Lease.Client != "a" || l.Lease.JobID != j.ID || len(l.Lease.Token) < 22 {
		w.Errorf("lease is %+v", l.Lease)
	}
	if l.Lasts != time.Minute {
		w.Errorf("a lease of a minute lasts %v", l.Lasts)
	}
	w.wantStatus(l.Job, jobs.Processing)
	if l.Job.Attempt != 1 || l.Job.StartedAt == nil {
		w.Errorf("claimed job is %+v", l.Job)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted)
	started := w.history("a", j.ID)[1]
	if l.Job.Cursor != started.ID || w.data(started)["attempt"] != 1.0 {
		w.Errorf("started is %s, job's cursor %s", started.JSON, l.Job.Cursor)
	}
	if got := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 5, TTL: time.Minute}); len(got) != 0 {
		w.Errorf("claimed a leased job again")
	}
}

func testClaimQueues(w *world) {
	actions := jobs.Spec{Actions: []byte(`[{"type":"wait","ms":1}]`), MaxAttempts: 1, Timeout: time.Second}
	own := w.submit("a", actions)
	for _, q := range []string{"x", "y", "z"} {
		spec := queued()
		spec.Queue = q
		w.submit("a", spec)
	}
	names := func(c jobs.Claim) string {
		c.TTL = time.Hour
		var out []string
		for _, l := range w.claims(c) {
			name := "actions"
			if l.Job.Queue != nil {
				name = *l.Job.Queue
			}
			out = append(out, name)
		}
		return strings.Join(out, " ")
	}
	if got := names(jobs.Claim{Queues: nil, Max: 9}); got != "actions" {
		w.Errorf("a claim without queues got %q, want job %s", got, own.ID)
	}
	if got := names(jobs.Claim{Client: "a", Queues: []string{"none"}, Max: 9}); got != "" {
		w.Errorf("a claim of an empty queue got %q", got)
	}
	if got := names(jobs.Claim{Client: "a", Queues: []string{"z", "x", "z"}, Max: 9}); got != "x z" {
		w.Errorf("a claim of two queues got %q", got)
	}
	if got := names(jobs.Claim{Client: "a", Queues: []string{}, Max: 9}); got != "" {
		w.Errorf("a claim of no queue got %q", got)
	}
}

// testClaimAnnounces: a claim that announces commits the progress that comes before a job's
// first action together with job.started, and the claimed job shows it.
func testClaimAnnounces(w *world) {
	two := jobs.Spec{Actions: []byte(`[{"note":"a, {b} and \\\"type","type":"op\u0065n"},{"type":"wait"}]`), MaxAttempts: 2, Timeout: time.Hour}
	j := w.submit("a", two)
	for attempt := range 2 {
		var commits [][]eventlog.Event
		w.check = func(events []eventlog.Event) { commits = append(commits, events) }
		got := w.claims(jobs.Claim{Max: 1, TTL: time.Hour, Node: "n", Announce: true})
		w.check = nil
		if len(got) != 1 || len(commits) != 1 || len(commits[0]) != 2 {
			w.Fatalf("attempt %d: %d jobs in %d commits", attempt, len(got), len(commits))
		}
		l, events := got[0], commits[0]
		if events[0].Type != eventlog.TypeStarted || events[1].Type != eventlog.TypeProgress || l.Job.Cursor != events[1].ID {
			w.Errorf("attempt %d: %s %s, the job's cursor is %s", attempt, events[0].JSON, events[1].JSON, l.Job.Cursor)
		}
		want := map[string]any{"progress": 50.0, "message": "Executing action 1 of 2: open", "step": "open"}
		if d := cmp.Diff(want, w.data(events[1])); d != "" {
			w.Error(d)
		}
		if d := cmp.Diff(must(w.store.Get(w.Context(), "a", j.ID))(w), l.Job); d != "" {
			w.Errorf("the job as it is (-) and as it was claimed (+):\n%s", d)
		}
		w.settle(nil, fails(l.Lease))
	}
	w.submit("a", queued())
	l := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour, Announce: true})[0]
	w.wantTypes("a", l.Job.ID, eventlog.TypeCreated, eventlog.TypeStarted)
}

func testPriority(w *world) {
	var want []string
	for _, p := range []int{0, 5, -5, 5, 100, 0} {
		spec := queued()
		spec.Priority = p
		want = append(want, w.submit("a", spec).ID)
	}
	want = []string{want[4], want[1], want[3], want[0], want[5], want[2]}
	for _, n := range []int{2, 1, 3} {
		for _, l := range w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: n, TTL: time.Hour}) {
			if l.Job.ID != want[0] {
				w.Errorf("claimed priority %d, %d to go", l.Job.Priority, len(want))
			}
			want = want[1:]
		}
	}
	if len(want) != 0 {
		w.Errorf("%d jobs were not claimed", len(want))
	}
}

// submitMany submits n jobs of a client at the same time.
func (w *world) submitMany(client string, n int, spec jobs.Spec) {
	w.Helper()
	const producers = 50
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for range (n + producers - 1 - p) / producers {
				if _, _, err := w.store.Submit(w.Context(), client, newID(), spec, jobs.Idempotency{}); err != nil {
					w.Errorf("submit: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// testTurns: however many jobs of A wait, B's first is the next one claimed.
func testTurns(w *world) {
	spec := jobs.Spec{Actions: []byte(`[{"type":"wait","ms":1}]`), MaxAttempts: 1, Timeout: time.Second}
	w.submitMany("a", 1000, spec)
	next := func(n int) string {
		var out strings.Builder
		for _, l := range w.claims(jobs.Claim{Max: n, TTL: time.Hour}) {
			out.WriteString(l.Job.ClientID)
		}
		return out.String()
	}
	if got := next(2); got != "aa" {
		w.Fatalf("served %s", got)
	}
	w.submitMany("b", 3, spec)
	w.submitMany("c", 2, spec)
	if got := next(1); got != "b" {
		w.Errorf("served %s after a, want b", got)
	}
	if got := next(6); got != "cabcab" {
		w.Errorf("served %s, want cabcab", got)
	}
	if got := next(2) + next(1); got != "aaa" {
		w.Errorf("served %s, want aaa", got)
	}
}

// testTurnsPerQueue: turns in one queue do not make a client lose its turn in another.
func testTurnsPerQueue(w *world) {
	for _, at := range []struct{ client, queue string }{{"a", "x"}, {"b", "x"}, {"c", "y"}} {
		spec := queued()
		spec.Queue = at.queue
		w.submitMany(at.client, 10, spec)
	}
	var got strings.Builder
	for i := range 8 {
		queue := []string{"x", "y"}[i%2]
		for _, l := range w.claims(jobs.Claim{Queues: []string{queue}, Max: 1, TTL: time.Hour}) {
			got.WriteString(l.Job.ClientID)
		}
	}
	if got.String() != "acbcacbc" {
		w.Errorf("served %s, want acbcacbc", got.String())
	}
}

// testShare: who holds its share is passed over, the others keep their turns,
// and nobody else's job waits for it.
func testShare(w *world) {
	spec := jobs.Spec{Actions: []byte(`[{"type":"wait","ms":1}]`), MaxAttempts: 1, Timeout: time.Second}
	for _, client := range []string{"a", "b", "c"} {
		w.submitMany(client, 20, spec)
	}
	next := func(n, share int, held map[string]int) string {
		var out strings.Builder
		for _, l := range w.claims(jobs.Claim{Max: n, TTL: time.Hour, Share: share, Held: held}) {
			out.WriteString(l.Job.ClientID)
		}
		return out.String()
	}
	held := map[string]int{"a": 2, "b": 1, "nobody": 9}
	for _, c := range []struct {
		n, share int
		held     map[string]int
		want     string
	}{
		{9, 2, nil, "abcabc"},
		{9, 2, held, "bcc"},
		{1, 2, held, "b"},
		{9, 1, map[string]int{"a": 1, "b": 1, "c": 1}, ""},
		{9, 3, map[string]int{"a": 3, "b": 3, "c": 1}, "cc"},
		{9, 5, map[string]int{"a": 9, "c": 5}, "bbbbb"},
		{3, 0, held, "cab"},
	} {
		if got := next(c.n, c.share, c.held); got != c.want {
			w.Errorf("%d places, share %d, held %v: served %q, want %q", c.n, c.share, c.held, got, c.want)
		}
	}
	if held["a"] != 2 || held["b"] != 1 || len(held) != 3 {
		w.Errorf("the caller's map became %v", held)
	}
}

// testBrowsers: a claim leases no more jobs that need a browser than it has room for, of
// none more than its share, and nobody's other jobs wait for that; a job goes on needing
// one after a failure and in its retry, and keeps what it may reach.
func testBrowsers(w *world) {
	plain := jobs.Spec{Actions: []byte(`[{"type":"wait","ms":1}]`), MaxAttempts: 2, Timeout: time.Second}
	page := plain
	page.Browser, page.Hosts = true, jobs.Hosts{Allow: []string{"a.test"}, Deny: []string{"b.test"}}
	w.submitMany("a", 3, page)
	w.submitMany("a", 2, plain)
	w.submitMany("b", 2, page)
	next := func(n int, c jobs.Places) (out string, got []jobs.Leased) {
		got = w.claims(jobs.Claim{Max: n, TTL: time.Hour, Browsers: c})
		for _, l := range got {
			kind := "-"
			if l.Job.Browser {
				kind = "*"
			}
			if l.Job.Browser == l.Job.Hosts.Empty() || l.Job.Queue != nil {
				w.Errorf("a claimed job is %+v", l.Job)
			}
			out += l.Job.ClientID + kind
		}
		return out, got
	}
	if got, _ := next(1, jobs.Places{}); got != "a-" {
		w.Errorf("without a browser: %s", got)
	}
	held := map[string]int{"b": 1}
	got, leased := next(9, jobs.Places{Max: 2, Share: 2, Held: held})
	if got != "b*a*a-" || len(held) != 1 {
		w.Fatalf("room for two browsers: %s, held %v", got, held)
	}
	if got, _ := next(9, jobs.Places{Max: 9, Share: 1, Held: held}); got != "a*" {
		w.Errorf("a share of one: %s", got)
	}
	failed := must(w.store.Fail(w.Context(), leased[1].Lease, jobs.Failure{Class: "x", Retry: true}))(w)
	w.wantStatus(failed, jobs.Pending)
	must(w.store.PromoteDue(w.Context(), 10))(w)
	if got, _ := next(9, jobs.Places{Max: 1, Share: 5, Held: map[string]int{"b": 5}}); got != "a*" {
		w.Errorf("after a failure: %s", got)
	}
	must(w.store.Cancel(w.Context(), "b", leased[0].Job.ID))(w)
	again, _, err := w.store.Retry(w.Context(), "b", leased[0].Job.ID, newID(), jobs.Idempotency{})
	if err != nil {
		w.Fatal(err)
	}
	w.reopen()
	got, leased = next(9, jobs.Places{Max: 9})
	if !strings.HasSuffix(got, "b*") || strings.Contains(got, "-") {
		w.Errorf("a retry: %s", got)
	}
	if last := leased[len(leased)-1].Job; last.Hosts.Allow[0] != "a.test" || last.Hosts.Deny[0] != "b.test" {
		w.Errorf("the retry %s of a job is %+v", again.ID, last)
	}
}

func testRunAt(w *world) {
	far := queued()
	far.RunAt = time.Now().Add(time.Hour)
	w.submit("a", far)
	soon := queued()
	soon.RunAt = time.Now().Add(30 * time.Millisecond)
	j := w.submit("a", soon)
	if got := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 9, TTL: time.Hour}); len(got) != 0 {
		w.Fatal("claimed a job before its time")
	}
	promote := func() (out jobs.Swept, is func(time.Time) bool) {
		sent := time.Now()
		out = must(w.store.PromoteDue(w.Context(), 10))(w)
		return out, func(at time.Time) bool { // counted from the command, which lies between sent and now
			return out.Waits && !sent.Add(out.Next).After(at) && !time.Now().Add(out.Next).Before(at)
		}
	}
	out, is := promote()
	if out.N == 0 { // the machine was quick enough to see it waiting
		if !is(j.RunAt.Time) {
			w.Errorf("next is due in %v, want at %v", out.Next, j.RunAt)
		}
		<-time.After(out.Next)
		out, is = promote()
	}
	if out.N != 1 || !is(jobs.At(far.RunAt).Time) {
		w.Errorf("promoted %+v, want the next at %v", out, far.RunAt)
	}
	if l := w.claim("a"); l.Job.ID != j.ID {
		w.Errorf("claimed %s, want %s", l.Job.ID, j.ID)
	}
}

// testClaimRace: no job is ever leased twice.
func testClaimRace(w *world) { w.claimRace(200, w) }

// claimRace has eight holders, spread over the nodes, claim n jobs between them.
func (w *world) claimRace(n int, nodes ...*world) {
	w.Helper()
	w.submitMany("a", n, queued())
	var mu sync.Mutex
	holders := make(map[string]int) // guarded by mu
	var all sync.WaitGroup
	for i := range 8 {
		node := nodes[i%len(nodes)]
		all.Go(func() {
			for {
				got, err := node.store.Claim(w.Context(), jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 7, TTL: time.Hour})
				if err != nil {
					w.Errorf("claim: %v", err)
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, l := range got {
					holders[l.Job.ID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(holders) != n {
		w.Errorf("claimed %d jobs, want %d", len(holders), n)
	}
	for id, times := range holders {
		if times != 1 {
			w.Errorf("job %s was leased %d times", id, times)
		}
	}
}
