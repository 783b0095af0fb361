package hub

import (
	"fmt"
	"testing"

	"github.com/jobcast/jobcast/eventlog"
)

// BenchmarkPublish is the cost of one event that is the next of its client's log, in
// calls of so many events.
func BenchmarkPublish(b *testing.B) {
	for _, batch := range []int{1, 64} {
		for _, room := range []string{"", "job"} {
			b.Run(fmt.Sprintf("batch=%d/room=%q", batch, room), func(b *testing.B) { benchmarkPublish(b, batch, room) })
		}
	}
}

func benchmarkPublish(b *testing.B, batch int, room string) {
	m := &memory{}
	m.commit("job", eventlog.TypeLog)
	h := New(m)
	defer h.Close()
	s := h.Subscribe("acme", func() {})
	defer s.Close()
	if _, err := s.Join(b.Context(), room, Start{From: FromNow}); err != nil {
		b.Fatal(err)
	}
	const ready = 1 << 16
	events := make([]eventlog.Event, 0, ready)
	json := make([]byte, 200)
	next, seq := 0, uint64(1)
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		if next == len(events) {
			b.StopTimer()
			events, next = events[:0], 0
			for range ready {
				seq++
				events = append(events, eventlog.Event{Client: "acme", Seq: seq, ID: id(seq), Type: eventlog.TypeLog, JobID: "job", JSON: json})
			}
			b.StartTimer()
		}
		h.Publish(events[next : next+batch])
		next += batch
	}
}
