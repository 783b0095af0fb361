package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// text is a JSON string of n bytes.
func text(n int) json.RawMessage {
	return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`)
}

// large is the Spec of a job whose payload has n bytes.
func large(n int) jobs.Spec {
	s := queued()
	s.Payload = text(n)
	return s
}

// testListBytes: a page ends before it exceeds its bytes, but has one job at least,
// and the pages together have every job once, whole.
func testListBytes(w *world) {
	var want []jobs.Job // newest first
	for i := range 12 {
		size := 2_000 + 1_000*(i%3)
		if i == 5 {
			size = 30_000 // larger than a page
		}
		want = append(want, w.submit("a", large(size)))
	}
	slices.Reverse(want)
	for _, maxBytes := range []int{1, 9_000, 12_000, 1 << 20} {
		for _, status := range []jobs.Status{"", jobs.Pending} {
			var got []jobs.Job
			q := jobs.ListQuery{Limit: 200, MaxBytes: maxBytes, Status: status}
			for pages := 0; ; pages++ {
				p := must(w.store.List(w.Context(), "a", q))(w)
				size := 0
				for i := range p.Jobs {
					size += p.Jobs[i].Size()
				}
				if len(p.Jobs) == 0 || len(p.Jobs) > 1 && size > maxBytes {
					w.Fatalf("a page of %d bytes has %d jobs of %d bytes", maxBytes, len(p.Jobs), size)
				}
				got = append(got, p.Jobs...)
				if p.Next == nil {
					break
				}
				if *p.Next != p.Jobs[len(p.Jobs)-1].ID || pages > 20 {
					w.Fatalf("next is %s after %d pages", *p.Next, pages)
				}
				q.After = *p.Next
			}
			if diff := difference(want, got); diff != "" {
				w.Errorf("pages of %d bytes (-want +got):\n%s", maxBytes, diff)
			}
		}
	}
	w.listArtifacts()
}

// listArtifacts: what jobs left behind counts too.
func (w *world) listArtifacts() {
	for range 3 {
		w.submit("b", queued())
		l := w.claim("b")
		for i := range 20 {
			name := fmt.Sprintf("%0128d", i)
			a := jobs.StoredArtifact{File: newID(), Artifact: jobs.Artifact{Name: name, ContentType: "text/plain", URL: jobs.ArtifactURL("", l.Job.ID, name)}}
			must(w.store.AddArtifact(w.Context(), l.Lease, a, nil))(w)
		}
	}
	p := must(w.store.List(w.Context(), "b", jobs.ListQuery{Limit: 200, MaxBytes: 12_000}))(w)
	if len(p.Jobs) != 1 || len(p.Jobs[0].Artifacts) != 20 || p.Next == nil || *p.Next != p.Jobs[0].ID {
		w.Errorf("a page of 12,000 bytes has %d jobs with 20 artifacts of 400 bytes each", len(p.Jobs))
	}
}

// testClaimBytes: an answer to a claim holds no more than a page does; what does not
// fit stays pending, as if nobody had asked.
func testClaimBytes(w *world) {
	const n = 12
	want := make([]string, n)
	for i := range want {
		want[i] = w.submit("a", large(250<<10)).ID
	}
	var got []string
	for len(got) < n {
		leased := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 100, TTL: time.Hour})
		size := 0
		for _, l := range leased {
			got = append(got, l.Job.ID)
			size += l.Job.Size()
			if l.Job.Attempt != 1 || len(l.Job.Payload) != 250<<10 {
				w.Errorf("job %s has attempt %d and a payload of %d bytes", l.Job.ID, l.Job.Attempt, len(l.Job.Payload))
			}
		}
		if len(leased) == 0 || size > jobs.MaxPageBytes {
			w.Fatalf("a claim brought %d jobs of %d bytes", len(leased), size)
		}
		if len(leased) != 4 && len(got) < n {
			w.Errorf("a claim brought %d jobs, and 4 fit", len(leased))
		}
		for _, id := range want[len(got):] {
			if j := w.get("a", id); j.Status != jobs.Pending || j.Attempt != 0 {
				w.Errorf("a job that did not fit is %s with attempt %d", j.Status, j.Attempt)
			}
		}
	}
	if diff := difference(want, got); diff != "" {
		w.Errorf("claimed (-want +got):\n%s", diff)
	}
	huge := w.submit("a", large(2<<20)).ID
	if l := w.claims(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 100, TTL: time.Hour}); len(l) != 1 || l[0].Job.ID != huge {
		w.Errorf("a job larger than a page: %d claimed", len(l))
	}
}

// testBrief: large members are left out in a fixed order, until the rest fits.
func testBrief(w *world) {
	for _, test := range []struct {
		name                      string
		payload, metadata, result int
		omitted                   []string
	}{
		{"small", 100, 100, 100, nil},
		{"just fits", 40_000, 10_000, 10_000, nil},
		{"payload", 200_000, 10_000, 30_000, []string{"payload"}},
		{"payload first", 20_000, 10_000, 60_000, []string{"payload", "result"}},
		{"not a small payload", 1_000, 2_000, 63_000, []string{"result"}},
		{"metadata", 200_000, 16_000, 63_000, []string{"payload", "result"}},
	} {
		spec := large(test.payload)
		spec.Metadata = json.RawMessage(`{"m":` + string(text(test.metadata-6)) + `}`)
		id := w.submit("a", spec).ID
		l := w.claim("a")
		result := json.RawMessage(`{"r":` + string(text(test.result-6)) + `}`)
		done := must(w.store.Complete(w.Context(), l.Lease, result))(w)
		opened := must(w.store.Open(w.Context(), eventlog.Room{Client: "a", Job: id}, nil))(w)
		_, err := w.store.Cancel(w.Context(), "a", id)
		var conflict *jobs.ConflictError
		if !errors.As(err, &conflict) {
			w.Fatalf("%s: cancel: %v", test.name, err)
		}
		want := w.get("a", id)
		want.Abridge(jobs.Unread{})
		if diff := difference(test.omitted, want.Omitted); diff != "" {
			w.Errorf("%s: omitted (-want +got):\n%s", test.name, diff)
		}
		if encoded := must((jobs.Abridged{Job: want}).MarshalJSON())(w); string(opened.Job) != string(encoded) {
			w.Errorf("%s: open gives the job %s, want %s", test.name, opened.Job, encoded)
		}
		for how, got := range map[string]jobs.Job{
			"brief": must(w.store.Brief(w.Context(), "a", id))(w), "complete": done, "conflict": conflict.Job,
		} {
			if diff := difference(want, got); diff != "" {
				w.Errorf("%s: %s (-want +got):\n%s", test.name, how, diff)
			}
			if got.Size() > jobs.MaxBriefBytes {
				w.Errorf("%s: %s has %d bytes", test.name, how, got.Size())
			}
		}
	}
	if _, err := w.store.Brief(w.Context(), "b", newID()); !errors.Is(err, jobs.ErrNotFound) {
		w.Errorf("brief of an unknown job: %v", err)
	}
}

// testRetryLarge: a repetition has all that the first job had, however large.
func testRetryLarge(w *world) {
	spec := large(250 << 10)
	spec.Metadata = json.RawMessage(`{"m":` + string(text(16_000)) + `}`)
	old := w.submit("a", spec)
	must(w.store.Cancel(w.Context(), "a", old.ID))(w)
	id := newID()
	key := jobs.Idempotency{Key: "k", Hash: [32]byte{1}}
	for _, replay := range []bool{false, true} {
		j, replayed, err := w.store.Retry(w.Context(), "a", old.ID, id, key)
		if err != nil || replayed != replay || j.ID != id || j.Payload != nil || !slices.Equal(j.Omitted, []string{"payload"}) {
			w.Errorf("retry: %v %v %v, omitted %v", j.ID, replayed, err, j.Omitted)
		}
	}
	got := w.get("a", id)
	want := old
	want.ID, want.RetryOf, want.CreatedAt, want.Cursor = id, &old.ID, got.CreatedAt, got.Cursor
	if diff := difference(want, got); diff != "" {
		w.Errorf("retry (-want +got):\n%s", diff)
	}
}
