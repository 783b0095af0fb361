package main

import (
	"context"
	"runtime"
	"runtime/debug"
	gauges "runtime/metrics"
	"testing"
	"time"
)

func TestUntidy(t *testing.T) {
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
			if got := now.untidy(before, 10*time.Second, tc.stuck); got != tc.want {
				t.Errorf("untidy: %t", got)
			}
		})
	}
}

// garbage is where TestTidy puts what it throws away.
var garbage []byte

// While the process allocates nothing runs; once it is quiet what it left behind
// goes back to the system, once.
func TestTidy(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no collection but ours
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	debug.FreeOSMemory()
	stuck := readHeap().waste // by what other tests left
	began := collections()
	go func() {
		defer close(stopped)
		tidy(ctx, 50*time.Millisecond)
	}()
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		garbage = make([]byte, 64<<10)
		time.Sleep(time.Millisecond)
	}
	if n := collections() - began; n != 0 {
		t.Errorf("%d collections while the process was busy", n)
	}
	garbage = nil
	full := readHeap().waste
	deadline := time.Now().Add(20 * time.Second)
	for {
		h := readHeap()
		if collections() > began && h.waste <= stuck+(full-stuck)/4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %d bytes %d are still wasted, %d before, beside %d that live", full, h.waste, stuck, h.live)
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // several looks
	if n := collections() - began; n > 2 {
		t.Errorf("%d collections for one heap of garbage", n)
	}
	cancel()
	<-stopped
	runtime.KeepAlive(garbage)
}

// collections counts those that somebody asked for.
func collections() uint64 {
	s := []gauges.Sample{{Name: "/gc/cycles/forced:gc-cycles"}}
	gauges.Read(s)
	return s[0].Value.Uint64()
}
