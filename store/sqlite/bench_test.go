package sqlite

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

// BenchmarkAppend measures acknowledged appends of one event each, spread over
// the logs of eight clients.
func BenchmarkAppend(b *testing.B) {
	for _, producers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			s := openServing(b, b.TempDir(), Options{})
			var leases []jobs.Leased
			for i := range 8 {
				leases = append(leases, leased(b, s, fmt.Sprint("c", i)))
			}
			bodies := []jobs.Body{jobs.Progressed(50, "Executing action 2 of 4: click", "click")}
			var next atomic.Int64
			b.SetParallelism(max(1, producers/runtime.GOMAXPROCS(0)))
			if producers == 1 {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			}
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				l := leases[int(next.Add(1))%len(leases)]
				for pb.Next() {
					if _, err := s.Append(context.Background(), l.Lease, bodies); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
