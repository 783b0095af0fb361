package sqlite

import (
	"context"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

func BenchmarkSubmitBatch(b *testing.B) {
	s := openServing(b, b.TempDir(), Options{})
	specs := make([]jobs.Spec, jobs.MaxBatch)
	for i := range specs {
		specs[i] = sample
	}
	for b.Loop() {
		ids := make([]string, len(specs))
		for i := range ids {
			ids[i] = newID()
		}
		if _, err := s.SubmitBatch(context.Background(), "a", ids, specs, jobs.Idempotency{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*jobs.MaxBatch/b.Elapsed().Seconds(), "jobs/s")
}
