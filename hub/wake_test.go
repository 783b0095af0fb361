package hub

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// TestWakeDelay: a room of many readers is woken at once when it was quiet, and once for
// all that comes while it waits; another room does not wait with it.
func TestWakeDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 100
		delay := many * delayPerReader
		m := &memory{}
		h := New(m)
		defer h.Close()
		m.commit("a", eventlog.TypeLog)
		m.commit("b", eventlog.TypeLog)
		begin := time.Now()
		var all, one []time.Duration // when they were woken
		for i := range many + 1 {
			job, woken := "a", &all
			if i == many {
				job, woken = "b", &one
			}
			s := h.Subscribe("acme", func() {
				if i == 0 || i == many {
					*woken = append(*woken, time.Since(begin))
				}
			})
			defer s.Close()
			if _, err := s.Join(t.Context(), job, Start{}); err != nil {
				t.Fatal(err)
			}
		}
		all, one = nil, nil
		publish := func(jobs ...string) {
			for _, job := range jobs {
				h.Publish([]eventlog.Event{m.commit(job, eventlog.TypeLog)})
			}
			synctest.Wait()
		}
		publish("a")
		publish("a", "b")
		publish("a", "b")
		time.Sleep(delay) // the first three of a
		publish("b")
		time.Sleep(delay - leastDelay)
		publish("a") // has to wait for its turn
		time.Sleep(10 * delay)
		publish("a")
		synctest.Wait()
		wantTimes(t, "many readers", all, 0, delay, 2*delay, 12*delay-leastDelay)
		wantTimes(t, "one reader", one, 0, 0, delay)
	})
}

func wantTimes(t *testing.T, who string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: woken after %v, want %v", who, got, want)
	}
}
