package sqlite

import (
	"testing"
	"time"
)

// BenchmarkQueues reads all queues of a client with a million jobs that can be claimed, 50
// queues and three priorities; a metric says how long a start takes that counts them.
func BenchmarkQueues(b *testing.B) {
	dir := b.TempDir()
	s := openServing(b, dir, Options{})
	for _, query := range []string{
		`INSERT INTO clients (id, name, open_jobs) VALUES (1, 'a', 1000000)`,
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
			INSERT INTO jobs (id, uuid, client, queue, status, ready, priority, max_attempts, timeout_ms, created_at)
			SELECT i, printf('0190-%020d', i), 1, 'q' || (i % 50), 0, 1, i % 3, 3, 300000, i FROM n`,
	} {
		if _, err := s.writerDB.Exec(query); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	s = openServing(b, dir, Options{})
	start := time.Since(began)
	for b.Loop() {
		page, err := s.Queues(b.Context(), "a", "", 500)
		if err != nil || len(page.Queues) != 50 || page.Queues[0].Due != 20_000 {
			b.Fatal(err, page)
		}
	}
	b.ReportMetric(float64(start.Milliseconds()), "ms/start")
}
