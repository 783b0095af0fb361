package hub

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// TestRest: a room of many readers is woken at once when it was quiet, and once for
// all that comes while it rests; another room does not rest with it.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 100
		rest := many * restPerReader
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
		time.Sleep(rest) // the first three of a
		publish("b")
		time.Sleep(rest - leastRest)
		publish("a") // has to wait for its turn
		time.Sleep(10 * rest)
		publish("a")
		synctest.Wait()
		wantTimes(t, "many readers", all, 0, rest, 2*rest, 12*rest-leastRest)
		wantTimes(t, "one reader", one, 0, 0, rest)
	})
}

func wantTimes(t *testing.T, who string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: woken after %v, want %v", who, got, want)
	}
}
