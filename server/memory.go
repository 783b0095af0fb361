package server

import (
	"context"
	"runtime/debug"
	gauges "runtime/metrics"
	"time"
)

// What trimMemory goes by. The collector lets the heap grow to twice of what lives in
// it, and as long as nothing is allocated it does not run at all: what a crowd of
// clients left behind when they connected would stay for as long as they are idle.
const (
	trimEvery = 10 * time.Second // between two looks
	quietRate = 2 << 20          // bytes allocated in a second; below it the server has little to do: heartbeats of 10,000 make 1 MB
	minWaste  = 2 << 20          // bytes beyond what lives that are not worth a collection
	maxWaste  = 4                // so is less than one in so many of those that live
)

// footprint is how the memory of this process stands.
type footprint struct {
	allocated uint64 // bytes since the start
	live      uint64 // bytes that lived at the last collection
	waste     uint64 // bytes beyond that, and bytes that are free and not given back
}

func readHeap() footprint {
	s := []gauges.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	gauges.Read(s)
	h := footprint{allocated: s[0].Value.Uint64(), live: s[1].Value.Uint64()}
	h.waste = s[3].Value.Uint64()
	if objects := s[2].Value.Uint64(); objects > h.live {
		h.waste += objects - h.live
	}
	return h
}

// wasteful reports whether the server has been quiet since before, and a collection
// is worth its while; stuck is waste that an earlier one did not end.
func (h footprint) wasteful(before footprint, since time.Duration, stuck uint64) bool {
	quiet := float64(h.allocated-before.allocated) < quietRate*since.Seconds()
	return quiet && h.waste > stuck+max(minWaste, h.live/maxWaste)
}

// trimmer looks now and then whether there is waste worth a collection.
type trimmer struct {
	before footprint // at the last look
	stuck  uint64    // waste that the last collection did not end
}

// look collects garbage and gives free memory back to the system if the server was
// quiet since the last look, and reports whether it did.
func (t *trimmer) look(since time.Duration) bool {
	h := readHeap()
	t.stuck = min(t.stuck, h.waste)
	wasteful := h.wasteful(t.before, since, t.stuck)
	if wasteful {
		debug.FreeOSMemory()
		t.stuck = readHeap().waste
	}
	t.before = h
	return wasteful
}

// trimMemory looks every trimEvery until ctx ends.
func trimMemory(ctx context.Context) {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	t := trimmer{before: readHeap()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			t.look(trimEvery)
		}
	}
}
