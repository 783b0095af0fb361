package main

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLead: publishing stops depth events before the slowest reader. It goes on
// with it, and also when it is called off, the time is over, or no reader is left.
func TestLead(t *testing.T) {
	const depth = 256
	const all = 3 * depth
	begin := func(ctx context.Context) (l *lead, newest *atomic.Int64) {
		l, newest = newLead(depth), new(atomic.Int64)
		end := time.Now().Add(time.Second)
		go func() {
			for i := range all {
				l.wait(ctx, i, end)
				newest.Store(int64(i))
			}
		}()
		synctest.Wait()
		return l, newest
	}
	synctest.Test(t, func(t *testing.T) {
		l, newest := begin(t.Context())
		for _, had := range []uint64{0, 1, 1, 40, depth} {
			l.reach(had)
			synctest.Wait()
			if want := int64(had) + depth - 1; newest.Load() != want {
				t.Errorf("with %d at every reader, event %d may be published, want %d", had, newest.Load(), want)
			}
		}
		l.reach(all)
	})
	for why, let := range map[string]func(*lead, context.CancelFunc){
		"it was called off": func(_ *lead, cancel context.CancelFunc) { cancel() },
		"the time is over":  func(*lead, context.CancelFunc) { time.Sleep(time.Second) },
		"no reader is left": func(l *lead, _ context.CancelFunc) { l.reach(math.MaxUint64 - 2) },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l, newest := begin(ctx)
			let(l, cancel)
			synctest.Wait()
			if newest.Load() != all-1 {
				t.Errorf("%s, but it waits at %d", why, newest.Load())
			}
		})
	}
}
