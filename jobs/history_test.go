package jobs

import (
	"testing"
	"time"
)

// TestHistory: changes stand in their minutes, and go with them; quantiles are never too
// short, and an eighth too long at most.
func TestHistory(t *testing.T) {
	var h History
	now := time.Date(2026, 3, 1, 12, 30, 20, 0, time.UTC)
	for i := range 100 {
		took := time.Duration(i+1) * 100 * time.Millisecond
		h.Record([]Change{{Client: "a", What: WasStarted, Took: took, Timed: true}, {Client: "a", What: WasCompleted, Took: 10 * took, Timed: true}}, now)
	}
	h.Record([]Change{{Client: "a", What: WasStarted}, {Client: "b", What: WasFailed}}, now.Add(time.Minute))
	within := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want || got > want+want/8 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	a := h.Of("a", now.Add(time.Minute))
	last := a.Minutes[HistoryMinutes-1]
	if len(a.Minutes) != HistoryMinutes || !last.At.Equal(now.Add(time.Minute).Truncate(time.Minute)) ||
		last.N != [changes]int64{WasStarted: 1} || a.Minutes[HistoryMinutes-2].N != [changes]int64{WasStarted: 100, WasCompleted: 100} {
		t.Errorf("minutes are %v", a.Minutes[HistoryMinutes-2:])
	}
	if a.ToStart.N != 100 || a.ToFinish.N != 100 {
		t.Errorf("times are of %d and %d jobs", a.ToStart.N, a.ToFinish.N)
	}
	within("p50 to start", a.ToStart.P50, 5*time.Second)
	within("p99 to start", a.ToStart.P99, 9900*time.Millisecond)
	within("p50 to the end", a.ToFinish.P50, 50*time.Second)
	later := h.Of("a", now.Add(59*time.Minute))
	if later.Minutes[0].N[WasStarted] != 100 || later.Minutes[1].N[WasStarted] != 1 {
		t.Errorf("almost an hour later: %v", later.Minutes[:2])
	}
	if gone := h.Of("a", now.Add(2*time.Hour)); gone.ToStart != (Quantiles{}) || gone.Minutes[0].N != [changes]int64{} {
		t.Errorf("two hours later: %+v", gone)
	}
	h.Record(nil, now.Add(2*time.Hour))
	if len(h.clients) != 0 {
		t.Errorf("%d clients are remembered for ever", len(h.clients))
	}
}

// TestBuckets: each time is in the bucket that ends at it or after it, and no bucket before.
func TestBuckets(t *testing.T) {
	for _, ms := range []int{0, 1, 7, 8, 9, 15, 16, 17, 1000, 65535, 65536, 123456789} {
		d := time.Duration(ms) * time.Millisecond
		i := bucketOf(d)
		if bucketEnd(i) < d || i > 0 && bucketEnd(i-1) >= d {
			t.Errorf("%v is in bucket %d, which ends at %v", d, i, bucketEnd(i))
		}
	}
	if i := bucketOf(1000 * 24 * time.Hour); i != buckets-1 {
		t.Errorf("a very long time is in bucket %d", i)
	}
}
