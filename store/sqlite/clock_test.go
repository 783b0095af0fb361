package sqlite

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestClocksAgree: unless the wall's clock is set, the steady one shows the same
// milliseconds, so what is due when it was said to be is due at once.
func TestClocksAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const part = 300 * time.Microsecond // of a millisecond
		for range 10 {
			time.Sleep(part)
			c := newClock(nil)
			for range 10 {
				if wall, steady := c.now().UnixMilli(), c.steady(); wall != steady {
					t.Fatalf("the wall shows %d, the steady clock %d", wall, steady)
				}
				time.Sleep(part)
			}
		}
	})
}
