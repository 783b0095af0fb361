package storetest

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// settle carries out steps and a claim that must not fail as a whole.
func (w *world) settle(next *jobs.Claim, steps ...jobs.Step) ([]jobs.Settled, []jobs.Leased) {
	w.Helper()
	answers, claimed, err := w.store.Settle(w.Context(), steps, next)
	if err != nil || len(answers) != len(steps) {
		w.Fatalf("settle: %d answers for %d steps, error %v", len(answers), len(steps), err)
	}
	return answers, claimed
}

// after is a claim of one job of the queue "q" that follows the end of l.
func after(l jobs.Leased) *jobs.Claim {
	return &jobs.Claim{Client: l.Lease.Client, Queues: []string{"q"}, Max: 1, TTL: time.Hour, After: l.Lease}
}

func completes(l jobs.Leased) jobs.Step {
	return jobs.Step{Lease: l.Lease, Outcome: jobs.AttemptCompleted}
}

// fails ends an attempt that another follows at once.
func fails(l jobs.Lease) jobs.Step {
	return jobs.Step{Lease: l, Outcome: jobs.AttemptFailed, Failure: jobs.Failure{Class: "X", Message: "m", Retry: true}}
}

// wantErrs checks how steps were answered; nil: they were carried out.
func (w *world) wantErrs(answers []jobs.Settled, want ...error) {
	w.Helper()
	for i, a := range answers {
		if !errors.Is(a.Err, want[i]) {
			w.Errorf("step %d was answered with %v, want %v", i, a.Err, want[i])
		}
	}
}

// testSettle: steps of several attempts and a claim share one commit, each step is answered
// for itself, and what is refused leaves no trace.
func testSettle(w *world) {
	w.submitMany("a", 9, queued())
	held := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 7, TTL: time.Hour})
	events := []jobs.Body{jobs.Progressed(50, "half", "s"), jobs.Logged("info", "x")}
	lost, foreign := held[0], held[0]
	lost.Lease.Token += "x"
	foreign.Lease.Client = "b"
	step := func(i int, o jobs.Outcome) jobs.Step {
		return jobs.Step{Lease: held[i].Lease, Events: events, Outcome: o}
	}
	done, failed, large := step(1, jobs.AttemptCompleted), step(2, jobs.AttemptFailed), step(4, jobs.AttemptCompleted)
	done.Result, failed.Failure = json.RawMessage(`{"n":1}`), jobs.Failure{Class: "X", Message: "m", Retry: true, Backoff: jobs.Backoff{Least: time.Hour}}
	large.Result = json.RawMessage(`{"x":"` + strings.Repeat("x", 64<<10) + `"}`)
	var commits [][]eventlog.Event
	w.check = func(events []eventlog.Event) { commits = append(commits, events) }
	answers, claimed := w.settle(&jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 2, TTL: time.Hour},
		step(0, jobs.AttemptGoesOn), jobs.Step{Lease: lost.Lease, Events: events}, done, jobs.Step{Lease: foreign.Lease, Events: events}, failed,
		step(3, jobs.AttemptReleased), large, step(5, jobs.AttemptUnclaimed), jobs.Step{Lease: held[6].Lease})
	w.check = nil
	if len(commits) != 1 || len(commits[0]) != 5*2+4+2 {
		w.Errorf("%d commits, the first one of %d events", len(commits), len(commits[0]))
	}
	var invalid *jobs.InvalidError
	if !errors.As(answers[6].Err, &invalid) || invalid.Fields[0].Pointer != "/result" {
		w.Errorf("a large result: %v", answers[6].Err)
	}
	w.wantErrs(answers, nil, jobs.ErrLeaseLost, nil, jobs.ErrNotFound, nil, nil, answers[6].Err, nil, nil)
	ended := answers[2].Job
	w.wantStatus(ended, jobs.Completed)
	if diff := cmp.Diff(must(w.store.Brief(w.Context(), "a", ended.ID))(w), ended); diff != "" {
		w.Errorf("completed job (-brief +answer):\n%s", diff)
	}
	w.wantStatus(answers[4].Job, jobs.Pending)
	for i, a := range answers {
		goesOn, ends := i == 0 || i == 8, i == 2 || i == 4
		if (a.Job.ID != "") != ends || (a.Receipt.Lasts == time.Hour) != goesOn {
			w.Errorf("step %d was answered with %+v", i, a)
		}
	}
	const created, started, progress, line = eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeProgress, eventlog.TypeLog
	w.wantTypes("a", held[0].Job.ID, created, started, progress, line)
	w.wantTypes("a", held[1].Job.ID, created, started, progress, line, eventlog.TypeCompleted)
	w.wantTypes("a", held[2].Job.ID, created, started, progress, line, eventlog.TypeRetrying)
	for _, i := range []int{3, 5} { // they were claimed again
		w.wantTypes("a", held[i].Job.ID, created, started, progress, line, eventlog.TypeRetrying, started)
	}
	w.wantTypes("a", held[4].Job.ID, created, started)
	if newest := w.history("a", held[0].Job.ID); answers[0].Receipt.LastEventID != newest[len(newest)-1].ID {
		w.Errorf("receipt is %+v", answers[0].Receipt)
	}
	if len(claimed) != 2 || claimed[0].Job.ID != held[3].Job.ID || claimed[1].Job.ID != held[5].Job.ID || claimed[0].Job.Attempt != 1 {
		w.Errorf("claimed %+v, want the two jobs handed back", claimed)
	}
	for what, l := range map[string]jobs.Leased{"refused": held[4], "renewed": held[6], "claimed": claimed[0]} {
		if _, err := w.store.Extend(w.Context(), l.Lease); err != nil {
			w.Errorf("the lease of a %s job: %v", what, err)
		}
	}
}

// testSettleAgain: a settlement whose answer was lost may be repeated: what it ended is
// answered as it was, without an event, and what went on is renewed.
func testSettleAgain(w *world) {
	w.submitMany("a", 3, queued())
	held := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 3, TTL: time.Hour})
	failed := fails(held[1].Lease)
	failed.Failure.Retry = false
	steps := []jobs.Step{completes(held[0]), failed, {Lease: held[2].Lease}}
	steps[0].Events, steps[1].Events = []jobs.Body{jobs.Logged("info", "x")}, []jobs.Body{jobs.Logged("info", "y")}
	first, _ := w.settle(nil, steps...)
	before := w.page(eventlog.Room{Client: "a"}, 0, 1000)
	again, _ := w.settle(nil, steps...)
	w.wantErrs(again, nil, nil, nil)
	for i := range steps {
		if diff := cmp.Diff(first[i].Job, again[i].Job); diff != "" {
			w.Errorf("step %d again (-first +second):\n%s", i, diff)
		}
	}
	steps[0].Outcome, steps[1].Outcome = jobs.AttemptFailed, jobs.AttemptCompleted
	other, _ := w.settle(nil, steps...)
	w.wantErrs(other, jobs.ErrLeaseLost, jobs.ErrLeaseLost, nil)
	both, _ := w.settle(nil, completes(held[2]), completes(held[2]), jobs.Step{Lease: held[2].Lease})
	w.wantErrs(both, nil, nil, jobs.ErrLeaseLost)
	if after := w.page(eventlog.Room{Client: "a"}, 0, 1000); len(after) != len(before)+1 {
		w.Errorf("repeated steps left %d events, want the end of one job", len(after)-len(before))
	}
}

// testSettleBytes: jobs with large members are no larger together than a page in the answers
// of one settlement, however many end.
func testSettleBytes(w *world) {
	const n = 40
	spec := queued()
	spec.Payload = json.RawMessage(`"` + strings.Repeat("x", 40_000) + `"`)
	w.submitMany("a", n, spec)
	var steps []jobs.Step
	for len(steps) < n {
		for _, l := range w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: n, TTL: time.Hour}) {
			steps = append(steps, completes(l))
		}
	}
	for range 2 { // the second time they have ended
		size := 0
		answers, _ := w.settle(nil, steps...)
		for _, a := range answers {
			size += a.Job.Size()
			if len(a.Job.Payload) > 0 || len(a.Job.Omitted) != 1 || a.Job.Omitted[0] != "payload" {
				w.Fatalf("a job has %d bytes of payload; it lacks %v", len(a.Job.Payload), a.Job.Omitted)
			}
		}
		if size > jobs.MaxPageBytes {
			w.Errorf("%d bytes", size)
		}
	}
	if one, _ := w.settle(nil, steps[0]); len(one[0].Job.Payload) == 0 {
		w.Error("a single job is answered without its payload")
	}
}

// testNextClaim: a claim that follows an end is made by the call that makes the end, and
// answered again to whoever repeats that call, while the lease is open.
func testNextClaim(w *world) {
	w.submitMany("a", 4, queued())
	l := w.claim("a")
	end := completes(l)
	_, claimed := w.settle(after(l), end)
	if len(claimed) != 1 || claimed[0].Job.Attempt != 1 || claimed[0].Job.Status != jobs.Processing || claimed[0].Lasts != time.Hour || len(claimed[0].Lease.Token) < 22 {
		w.Fatalf("claimed %+v", claimed)
	}
	next := claimed[0]
	repeat := func(what string, l jobs.Leased, end jobs.Step, want ...jobs.Leased) {
		w.Helper()
		before := len(w.page(eventlog.Room{Client: "a"}, 0, 1000))
		answers, again := w.settle(after(l), end)
		w.wantErrs(answers, nil)
		if diff := cmp.Diff(want, again); len(want)+len(again) > 0 && diff != "" {
			w.Errorf("%s (-first +again):\n%s", what, diff)
		}
		if n := len(w.page(eventlog.Room{Client: "a"}, 0, 1000)) - before; n != 0 {
			w.Errorf("%s: the repeated call left %d events", what, n)
		}
	}
	repeat("again", l, end, next)
	if again := w.claims(*after(l)); len(again) != 1 || again[0].Lease != next.Lease {
		w.Errorf("the claim alone: %+v", again)
	}
	w.reopen()
	next.Job.Cursor = w.get("a", next.Job.ID).Cursor
	repeat("after a restart", l, end, next)
	for what, c := range map[string]*jobs.Claim{
		"another queue":       {Client: "a", Queues: []string{"p"}, Max: 1, After: l.Lease},
		"another client":      {Client: "b", Queues: []string{"q"}, Max: 1, After: jobs.Lease{Client: "b", JobID: l.Job.ID, Token: l.Lease.Token}},
		"another lease":       {Client: "a", Queues: []string{"q"}, Max: 1, After: jobs.Lease{Client: "a", JobID: l.Job.ID, Token: "x"}},
		"another job's lease": {Client: "a", Queues: []string{"q"}, Max: 1, After: jobs.Lease{Client: "a", JobID: next.Job.ID, Token: l.Lease.Token}},
		"an open lease":       after(next),
	} {
		if _, got := w.settle(c); len(got) != 0 {
			w.Errorf("%s was answered with %+v", what, got)
		}
	}
	none := *after(l)
	if none.Max = 0; len(w.claims(none)) != 1 {
		w.Error("a claim of none did not answer what was claimed")
	}
	lost := next
	lost.Lease.Token += "x"
	if answers, got := w.settle(after(lost), completes(lost)); len(got) != 0 || !errors.Is(answers[0].Err, jobs.ErrLeaseLost) {
		w.Errorf("an end that was refused claimed %+v", got)
	}

	end2 := completes(next) // the chain goes on; what was claimed first has ended
	_, claimed = w.settle(after(next), end2)
	if len(claimed) != 1 || claimed[0].Lease.Token == next.Lease.Token {
		w.Fatalf("claimed %+v", claimed)
	}
	repeat("the next one has ended", l, end)
	repeat("the one after it is open", next, end2, claimed[0])
	w.ok(w.store.Release(w.Context(), claimed[0].Lease))
	repeat("the one after it was handed back", next, end2)
	other := w.claim("a")
	repeat("somebody else has it", next, end2)

	left := after(other) // an end that claims nothing has claimed nothing for good
	left.Max = 0
	w.settle(left, completes(other))
	repeat("it claimed none", other, completes(other))
	if rest := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 9, TTL: time.Hour}); len(rest) != 1 {
		w.Errorf("%d jobs are left, want 1", len(rest))
	}
}

// testNextClaimFails: a failed attempt may be followed by the next one of the same job.
func testNextClaimFails(w *world) {
	j := w.submit("a", queued())
	l := w.claim("a")
	_, claimed := w.settle(after(l), fails(l.Lease))
	if len(claimed) != 1 || claimed[0].Job.ID != j.ID || claimed[0].Job.Attempt != 2 {
		w.Fatalf("claimed %+v", claimed)
	}
	answers, again := w.settle(after(l), fails(l.Lease))
	w.wantErrs(answers, nil)
	if diff := cmp.Diff(claimed, again); diff != "" {
		w.Errorf("again (-first +second):\n%s", diff)
	}
	w.wantStatus(answers[0].Job, jobs.Processing) // as it is now
	second := claimed[0]
	_, claimed = w.settle(nil, fails(second.Lease))
	if len(claimed) != 0 {
		w.Errorf("claimed %+v unasked", claimed)
	}
	answers, again = w.settle(after(l), fails(l.Lease))
	if !errors.Is(answers[0].Err, jobs.ErrLeaseLost) || len(again) != 0 {
		w.Errorf("once another attempt has ended: %v, %+v", answers[0].Err, again)
	}
	if _, again = w.settle(after(second), fails(second.Lease)); len(again) != 0 {
		w.Errorf("an end that came without a claim has claimed %+v", again)
	}
	w.wantTypes("a", j.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeRetrying, eventlog.TypeStarted, eventlog.TypeRetrying)
}

// testNextClaimRefused: a step that is refused, of an attempt that has ended, does not renew
// what was claimed with that end: whoever did not get it may hand it back.
func testNextClaimRefused(w *world) {
	w.submitMany("a", 2, queued())
	l := w.claim("a")
	_, claimed := w.settle(after(l), completes(l))
	other := fails(l.Lease)
	if answers, got := w.settle(after(l), other); len(got) != 0 || !errors.Is(answers[0].Err, jobs.ErrLeaseLost) {
		w.Errorf("an end that was refused, %v, is answered with %+v", answers[0].Err, got)
	}
	if _, got := w.settle(after(l), completes(l), other); len(got) != 0 {
		w.Errorf("an end that came with one that was refused is answered with %+v", got)
	}
	answers, _ := w.settle(nil, jobs.Step{Lease: claimed[0].Lease, Outcome: jobs.AttemptUnclaimed})
	if w.wantErrs(answers, nil); w.get("a", claimed[0].Job.ID).Attempt != 0 {
		w.Error("what was claimed and handed back counts as an attempt")
	}
}

// testUnclaimed: a claim that nobody got is handed back uncounted, and one that somebody
// got after all, by repeating the call or in any other way, is not.
func testUnclaimed(w *world) {
	w.submitMany("a", 2, queued())
	l := w.claim("a")
	_, claimed := w.settle(after(l), completes(l))
	next := claimed[0]
	w.settle(after(l), completes(l)) // now somebody has it
	unclaim := func(l jobs.Leased) error {
		w.Helper()
		answers, _ := w.settle(nil, jobs.Step{Lease: l.Lease, Outcome: jobs.AttemptUnclaimed})
		return answers[0].Err
	}
	if err := unclaim(next); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("a claim that was asked for again was taken back: %v", err)
	}
	must(w.store.Complete(w.Context(), next.Lease, nil))(w)
	j := w.submit("a", queued())
	for range 2 {
		l = w.claim("a")
		if err := unclaim(l); err != nil {
			w.Error(err)
		}
		if err := unclaim(l); !errors.Is(err, jobs.ErrLeaseLost) {
			w.Errorf("twice: %v", err)
		}
	}
	if got := w.get("a", j.ID); got.Attempt != 0 || got.Status != jobs.Pending || *got.Error != jobs.ClassInterrupted {
		w.Errorf("job is %+v", got)
	}
	l = w.claim("a")
	must(w.store.Append(w.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "x")}))(w)
	if err := unclaim(l); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("a claim that was used was taken back: %v", err)
	}
}

// testNextClaimRace: one call, made by several at the same time, claims one job.
func testNextClaimRace(w *world) { w.nextClaimRace(w) }

func (w *world) nextClaimRace(nodes ...*world) {
	w.Helper()
	const rounds, callers = 12, 4
	w.submitMany("a", rounds*callers, queued())
	l := w.claim("a")
	for range rounds {
		got := make([][]jobs.Leased, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				answers, claimed, err := nodes[i%len(nodes)].store.Settle(w.Context(), []jobs.Step{completes(l)}, after(l))
				if err != nil || answers[0].Err != nil {
					w.Errorf("settle: %v, %v", err, answers)
				}
				got[i] = claimed
			})
		}
		all.Wait()
		for _, one := range got {
			if len(one) != 1 || one[0].Lease != got[0][0].Lease {
				w.Fatalf("callers got %+v and %+v", got[0], one)
			}
		}
		l = got[0][0]
	}
	if n := must(w.store.Counts(w.Context()))(w); n[jobs.Processing] != 1 || n[jobs.Completed] != rounds {
		w.Errorf("after %d ends: %v", rounds, n)
	}
}

// testSettleFull: while the storage is full, a step whose events have no room is refused as
// a whole, ends without events are not, a claim leaves out what it would announce, and while not even ends have room nothing is claimed.
func testSettleFull(w *world) {
	w.submitMany("a", 4, queued())
	held := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 3, TTL: time.Hour})
	acting := w.submit("b", jobs.Spec{Actions: []byte(`[{"type":"wait","ms":1}]`), MaxAttempts: 1, Timeout: time.Hour})
	w.reopen() // a log that was written anew takes less
	used := must(w.store.Filled(w.Context()))(w).Storage
	w.limit(jobs.Limits{Storage: used + 1}) // the part for ends is all that is left
	w.settle(&jobs.Claim{Max: 1, TTL: time.Hour, Node: "n", Announce: true})
	w.wantTypes("b", acting.ID, eventlog.TypeCreated, eventlog.TypeStarted) // its progress is left out
	full := completes(held[0])
	full.Events = []jobs.Body{jobs.Logged("info", strings.Repeat("x", 4<<10))}
	answers, _ := w.settle(nil, full, completes(held[1]))
	var no *jobs.LimitError
	if !errors.As(answers[0].Err, &no) || no.What != jobs.LimitStorage || answers[1].Err != nil {
		w.Errorf("answers are %v, %v", answers[0].Err, answers[1].Err)
	}
	w.wantTypes("a", held[0].Job.ID, eventlog.TypeCreated, eventlog.TypeStarted)
	w.limit(jobs.Limits{Storage: 1})
	end := completes(held[0])
	answers, claimed := w.settle(after(held[0]), end)
	if w.wantErrs(answers, nil); len(claimed) != 0 {
		w.Errorf("claimed %+v without room for its end", claimed)
	}
	w.limit(jobs.Limits{})
	if _, claimed = w.settle(after(held[0]), end); len(claimed) != 0 {
		w.Errorf("the same call claimed %+v once there was room", claimed)
	}
	_, claimed = w.settle(after(held[2]), completes(held[2]))
	if len(claimed) != 1 {
		w.Fatalf("claimed %d jobs", len(claimed))
	}
	w.limit(jobs.Limits{Storage: 1})
	if _, again := w.settle(after(held[2]), completes(held[2])); len(again) != 1 || again[0].Lease != claimed[0].Lease {
		w.Errorf("what was claimed while there was room: %+v", again)
	}
}
