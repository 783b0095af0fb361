package jobs_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

// watch tells when jobs end, and counts commits.
type watch struct {
	mu      sync.Mutex // guards begun and took
	begun   map[string]time.Time
	took    []time.Duration // from the submit's answer to the end
	commits atomic.Int64
	left    atomic.Int64
	done    chan struct{} // closed when none is left
}

func (w *watch) Publish(events []eventlog.Event) (answered func()) {
	w.commits.Add(1)
	for _, e := range events {
		if !e.Type.Terminal() {
			continue
		}
		w.mu.Lock()
		if at, ok := w.begun[e.JobID]; ok {
			w.took = append(w.took, time.Since(at))
		}
		w.mu.Unlock()
		if w.left.Add(-1) == 0 {
			close(w.done)
		}
	}
	return nil
}

// benchService is a service over a real store in a folder of its own.
func benchService(b *testing.B, w *watch) *jobs.Service {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	store, err := sqlite.Open(context.Background(), sqlitetest.Folder(b), sqlite.Options{Publisher: w, Logger: quiet, Serving: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return jobs.NewService(store, jobs.ServiceOptions{Logger: quiet})
}

func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProcessor runs jobs of one action that does nothing, submitted before by
// eight clients.
func BenchmarkProcessor(b *testing.B) {
	for _, runners := range []int{8, 64} {
		b.Run(fmt.Sprintf("runners=%d", runners), func(b *testing.B) {
			w := &watch{done: make(chan struct{})}
			svc := benchService(b, w)
			w.left.Store(int64(b.N))
			var submits sync.WaitGroup
			var next atomic.Int64
			for i := range 64 {
				submits.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if _, _, err := svc.Submit(context.Background(), fmt.Sprint("c", i%8), actions("x"), jobs.Idempotency{}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			submits.Wait()
			p := jobs.NewProcessor(svc, runner(nothing), jobs.ProcessorOptions{Concurrency: runners})
			before := used(b)
			w.commits.Store(0)
			b.ResetTimer()
			p.Start()
			<-w.done
			b.StopTimer()
			cpu := used(b) - before
			if err := p.Stop(context.Background()); err != nil {
				b.Error(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/job")
			b.ReportMetric(float64(w.commits.Load())/float64(b.N), "commits/job")
		})
	}
}

// BenchmarkProcessorPaced runs jobs of one action that does nothing, of which five
// hundred are submitted a second.
func BenchmarkProcessorPaced(b *testing.B) {
	w := &watch{done: make(chan struct{}), begun: make(map[string]time.Time)}
	svc := benchService(b, w)
	w.left.Store(int64(b.N))
	p := jobs.NewProcessor(svc, runner(nothing), jobs.ProcessorOptions{})
	p.Start()
	before := used(b)
	b.ResetTimer()
	start := time.Now()
	var submits sync.WaitGroup
	for i := range b.N {
		time.Sleep(time.Until(start.Add(time.Duration(i) * 2 * time.Millisecond)))
		submits.Go(func() {
			at := time.Now()
			j, _, err := svc.Submit(context.Background(), fmt.Sprint("c", i%8), actions("x"), jobs.Idempotency{})
			if err != nil {
				b.Error(err)
			}
			w.mu.Lock()
			w.begun[j.ID] = at
			w.mu.Unlock()
		})
	}
	submits.Wait()
	<-w.done
	b.StopTimer()
	cpu := used(b) - before
	if err := p.Stop(context.Background()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/job")
	b.ReportMetric(float64(w.commits.Load())/float64(b.N), "commits/job")
	slices.Sort(w.took)
	if n := len(w.took); n > 0 {
		b.ReportMetric(float64(w.took[n/2].Microseconds()), "us-p50")
		b.ReportMetric(float64(w.took[n*99/100].Microseconds()), "us-p99")
	}
}
