package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A quantile is the nearest rank of the sorted samples, within a bucket's width.
func TestQuantile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Int64Range(0, 1<<maxBits-1), 1, 300).Draw(t, "samples")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h, other histogram
		for i, s := range samples {
			if i%2 == 0 {
				h.add(time.Duration(s))
			} else {
				other.add(time.Duration(s))
			}
		}
		h.merge(&other)
		slices.Sort(samples)
		rank := max(int(math.Ceil(q*float64(len(samples)))), 1)
		want, got := samples[rank-1], int64(h.quantile(q))
		if math.Abs(float64(got-want)) > float64(want)/subBuckets {
			t.Fatalf("quantile %v of %v is %d, want %d", q, samples, got, want)
		}
	})
}

func TestQuantileEdges(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	h.add(-time.Second)
	if got := h.quantile(1); got != 0 {
		t.Errorf("of a negative duration: %v", got)
	}
	var one histogram
	one.add(50)
	if got := one.quantile(0); got != 50 {
		t.Errorf("the least of one: %v", got)
	}
	h.add(time.Hour) // beyond the range
	if h.total != 2 || h.max != time.Hour {
		t.Errorf("total %d, max %v", h.total, h.max)
	}
}
