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

// A client may run as many jobs as it likes under as many names: what is told of them has a
// bound, and those that have claimed lately are told of in any case.
func TestWorkersThatAreToldOfAreBounded(t *testing.T) {
	held := make(map[string]int64)
	for i := range 2 * MaxWorkers {
		held[fmt.Sprint("w", i)] = 1
	}
	got := workerStates([]sighting{{"w42", "q", time.Now()}, {"z", "q", time.Now()}}, held)
	found := make(map[string]WorkerState)
	for _, w := range got {
		found[w.Name] = w
	}
	if len(found) != MaxWorkers || len(got) != MaxWorkers {
		t.Errorf("%d workers of %d names are told of", len(got), len(found))
	}
	if found["z"].Name == "" || found["w42"].Running != 1 || len(found["w42"].Queues) != 1 || found["w0"].Running != 1 {
		t.Errorf("z, w42 and w0 are %v, %v and %v", found["z"], found["w42"], found["w0"])
	}
}
