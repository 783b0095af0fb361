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

// stored is an artifact of a job whose bytes are in a file.
func stored(job, name, file string) jobs.StoredArtifact {
	return jobs.StoredArtifact{
		Artifact: jobs.Artifact{Name: name, Size: int64(len(file)), ContentType: "text/plain", URL: jobs.ArtifactURL("", job, name)},
		File:     file, Digest: [32]byte{byte(len(file))},
	}
}

func testArtifacts(w *world) {
	l := w.running("a")
	one, two := stored(l.Job.ID, "one.txt", "f1"), stored(l.Job.ID, "two.txt", "f02")
	r := must(w.store.AddArtifact(w.Context(), l.Lease, one, nil))(w)
	must(w.store.AddArtifact(w.Context(), l.Lease, two, nil))(w)
	if diff := difference(one, must(w.store.Artifact(w.Context(), "a", l.Job.ID, "one.txt"))(w)); diff != "" {
		w.Errorf("artifact (-want +got):\n%s", diff)
	}
	events := w.history("a", l.Job.ID)
	if r.LastEventID != events[2].ID || r.Lasts != time.Hour {
		w.Errorf("receipt %+v", r)
	}
	if d := w.data(events[2]); d["name"] != "one.txt" || d["size"] != 2.0 || d["contentType"] != "text/plain" || d["url"] != one.URL {
		w.Errorf("event %s", events[2].JSON)
	}
	again := stored(l.Job.ID, "one.txt", "file3")
	must(w.store.AddArtifact(w.Context(), l.Lease, again, nil))(w)
	w.wantTypes("a", l.Job.ID, eventlog.TypeCreated, eventlog.TypeStarted, eventlog.TypeArtifact, eventlog.TypeArtifact, eventlog.TypeArtifact)
	if diff := difference([]jobs.Artifact{again.Artifact, two.Artifact}, w.get("a", l.Job.ID).Artifacts); diff != "" {
		w.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if g := must(w.store.Garbage(w.Context(), "", 10))(w); !slices.Equal(g, []string{"f1"}) {
		w.Errorf("garbage %v, want the replaced file", g)
	}
	if k := must(w.store.KnownFiles(w.Context(), []string{"f1", "f02", "file3", "other"}))(w); !slices.Equal(k, []string{"f02", "file3"}) {
		w.Errorf("known %v", k)
	}
	if err := w.store.ForgetGarbage(w.Context(), []string{"f1", "never"}); err != nil {
		w.Error(err)
	}
	if g := must(w.store.Garbage(w.Context(), "", 10))(w); len(g) != 0 {
		w.Errorf("garbage %v after it was forgotten", g)
	}
	for what, only := range map[string]*jobs.Replaced{"another file": {File: "f1"}, "none": {}} {
		if _, err := w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "one.txt", "f6"), only); !errors.Is(err, jobs.ErrArtifactChanged) {
			w.Errorf("in the place of %s: %v", what, err)
		}
	}
	if _, err := w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "new", "f7"), &jobs.Replaced{File: "f1"}); !errors.Is(err, jobs.ErrArtifactChanged) {
		w.Errorf("in the place of what is not there: %v", err)
	}
	if g := must(w.store.Garbage(w.Context(), "", 10))(w); len(g) != 0 {
		w.Errorf("garbage %v of what was refused", g)
	}
	file4 := stored(l.Job.ID, "one.txt", "file4")
	must(w.store.AddArtifact(w.Context(), l.Lease, file4, &jobs.Replaced{File: "file3"}))(w)
	must(w.store.AddArtifact(w.Context(), l.Lease, again, &jobs.Replaced{File: "file4"}))(w)
	must(w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "new", "f7"), &jobs.Replaced{}))(w)
	bad := l.Lease
	bad.Token += "x"
	for what, err := range map[string]error{
		"a wrong token":    errOf(w.store.AddArtifact(w.Context(), bad, stored(l.Job.ID, "x", "f4"), nil)),
		"an absent name":   errOf(w.store.Artifact(w.Context(), "a", l.Job.ID, "none")),
		"an absent job":    errOf(w.store.Artifact(w.Context(), "a", newID(), "one.txt")),
		"another's job":    errOf(w.store.Artifact(w.Context(), "b", l.Job.ID, "one.txt")),
		"another's client": errOf(w.store.AddArtifact(w.Context(), jobs.Lease{Client: "b", JobID: l.Job.ID, Token: l.Lease.Token}, one, nil)),
	} {
		want := map[string]error{"a wrong token": jobs.ErrLeaseLost, "an absent name": jobs.ErrNoArtifact}[what]
		if want == nil {
			want = jobs.ErrNotFound
		}
		if !errors.Is(err, want) || (want == jobs.ErrNotFound && errors.Is(err, jobs.ErrNoArtifact)) {
			w.Errorf("%s: %v", what, err)
		}
	}
	w.reopen()
	if got := must(w.store.Artifact(w.Context(), "a", l.Job.ID, "one.txt"))(w); got.File != "file3" {
		w.Errorf("after a restart: %+v", got)
	}
}

// testArtifactsGo: with a job its artifacts go, and their files become garbage
// in the same moment.
func testArtifactsGo(w *world) {
	kept, l := w.running("a"), w.running("a")
	must(w.store.AddArtifact(w.Context(), kept.Lease, stored(kept.Job.ID, "n", "kept"), nil))(w)
	must(w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "n", "gone1"), nil))(w)
	must(w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "m", "gone2"), nil))(w)
	j := must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	if len(j.Artifacts) != 2 {
		w.Errorf("the completed job has %v", j.Artifacts)
	}
	if n := w.pruneAll(later()); n != 1 {
		w.Fatalf("pruned %d", n)
	}
	g := must(w.store.Garbage(w.Context(), "", 10))(w)
	slices.Sort(g)
	if !slices.Equal(g, []string{"gone1", "gone2"}) {
		w.Errorf("garbage %v", g)
	}
	if k := must(w.store.KnownFiles(w.Context(), []string{"kept", "gone1"}))(w); !slices.Equal(k, []string{"kept"}) {
		w.Errorf("known %v", k)
	}
}

// testArtifactsFit: a job has at most 50 artifacts, and they fit in its last
// event together with the result, or the end is refused and changes nothing.
func testArtifactsFit(w *world) {
	l := w.running("a")
	for i := range jobs.MaxArtifacts {
		name := fmt.Sprintf("%0*d", jobs.MaxArtifactName, i)
		must(w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, name, fmt.Sprintf("f%d", i)), nil))(w)
	}
	var conflict *jobs.ConflictError
	if _, err := w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, "more", "g"), nil); !errors.As(err, &conflict) {
		w.Errorf("one artifact too many: %v", err)
	}
	must(w.store.AddArtifact(w.Context(), l.Lease, stored(l.Job.ID, fmt.Sprintf("%0*d", jobs.MaxArtifactName, 7), "again"), nil))(w)
	big := json.RawMessage(`{"x":"` + strings.Repeat("x", 60<<10) + `"}`)
	var invalid *jobs.InvalidError
	if _, err := w.store.Complete(w.Context(), l.Lease, big); !errors.As(err, &invalid) {
		w.Errorf("a result that does not fit beside the artifacts: %v", err)
	}
	w.wantStatus(w.get("a", l.Job.ID), jobs.Processing)
	must(w.store.Complete(w.Context(), l.Lease, big[:0]))(w)
	events := w.history("a", l.Job.ID)
	if last := events[len(events)-1]; last.Type != eventlog.TypeCompleted || len(last.JSON) > eventlog.MaxEventBytes {
		w.Errorf("the last event is %s with %d bytes", last.Type, len(last.JSON))
	}
}
