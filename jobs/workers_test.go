package jobs

import (
	"fmt"
	"testing"
	"time"
)

// Of a client, and of all, only so many sightings are kept: the newest, and of the client
// that has most the fewer.
func TestWorkersAreBounded(t *testing.T) {
	var w workers
	now := time.Now()
	w.saw("small", "first", []string{"q"}, now)
	for c := range 12 {
		for i := range sightsOfOne + 10 {
			w.saw(fmt.Sprint("c", c), fmt.Sprint("w", i), []string{"q"}, now.Add(time.Duration(i)))
		}
	}
	if w.n > sightsOfAll {
		t.Errorf("%d sightings are kept", w.n)
	}
	if got := w.of("small", now); len(got) != 1 || got[0].worker != "first" {
		t.Errorf("others have pushed out %v", got)
	}
	got := w.of("c11", now)
	newest := fmt.Sprint("w", sightsOfOne+9)
	if len(got) > sightsOfOne || len(got) == 0 {
		t.Fatalf("%d of one client", len(got))
	}
	found := false
	for _, s := range got {
		found = found || s.worker == newest
		if s.worker == "w0" {
			t.Error("the oldest is kept")
		}
	}
	if !found {
		t.Error("the newest is not kept")
	}
}

// A worker is forgotten for each queue by itself.
func TestWorkersAreForgotten(t *testing.T) {
	var w workers
	now := time.Now()
	w.saw("c", "w", []string{"p", "q"}, now)
	w.saw("c", "w", []string{"q"}, now.Add(time.Minute))
	if got := w.of("c", now.Add(workerMemory)); len(got) != 1 || got[0].queue != "q" {
		t.Errorf("after the first has ended: %v", got)
	}
	if got := w.of("c", now.Add(workerMemory+time.Minute)); len(got) != 0 || w.n != 0 || len(w.clients) != 0 {
		t.Errorf("after both: %v, %d kept", got, w.n)
	}
}
