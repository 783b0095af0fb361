package server

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestWasteful(t *testing.T) {
	const mb = 1 << 20
	for name, tc := range map[string]struct {
		allocated, live, waste, stuck uint64
		want                          bool
	}{
		"quiet, and much to gain":          {15 * mb, 20 * mb, 6 * mb, 0, true},
		"busy":                             {50 * mb, 20 * mb, 20 * mb, 0, false},
		"little to gain":                   {5 * mb, 4 * mb, 2 * mb, 0, false},
		"little beside what lives":         {5 * mb, 20 * mb, 5 * mb, 0, false},
		"a small heap with much beside it": {0, 1 * mb, 3 * mb, 0, true},
		"no more than was not to be had":   {0, 20 * mb, 19 * mb, 15 * mb, false},
		"more than was not to be had":      {0, 20 * mb, 21 * mb, 15 * mb, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := footprint{allocated: 1000 * mb, live: tc.live}
			now := footprint{allocated: before.allocated + tc.allocated, live: tc.live, waste: tc.waste}
			if got := now.wasteful(before, 10*time.Second, tc.stuck); got != tc.want {
				t.Errorf("wasteful: %t", got)
			}
		})
	}
}

// garbage is where TestTrimmer puts what it throws away.
var garbage [][]byte

// While the process allocates much nothing is collected; once it is quiet what it left
// behind goes back to the system, once.
func TestTrimmer(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no collection but ours
	debug.FreeOSMemory()
	stuck := readHeap().waste // by what other tests left
	k := trimmer{before: readHeap(), stuck: stuck}
	for range 2 * trimEvery / time.Second {
		garbage = append(garbage, make([]byte, quietRate))
	}
	made := uint64(len(garbage)) * quietRate
	if k.look(trimEvery) {
		t.Error("a busy process was held up")
	}
	if readHeap().waste < stuck+made/2 {
		t.Fatal("there is no waste")
	}
	garbage = nil
	if !k.look(trimEvery) {
		t.Error("the waste was left alone")
	}
	if left := readHeap().waste; left > stuck+made/4 {
		t.Errorf("%d bytes are still wasted, %d before", left, stuck)
	}
	for range 3 {
		if k.look(trimEvery) {
			t.Error("collected once more for nothing")
		}
	}
	runtime.KeepAlive(garbage)
}
