package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// Results that are too large together are cut to fit into one event.
func TestLargeResultsAreStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.start(t, jobs.ProcessorOptions{}, func(_ context.Context, kind string, env jobs.Env) (any, error) {
			if env.Index == 0 {
				return map[string]string{"type": kind, "small": "whole"}, nil
			}
			return map[string]string{"type": kind, "body": strings.Repeat("<\x00\xff", 1<<10)}, nil
		})
		id := r.submit(t, "a", actions(strings.Split(strings.Repeat("x ", 99)+"x", " ")...))
		time.Sleep(time.Second)
		var result struct{ Actions []map[string]any }
		if err := json.Unmarshal(r.get(t, "a", id).Result, &result); err != nil || len(result.Actions) != 100 {
			t.Fatalf("%d actions, %v; %s", len(result.Actions), err, r.story(id))
		}
		if result.Actions[0]["small"] != "whole" || result.Actions[1]["truncated"] != true {
			t.Errorf("%v", result.Actions[:2])
		}
	})
}

func TestRetentionDeletesOldJobs(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.start(t, jobs.ProcessorOptions{Retention: time.Hour}, func(context.Context, string, jobs.Env) (any, error) { return nil, nil })
		ids := make([]string, 150) // 600 events: several batches
		for i := range ids {
			ids[i] = r.submit(t, "a", actions("x"))
		}
		waiting := r.submit(t, "a", queued("q"))
		time.Sleep(59 * time.Minute)
		r.get(t, "a", ids[0])
		time.Sleep(3 * time.Minute)
		for _, id := range ids {
			if _, err := r.svc.Get(t.Context(), "a", id); !errors.Is(err, jobs.ErrNotFound) {
				t.Fatalf("job is still there: %v", err)
			}
		}
		r.get(t, "a", waiting)
	})
}
