package jobs_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// Setting the clock forward deletes nothing before it is as old as that, and
// setting it back neither.
func TestRetentionSurvivesTheClock(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var skew atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())).Round(0) }
		r.start(t, jobs.ProcessorOptions{Retention: time.Hour, Now: now}, func(context.Context, string, jobs.Env) (any, error) {
			return map[string]any{}, nil
		})
		id := r.submit(t, "a", actions("x"))
		for _, by := range []time.Duration{-48 * time.Hour, 48 * time.Hour} {
			skew.Store(int64(by))
			time.Sleep(20 * time.Minute)
			if got := r.story(id); got != "created started progress completed" {
				t.Fatal(got)
			}
			if _, err := r.svc.Get(t.Context(), "a", id); err != nil {
				t.Errorf("clock set by %v: %v", by, err)
			}
		}
		time.Sleep(time.Hour)
		if _, err := r.svc.Get(t.Context(), "a", id); err == nil {
			t.Error("a job is kept for ever")
		}
	})
}
