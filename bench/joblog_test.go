package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whatever a log tells wrong is counted.
func TestJobLog(t *testing.T) {
	begin := time.Unix(1000, 0)
	made := [][]submission{{{ids: []string{"a"}}}, {{at: begin, ids: []string{"b", "c"}}}}
	const good = "1 a created, 2 b created, 3 c created, 4 a started, 5 a completed, 6 c started, 7 b started, 8 c completed, 9 b completed"
	for name, c := range map[string]struct {
		log           string
		lost, doubled uint64
	}{
		"good":               {good, 0, 0},
		"end is missing":     {strings.TrimSuffix(good, ", 9 b completed"), 1, 0},
		"begin is missing":   {strings.Replace(good, "7 b started", "7 b begun", 1), 1, 1},
		"job is missing":     {"1 a created, 2 a started, 3 a completed, 4 b created, 5 b started, 6 b completed", 3, 0},
		"number is missing":  {strings.Replace(good, "9 b", "10 b", 1), 1, 0},
		"number comes again": {good + ", 9 b completed", 0, 1},
		"end comes again":    {good + ", 10 b completed", 0, 1},
		"job ends otherwise": {good + ", 10 b failed", 0, 1},
		"out of order":       {strings.NewReplacer("4 a started", "4 a completed", "5 a completed", "5 a started").Replace(good), 1, 1},
		"nobody's job":       {good + ", 10 d created", 0, 1},
	} {
		l := newJobLog([]string{"job.created", "job.started", "job.completed"})
		for i, line := range strings.Split(c.log, ", ") {
			var f frame
			var job, kind string
			if _, err := fmt.Sscan(line, &f.seq, &job, &kind); err != nil {
				t.Fatal(err)
			}
			f.data = fmt.Appendf(nil, `{"id":"1-%d","type":"job.%s","jobId":"%s"}`, f.seq, kind, job)
			l.see(f, begin.Add(time.Duration(i)*time.Second))
		}
		got := l.tally(made)
		if got.lost != c.lost || got.doubled != c.doubled {
			t.Errorf("%s: %d lost, %d doubled", name, got.lost, got.doubled)
		}
		if name == "good" && (got.latency.total != 2 || got.latency.max != 8*time.Second || got.took != 8*time.Second) {
			t.Errorf("%d measured, at most %v, all in %v", got.latency.total, got.latency.max, got.took)
		}
	}
	l := newJobLog([]string{"job.created"})
	l.see(frame{seq: 1, data: []byte(`{"type":"job.created","jobId":"a"}`)}, begin)
	if got := l.tally([][]submission{{{ids: []string{"a"}}, {ids: []string{"a"}}}}); got.doubled != 1 {
		t.Errorf("an id that was acknowledged twice: %d doubled", got.doubled)
	}
}
