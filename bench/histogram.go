package main

import (
	"math/bits"
	"time"
)

// A histogram's buckets: 64 for each power of two, so that a quantile is within
// 1/64 of the truth, up to 2^40 ns, which is 18 minutes.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	maxBits    = 40
	buckets    = (maxBits - subBits + 1) * subBuckets
)

// histogram counts durations in constant memory; ten million latencies would
// not fit otherwise. The zero value is empty. It is not safe for concurrent use.
type histogram struct {
	counts [buckets]uint64
	total  uint64
	max    time.Duration
}

// add counts d. A negative d, from a clock that was set back, counts as 0; one
// beyond the range as the longest there is.
func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// merge adds all that o counted.
func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the smallest counted duration that at least q (0..1) of all
// do not exceed (nearest rank), within the width of a bucket; 0 if empty.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) || rank == 0 {
		rank++
	}
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(middleOf(i), h.max)
		}
	}
	return h.max
}

func bucketOf(v uint64) int {
	v = min(v, 1<<maxBits-1)
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return shift*subBuckets + int(v>>shift)
}

// middleOf returns the middle of a bucket.
func middleOf(i int) time.Duration {
	if i < 2*subBuckets {
		return time.Duration(i)
	}
	shift := i/subBuckets - 1
	low := uint64(i-shift*subBuckets) << shift
	return time.Duration(low + 1<<shift/2)
}
