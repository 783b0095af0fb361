package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// A client waits for itself, in the order of its calls, and for nobody else.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p throttle
		if err := p.enter(t.Context(), "a", throttleRows-10); err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 3)
		for i, rows := range []int{20, 5, throttleRows} {
			go func() {
				if p.enter(t.Context(), "a", rows) == nil {
					order <- rows
					p.leave("a", rows)
				}
			}()
			synctest.Wait()
			if len(order) != 0 {
				t.Errorf("call %d does not wait", i)
			}
		}
		if err := p.enter(t.Context(), "b", throttleRows); err != nil {
			t.Errorf("another client: %v", err)
		}
		p.leave("b", throttleRows)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.enter(gone, "a", 1); !errors.Is(err, ErrNotTried) || !errors.Is(err, context.Canceled) {
			t.Errorf("one that has not waited for its turn: %v", err)
		}
		p.leave("a", throttleRows-10)
		synctest.Wait()
		if len(order) != 3 || len(p.byClient) != 0 {
			t.Fatalf("%d were let in, %d backlogs are left", len(order), len(p.byClient))
		}
		<-order
		<-order
		if last := <-order; last != throttleRows {
			t.Errorf("the last one has %d rows", last)
		}
	})
}

// However callers come, go and give up, the count is right in the end.
func TestThrottleKeepsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(200) {
			random := rand.New(rand.NewPCG(seed, 0))
			var p throttle
			for range 1 + random.IntN(40) {
				ctx, cancel := context.WithCancel(t.Context())
				rows := 1 + random.IntN(throttleRows)
				if random.IntN(2) == 0 {
					cancel()
				}
				go func() {
					defer cancel()
					if p.enter(ctx, "a", rows) == nil {
						p.leave("a", rows)
					}
				}()
				if random.IntN(2) == 0 {
					synctest.Wait()
				}
			}
			synctest.Wait()
			if len(p.byClient) != 0 {
				t.Fatalf("seed %d: %+v is left", seed, p.byClient["a"])
			}
		}
	})
}

// A flood of one client's log is on its way in parts that fit in a batch or two.
func TestWeigh(t *testing.T) {
	for _, c := range []struct{ rows, size, want int }{{1, 0, 1}, {1, 100, 1}, {1, 64 << 10, 257}, {1000, 0, throttleRows}, {2000, 1 << 20, throttleRows}} {
		if got := weigh(c.rows, c.size); got != c.want {
			t.Errorf("%d rows of %d bytes weigh %d, want %d", c.rows, c.size, got, c.want)
		}
	}
}
