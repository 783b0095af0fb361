package jobs

import (
	"math/bits"
	"sync"
	"time"
)

// Changed is how the state of a job has changed.
type Changed int

// The changes.
const (
	WasSubmitted Changed = iota
	WasStarted           // an attempt
	WasRetried           // an attempt has ended, and the job is to be tried again
	WasCompleted
	WasFailed // after its last attempt, or because nobody began it in time
	WasCancelled
	changes // how many there are
)

// Change is one change of a job's state that was committed.
type Change struct {
	Client string
	What   Changed
	// Took is how long after its submit, or after its runAt if that was later, a job was
	// begun for the first time, was completed, or failed after an attempt. Of other changes,
	// and where Timed is false, it says nothing.
	Took  time.Duration
	Timed bool
}

// What is remembered of each client that has changed a job in the last hour: some 12 KB.
const (
	HistoryMinutes = 60
	historySpans   = 6                             // spans of times that are forgotten one after the other
	spanMinutes    = HistoryMinutes / historySpans // in each
	perOctave      = 8                             // buckets of times for each doubling: a quantile is an eighth too long at most
	buckets        = 28 * perOctave                // milliseconds: beyond twelve days all is one
)

// Minute is how many changes of each kind there were in one minute.
type Minute struct {
	At time.Time // when it began
	N  [changes]int64
}

// Quantiles are two of N times.
type Quantiles struct {
	N        int64
	P50, P99 time.Duration
}

// Activity is what a client's jobs did in the last hour.
type Activity struct {
	Minutes  []Minute // HistoryMinutes, the oldest first; the last one is not over
	ToStart  Quantiles
	ToFinish Quantiles
}

// History counts changes of jobs by client and minute, in memory. The zero value is ready.
type History struct {
	mu      sync.Mutex
	clients map[string]*clientHistory // guarded by mu, with what they point to
	tidied  int64                     // the minute in which idle clients were forgotten last
}

type clientHistory struct {
	newest  int64 // minute of the newest change
	minutes [HistoryMinutes]struct {
		minute int64 // since 1970, of these counts
		n      [changes]uint32
	}
	spans [historySpans]struct {
		span            int64
		started, finish [buckets]uint32
	}
}

// Record counts changes that were committed at a time.
func (h *History) Record(all []Change, at time.Time) {
	minute := at.Unix() / 60
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tidy(minute)
	for _, one := range all {
		c := h.clients[one.Client]
		if c == nil {
			c = &clientHistory{}
			h.clients[one.Client] = c
		}
		c.record(one, minute)
	}
}

// tidy forgets clients that have done nothing for an hour.
func (h *History) tidy(minute int64) {
	if h.clients == nil {
		h.clients = make(map[string]*clientHistory)
	}
	if h.tidied == minute {
		return
	}
	h.tidied = minute
	for name, c := range h.clients {
		if c.newest <= minute-HistoryMinutes {
			delete(h.clients, name)
		}
	}
}

func (c *clientHistory) record(one Change, minute int64) {
	c.newest = minute
	m := &c.minutes[minute%HistoryMinutes]
	if m.minute != minute {
		m.minute = minute
		m.n = [changes]uint32{}
	}
	m.n[one.What]++
	if !one.Timed {
		return
	}
	s := &c.spans[minute/spanMinutes%historySpans]
	if s.span != minute/spanMinutes {
		s.span = minute / spanMinutes
		s.started, s.finish = [buckets]uint32{}, [buckets]uint32{}
	}
	if one.What == WasStarted {
		s.started[bucketOf(one.Took)]++
	} else {
		s.finish[bucketOf(one.Took)]++
	}
}

// bucketOf is where a time is counted: each doubling of milliseconds has perOctave buckets of
// the same width.
func bucketOf(d time.Duration) int {
	ms := uint64(max(0, d.Milliseconds()))
	if ms < perOctave {
		return int(ms)
	}
	octave := bits.Len64(ms) - bits.Len64(perOctave) // of the first doubling: 0
	return min(buckets-1, (octave+1)*perOctave+int(ms>>octave)-perOctave)
}

// bucketEnd is the longest time that is counted in a bucket.
func bucketEnd(i int) time.Duration {
	ms := i
	if i >= perOctave {
		octave := i/perOctave - 1
		ms = (i%perOctave+perOctave+1)<<octave - 1
	}
	return time.Duration(ms) * time.Millisecond
}

// Of returns what a client's jobs did in the hour before now.
func (h *History) Of(client string, now time.Time) Activity {
	minute := now.Unix() / 60
	out := Activity{Minutes: make([]Minute, HistoryMinutes)}
	for i := range out.Minutes {
		out.Minutes[i].At = time.Unix((minute-HistoryMinutes+1+int64(i))*60, 0).UTC()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.clients[client]
	if c == nil {
		return out
	}
	for i := range out.Minutes {
		at := minute - HistoryMinutes + 1 + int64(i)
		if m := &c.minutes[at%HistoryMinutes]; m.minute == at {
			for what, n := range m.n {
				out.Minutes[i].N[what] = int64(n)
			}
		}
	}
	var started, finish [buckets]int64
	for i := range c.spans {
		s := &c.spans[i]
		if s.span <= minute/spanMinutes-historySpans || s.span > minute/spanMinutes {
			continue
		}
		for b := range buckets {
			started[b] += int64(s.started[b])
			finish[b] += int64(s.finish[b])
		}
	}
	out.ToStart, out.ToFinish = quantiles(&started), quantiles(&finish)
	return out
}

func quantiles(counts *[buckets]int64) (q Quantiles) {
	for _, n := range counts {
		q.N += n
	}
	seen := int64(0)
	for i, n := range counts {
		if seen < (q.N+1)/2 && seen+n >= (q.N+1)/2 {
			q.P50 = bucketEnd(i)
		}
		if last := (q.N*99 + 99) / 100; seen < last && seen+n >= last {
			q.P99 = bucketEnd(i)
		}
		seen += n
	}
	return q
}
