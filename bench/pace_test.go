package main

import (
	"context"
	"testing"
	"testing/synctest"
)

// TestLead: publishing stops maxAhead events before the slowest reader, and goes on
// with it or when it is called off.
func TestLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newLead()
		passed := -1
		go func() {
			for i := range 3 * maxAhead {
				l.wait(ctx, i)
				passed = i
			}
		}()
		for _, had := range []uint64{0, 1, 1, 40, maxAhead} {
			l.reach(had)
			synctest.Wait()
			if want := int(had) + maxAhead - 1; passed != want {
				t.Errorf("with %d at every reader, event %d may be published, want %d", had, passed, want)
			}
		}
		cancel()
		synctest.Wait()
		if passed != 3*maxAhead-1 {
			t.Errorf("called off, it waits at %d", passed)
		}
	})
}
