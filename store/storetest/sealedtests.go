package storetest

import (
	"errors"
	"fmt"

	"github.com/jobcast/jobcast/jobs"
)

func secretOf(client, name, data string) jobs.Sealed {
	return jobs.Sealed{Kind: jobs.SealedSecret, Client: client, Name: name, Size: 3, KeyID: []byte("key"), Data: []byte(data)}
}

// put keeps x, which must be new or not.
func (w *world) put(x jobs.Sealed, anew bool) jobs.Sealed {
	w.Helper()
	kept, created, err := w.store.PutSealed(w.Context(), x)
	if err != nil || created != anew {
		w.Fatalf("keep %s: new %v, error %v", x.Name, created, err)
	}
	return kept
}

// names lists what a client has of a kind.
func (w *world) names(kind jobs.SealedKind, client, after string, limit int) (names []string) {
	w.Helper()
	for _, x := range must(w.store.SealedPage(w.Context(), kind, client, after, limit))(w) {
		names = append(names, x.Name)
		if x.Data != nil {
			w.Errorf("a list holds the data of %s", x.Name)
		}
	}
	return names
}

// testSealed: what is sealed is kept by kind, client and name, listed by name, replaced and
// forgotten; nobody sees another client's.
func testSealed(w *world) {
	first := secretOf("a", "b", "one")
	first.Places = []string{"x.test", "*.y.test"}
	kept := w.put(first, true)
	w.put(secretOf("a", "B", "two"), true)
	w.put(secretOf("a", "c", "three"), true)
	w.put(secretOf("z", "b", "four"), true)
	again := w.put(secretOf("a", "b", "five"), false)
	if kept.CreatedAt.IsZero() || !kept.CreatedAt.Equal(kept.UpdatedAt) || !again.CreatedAt.Equal(kept.CreatedAt) || again.UpdatedAt.Before(kept.UpdatedAt) {
		w.Errorf("times %v and %v, then %v and %v", kept.CreatedAt, kept.UpdatedAt, again.CreatedAt, again.UpdatedAt)
	}
	w.put(first, false)
	w.reopen()
	got := must(w.store.Sealed(w.Context(), jobs.SealedSecret, "a", "b"))(w)
	first.CreatedAt, first.UpdatedAt = kept.CreatedAt, got.UpdatedAt
	if diff := difference(first, got); diff != "" {
		w.Errorf("sealed (-want +got):\n%s", diff)
	}
	lists := [][]string{
		w.names(jobs.SealedSecret, "a", "", 10), w.names(jobs.SealedSecret, "a", "B", 1), w.names(jobs.SealedSecret, "a", "c", 1),
		w.names(jobs.SealedSecret, "nobody", "", 10), w.names("other", "a", "", 10),
	}
	if diff := difference([][]string{{"B", "b", "c"}, {"b"}, nil, nil, nil}, lists); diff != "" {
		w.Errorf("lists (-want +got):\n%s", diff)
	}
	if n := must(w.store.SealedOtherwise(w.Context(), []byte("key")))(w); n != 0 {
		w.Errorf("%d have another key", n)
	}
	if n := must(w.store.SealedOtherwise(w.Context(), []byte("new")))(w); n != 4 {
		w.Errorf("%d have another key than a new one, want all 4", n)
	}
	w.ok(w.store.DeleteSealed(w.Context(), jobs.SealedSecret, "a", "b"))
	for client, name := range map[string]string{"a": "b", "z": "c", "nobody": "b"} {
		if err := w.store.DeleteSealed(w.Context(), jobs.SealedSecret, client, name); !errors.Is(err, jobs.ErrNotSealed) {
			w.Errorf("delete %s of %s: %v", name, client, err)
		}
		if _, err := w.store.Sealed(w.Context(), jobs.SealedSecret, client, name); !errors.Is(err, jobs.ErrNotSealed) {
			w.Errorf("%s of %s: %v", name, client, err)
		}
	}
	if got := must(w.store.Sealed(w.Context(), jobs.SealedSecret, "z", "b"))(w); string(got.Data) != "four" {
		w.Errorf("the one of the other client holds %q", got.Data)
	}
}

// testSealedWith: a browser state is kept with the completion of a job and with nothing else,
// and one for which there is no room keeps the job from being completed.
func testSealedWith(w *world) {
	state := func(name string) *jobs.Sealed {
		return &jobs.Sealed{Kind: jobs.SealedState, Client: "a", Name: name, Places: []string{"https://x.test"}, KeyID: []byte("key"), Data: []byte("data")}
	}
	settle := func(s jobs.Step) error {
		w.Helper()
		answers, _, err := w.store.Settle(w.Context(), []jobs.Step{s}, nil)
		w.ok(err)
		return answers[0].Err
	}
	w.submit("a", queued())
	lost := w.claim("a").Lease
	w.ok(w.store.Release(w.Context(), lost))
	lease := w.claim("a").Lease
	if err := settle(jobs.Step{Lease: lost, Outcome: jobs.AttemptCompleted, State: state("lost")}); !errors.Is(err, jobs.ErrLeaseLost) {
		w.Errorf("a lost lease: %v", err)
	}
	w.ok(settle(jobs.Step{Lease: lease, Outcome: jobs.AttemptCompleted, State: state("kept")}))
	w.ok(settle(jobs.Step{Lease: lease, Outcome: jobs.AttemptCompleted, State: state("again")}))
	if diff := difference([]string{"kept"}, w.names(jobs.SealedState, "a", "", 10)); diff != "" {
		w.Errorf("states (-want +got):\n%s", diff)
	}
	most, what := jobs.SealedState.Max()
	for i := range most - 1 {
		w.put(*state(fmt.Sprint("s", i)), true)
	}
	w.submit("a", queued())
	lease = w.claim("a").Lease
	var no *jobs.LimitError
	if err := settle(jobs.Step{Lease: lease, Outcome: jobs.AttemptCompleted, State: state("more")}); !errors.As(err, &no) || no.What != what {
		w.Errorf("one too many: %v", err)
	}
	w.wantStatus(w.get("a", lease.JobID), jobs.Processing)
	w.ok(settle(jobs.Step{Lease: lease, Outcome: jobs.AttemptCompleted, State: state("kept")}))
}

// testSealedLimits: a client has so many of a kind, and none that the storage has no room for.
func testSealedLimits(w *world) {
	most, what := jobs.SealedSecret.Max()
	for i := range most {
		w.put(secretOf("a", fmt.Sprint("s", i), "x"), true)
	}
	_, _, err := w.store.PutSealed(w.Context(), secretOf("a", "more", "x"))
	var no *jobs.LimitError
	if !errors.As(err, &no) || *no != (jobs.LimitError{What: what, Max: most, Used: most, Asked: 1}) {
		w.Errorf("one too many: %v", err)
	}
	w.put(secretOf("a", "s1", "y"), false)
	w.put(secretOf("b", "more", "x"), true)
	w.limit(jobs.Limits{Storage: 64 << 20})
	if _, _, err := w.store.PutSealed(w.Context(), secretOf("c", "large", string(make([]byte, 64<<20)))); !errors.Is(err, jobs.ErrStorageFull) {
		w.Errorf("without room: %v", err)
	}
	if n := must(w.store.CountClients(w.Context()))(w); n != 2 {
		w.Errorf("%d clients, want a and b", n)
	}
}
