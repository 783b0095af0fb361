package transporttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// TB is what a Log needs of a test: *testing.T has it, and so have the property
// tests' *rapid.T.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Entry is one committed event as its writer was told of it.
type Entry struct {
	ID   string // its cursor
	Job  string
	Type eventlog.Type
	Mark string // of a progress or log event: what the writer called it
}

// Log is what the writers of one client were told. It never asks the server
// what is there.
type Log struct {
	Client string
	server Server

	mu      sync.Mutex // guards everything below
	entries map[uint64]Entry
	unsure  map[string]Entry // by mark: the writer was not told; it may have been committed
	marks   int              // marks given out
	works   int              // jobs made
}

// NewLog begins the log of a client without events.
func NewLog(s Server, client string) *Log {
	return &Log{Client: client, server: s, entries: make(map[uint64]Entry), unsure: make(map[string]Entry)}
}

// Work is one job, in a queue of its own, and the lease on it.
type Work struct {
	Job   string
	log   *Log
	lease jobs.Lease
}

// commandTime bounds one command of a writer.
const commandTime = time.Minute

func command() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), commandTime)
}

// Submit makes a job and leaves it in its queue.
func (l *Log) Submit(t TB) *Work {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	j, _, err := l.server.Jobs().Submit(ctx, l.Client, jobs.Spec{
		Queue: l.queue(), Payload: json.RawMessage("null"), MaxAttempts: 3, Timeout: time.Hour,
	}, jobs.Idempotency{})
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	return l.Adopt(t, j)
}

// Adopt takes note of a job that was made by a request of the scenario.
func (l *Log) Adopt(t TB, j jobs.Job) *Work {
	t.Helper()
	l.told(t, Entry{ID: j.Cursor, Job: j.ID, Type: eventlog.TypeCreated})
	return &Work{Job: j.ID, log: l}
}

func (l *Log) queue() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.works++
	return fmt.Sprintf("queue-%d", l.works)
}

// Begin makes a job and claims it.
func (l *Log) Begin(t TB) *Work {
	t.Helper()
	w := l.Submit(t)
	w.Claim(t)
	return w
}

// Claim starts the job's attempt under a long lease.
func (w *Work) Claim(t TB) {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	svc := w.log.server.Jobs()
	j, err := svc.Get(ctx, w.log.Client, w.Job)
	if err != nil {
		t.Fatalf("get job: %v", err)
	}
	got, err := svc.Claim(ctx, w.log.Client, jobs.ClaimRequest{Queues: []string{*j.Queue}, Lease: jobs.MaxLease})
	if err != nil || len(got) != 1 || got[0].Job.ID != w.Job {
		t.Fatalf("claim of %s: %v, %v", w.Job, got, err)
	}
	w.lease = got[0].Lease
	w.log.told(t, Entry{ID: got[0].Job.Cursor, Job: w.Job, Type: eventlog.TypeStarted})
}

// Emit commits n events, progress and log lines in turn, in one command each
// `batch` of them.
func (w *Work) Emit(t TB, n, batch int) {
	t.Helper()
	for n > 0 {
		k := min(n, batch)
		if err := w.emit(t, k, 0); err != nil {
			t.Fatalf("emit: %v", err)
		}
		n -= k
	}
}

// EmitLarge commits n log lines of size bytes each, in one command.
func (w *Work) EmitLarge(t TB, n, size int) {
	t.Helper()
	if err := w.emit(t, n, size); err != nil {
		t.Fatalf("emit: %v", err)
	}
}

// TryEmit is Emit of one command that may fail because the server goes away
// meanwhile. What is unsure then is remembered as such.
func (w *Work) TryEmit(t TB, n int) error {
	t.Helper()
	return w.emit(t, n, 0)
}

// emit writes marked events; with a size they are all log lines of about that
// many bytes.
func (w *Work) emit(t TB, n, size int) error {
	t.Helper()
	reports, entries := w.reports(n, size)
	ctx, cancel := command()
	defer cancel()
	receipt, err := w.log.server.Jobs().Progress(ctx, w.lease, reports)
	if err != nil {
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		if !errors.Is(err, jobs.ErrClosed) { // that one says that nothing was done
			for _, e := range entries {
				w.log.unsure[e.Mark] = e
			}
		}
		return err
	}
	last := cursorOf(t, receipt.LastEventID)
	for i := range entries { // one transaction: its events stand side by side
		entries[i].ID = eventlog.Cursor{Epoch: last.Epoch, Seq: last.Seq - uint64(n-1-i)}.String()
	}
	w.log.told(t, entries...)
	return nil
}

func (w *Work) reports(n, size int) ([]jobs.Report, []Entry) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	reports, entries := make([]jobs.Report, n), make([]Entry, n)
	for i := range n {
		w.log.marks++
		mark := fmt.Sprintf("%s/%d", w.log.Client, w.log.marks)
		entries[i] = Entry{Job: w.Job, Mark: mark}
		if size > 0 || i%3 == 2 {
			entries[i].Type = eventlog.TypeLog
			mark += strings.Repeat(".", max(0, size-len(mark)))
			entries[i].Mark = mark
			reports[i].Log = &jobs.LogLine{Line: mark}
			continue
		}
		entries[i].Type = eventlog.TypeProgress
		progress := float64(w.log.marks % 101)
		reports[i] = jobs.Report{Progress: &progress, Message: mark}
	}
	return reports, entries
}

// Finish completes the job.
func (w *Work) Finish(t TB) {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	j, _, err := w.log.server.Jobs().End(ctx, jobs.End{Lease: w.lease}, nil)
	if err != nil {
		t.Fatalf("complete: %v", err)
	}
	w.log.told(t, Entry{ID: j.Cursor, Job: w.Job, Type: eventlog.TypeCompleted})
}

// Cancel ends the job.
func (w *Work) Cancel(t TB) {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	j, err := w.log.server.Jobs().Cancel(ctx, w.log.Client, w.Job)
	if err != nil {
		t.Fatalf("cancel: %v", err)
	}
	w.log.told(t, Entry{ID: j.Cursor, Job: w.Job, Type: eventlog.TypeCancelled})
}

// told takes note of what was committed. Two events at one place are a fault.
func (l *Log) told(t TB, entries ...Entry) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		seq := cursorOf(t, e.ID).Seq
		if old, taken := l.entries[seq]; taken {
			t.Errorf("two events were acknowledged at one place: %+v and %+v", old, e)
		}
		l.entries[seq] = e
	}
}

// Forget drops what was committed after a place: a copy from before is put back.
func (l *Log) Forget(t TB, after string) {
	t.Helper()
	seq := cursorOf(t, after).Seq
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.entries {
		if n > seq {
			delete(l.entries, n)
		}
	}
}

// Head is the cursor of the newest event that was acknowledged.
func (l *Log) Head() string {
	all := l.Entries("")
	if len(all) == 0 {
		return eventlog.Cursor{}.String()
	}
	return all[len(all)-1].ID
}

// Entries returns what was committed, in order: of one job, or (job empty) all.
func (l *Log) Entries(job string) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	seqs := make([]uint64, 0, len(l.entries))
	for seq, e := range l.entries {
		if job == "" || e.Job == job {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	out := make([]Entry, len(seqs))
	for i, seq := range seqs {
		out[i] = l.entries[seq]
	}
	return out
}

// After returns the entries behind a cursor.
func (l *Log) After(t TB, job, cursor string) []Entry {
	t.Helper()
	all := l.Entries(job)
	seq := cursorOf(t, cursor).Seq
	i := slices.IndexFunc(all, func(e Entry) bool { return cursorOf(t, e.ID).Seq > seq })
	if i < 0 {
		return nil
	}
	return all[i:]
}
