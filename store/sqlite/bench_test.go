package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkPrune deletes ended jobs of five events each, spread over eight clients, at
// the processor's pace, and commits two hundred submits a second beside it, and for a
// while before it, or none.
func BenchmarkPrune(b *testing.B) {
	for _, beside := range []int{0, 200} {
		b.Run(fmt.Sprintf("submits=%d", beside), func(b *testing.B) {
			dir := b.TempDir()
			fillEnded(b, dir, b.N)
			s := openServing(b, dir, Options{})
			ctx, cancel := context.WithCancel(context.Background())
			var submits sync.WaitGroup
			var alone, took []time.Duration
			if beside > 0 {
				before, stop := context.WithTimeout(ctx, alonePeriod)
				alone = paced(before, b, s, beside)
				stop()
				submits.Go(func() { took = paced(ctx, b, s, beside) })
			}
			b.ResetTimer()
			for more := true; more; {
				began := time.Now()
				out, err := s.Prune(context.Background(), time.Now(), time.Millisecond)
				if err != nil {
					b.Fatal(err)
				}
				if more = out.More; !out.Yielded {
					time.Sleep(3 * time.Since(began))
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.StopTimer()
			cancel()
			submits.Wait()
			if wal, err := os.Stat(filepath.Join(dir, "jobcast.db-wal")); err == nil {
				b.ReportMetric(float64(wal.Size())/(1<<20), "MiB-of-WAL")
			}
			reportTimes(b, "alone", alone)
			reportTimes(b, "beside", took)
		})
	}
}

// alonePeriod is how long BenchmarkPrune submits before it deletes, for comparison.
const alonePeriod = 10 * time.Second

// reportTimes reports the median and the 99th percentile.
func reportTimes(b *testing.B, what string, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us-p50-"+what)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us-p99-"+what)
}

// paced submits jobs until ctx ends, rate a second, and returns how long each took.
func paced(ctx context.Context, b *testing.B, s *Store, rate int) (took []time.Duration) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return took
		case <-tick.C:
		}
		began := time.Now()
		if _, _, err := s.Submit(context.Background(), "other", newID(), sample, jobs.Idempotency{}); err != nil {
			b.Error(err)
		}
		took = append(took, time.Since(began))
	}
}

// fillEnded writes n jobs that have ended into the store of a folder, as the store would.
func fillEnded(b testing.TB, dir string, n int) {
	s := openServing(b, dir, Options{})
	for i := range 8 {
		leased(b, s, fmt.Sprint("c", i))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite3", filepath.Join(dir, "jobcast.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // it has a temporary table
	for _, query := range []string{
		`CREATE TEMP TABLE n AS WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < ?) SELECT i, i % 8 + 1 AS client FROM r`,
		`INSERT INTO jobs (id, uuid, client, status, ready, priority, attempt, max_attempts, timeout_ms, created_at, started_at, completed_at)
			SELECT 1000 + i, printf('01900000-0000-7000-8000-%012d', i), client, 2, 0, 0, 1, 1, 1000, i, i, i FROM n`,
		`INSERT INTO specs (job, actions) SELECT 1000 + i, printf('%0200d', 0) FROM n`,
		`INSERT INTO events (client, seq, job, kind, tail)
			SELECT client, 100 + 5 * i + k.value, 1000 + i, 1 + k.value % 2, printf('%0200d', 0) FROM n, json_each('[0,1,2,3,4]') k ORDER BY i, k.value`,
		`UPDATE clients SET last_seq = 1000 + 5 * ?`,
		`UPDATE counts SET n = n + ? WHERE status = 2`,
	} {
		var args []any
		if strings.Contains(query, "?") {
			args = append(args, n)
		}
		if _, err := db.Exec(query, args...); err != nil {
			b.Fatal(err)
		}
	}
}
