package storetest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// testSweepsTellWhere: a sweep names each queue in which a job became claimable by it,
// once, and no other.
func testSweepsTellWhere(w *world) {
	lease := func(client, queue, node string, ttl time.Duration) {
		w.Helper()
		c := jobs.Claim{Client: client, Max: 9, TTL: ttl, Node: node}
		if queue != "" {
			c.Queues = []string{queue}
		}
		if len(w.claims(c)) == 0 {
			w.Fatalf("nothing to claim in %q of %s", queue, client)
		}
	}
	steps := queued()
	steps.Queue, steps.Payload, steps.Actions = "", nil, json.RawMessage(`[{"type":"wait","ms":1}]`)
	last, other := queued(), queued()
	last.MaxAttempts, last.Queue = 1, "last"
	other.Queue = "p"
	w.submitMany("a", 2, queued())
	w.submit("a", other)
	w.submit("b", other)
	w.submit("a", last)
	w.submit("a", steps)
	w.submit("b", steps)
	for queue, node := range map[string]string{"q": "", "last": "", "": "n1"} {
		lease("a", queue, node, time.Millisecond)
	}
	lease("b", "p", "", time.Millisecond)
	lease("b", "", "n1", time.Millisecond)
	lease("a", "p", "", time.Hour)
	where := sweepAll(w, 6, w.store.ExpireLeases)
	if d := difference([]jobs.Source{{}, {Client: "a", Queue: "q"}, {Client: "b", Queue: "p"}}, where); d != "" {
		w.Error("ended leases:", d)
	}

	far := queued()
	far.RunAt, far.Queue = w.wall().Add(24*time.Hour), "far"
	w.submit("c", far)
	soon := w.wall().Add(time.Hour)
	for _, spec := range []jobs.Spec{queued(), queued(), other, steps} {
		spec.RunAt = soon
		w.submit("c", spec)
	}
	w.setClock(2 * time.Hour)
	where = sweepAll(w, 4, w.store.PromoteDue)
	if d := difference([]jobs.Source{{}, {Client: "c", Queue: "p"}, {Client: "c", Queue: "q"}}, where); d != "" {
		w.Error("due jobs:", d)
	}
}

// sweepAll sweeps until so many jobs have changed, and returns where they can be
// claimed, in order.
func sweepAll(w *world, want int, sweep func(context.Context, int) (jobs.Swept, error)) (where []jobs.Source) {
	w.Helper()
	for n := 0; n < want; {
		out, err := sweep(w.Context(), 10)
		if err != nil || out.N == 0 && !out.Waits {
			w.Fatalf("%d of %d jobs have changed: %v", n, want, err)
		}
		n += out.N
		for i, s := range out.Ready {
			if slices.Contains(out.Ready[:i], s) {
				w.Errorf("%v is named twice", s)
			}
			if !slices.Contains(where, s) {
				where = append(where, s)
			}
		}
		if n < want {
			<-time.After(out.Next)
		}
	}
	slices.SortFunc(where, func(x, y jobs.Source) int {
		return strings.Compare(x.Client+" "+x.Queue, y.Client+" "+y.Queue)
	})
	return where
}
