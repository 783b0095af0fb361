package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// hold keeps the committer busy until release is called, so that a test can
// fill its queue.
func hold(s *Store) (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	cmd := &command{err: make(chan error, 1)}
	cmd.run = func(*batch) error {
		close(held)
		<-free
		return nil
	}
	s.committer.queue <- cmd
	<-held
	return func() {
		close(free)
		<-cmd.err
	}
}

// enqueue queues a command without waiting for it.
func enqueue(s *Store, run func(*batch) error) <-chan error {
	cmd := &command{rows: 1, run: run, err: make(chan error, 1)}
	s.committer.queue <- cmd
	return cmd.err
}

func submitCommand(id string) func(*batch) error {
	return func(b *batch) error {
		head, err := b.ensureClient("a")
		if err != nil {
			return err
		}
		_, err = b.submit(head, id, sample, jobs.Idempotency{})
		return err
	}
}

// leased returns a leased job.
func leased(t testing.TB, s *Store, client string) jobs.Leased {
	t.Helper()
	if _, _, err := s.Submit(t.Context(), client, newID(), sample, jobs.Idempotency{}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Claim(t.Context(), jobs.Claim{Client: client, Queues: []string{"q"}, Max: 1, TTL: time.Hour})
	if err != nil || len(got) != 1 {
		t.Fatalf("claimed %d jobs, error %v", len(got), err)
	}
	return got[0]
}

func head(t testing.TB, s *Store, client string) uint64 {
	t.Helper()
	state, err := s.Open(t.Context(), eventlog.Room{Client: client}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return state.Head
}

func TestGroupCommit(t *testing.T) {
	var batches []int
	s := openServing(t, t.TempDir(), Options{OnBatch: func(rows int) { batches = append(batches, rows) }})
	release := hold(s)
	var done []<-chan error
	for range batchRows + 10 {
		done = append(done, enqueue(s, submitCommand(newID())))
	}
	release()
	for _, d := range done {
		if err := <-d; err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(batches) != fmt.Sprint([]int{batchRows, 10}) {
		t.Errorf("batches of %v rows, want %d and 10", batches, batchRows)
	}
}

// A claim counts for the events that it may write, so that few of them fill a batch.
func TestRowsOfClaims(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	defer hold(s)()
	for rows, c := range map[int]jobs.Claim{100: {Max: 100}, 200: {Max: 100, Announce: true}} {
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := s.Claim(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
		cmd := <-s.committer.queue
		if cmd.err <- nil; cmd.rows != rows {
			t.Errorf("a claim counts as %d rows, want %d", cmd.rows, rows)
		}
		asking.Wait()
	}
}

func TestManyProducersFewCommits(t *testing.T) {
	var commits atomic.Int64
	s := openServing(t, t.TempDir(), Options{OnBatch: func(int) { commits.Add(1) }})
	l := leased(t, s, "a")
	commits.Store(0)
	const producers, each = 128, 20
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for range each {
				if _, err := s.Append(t.Context(), l.Lease, []jobs.Body{jobs.Progressed(1, "", "")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := commits.Load(); n > producers*each/8 {
		t.Errorf("%d commits for %d appends", n, producers*each)
	}
	if got := head(t, s, "a"); got != 2+producers*each {
		t.Errorf("head is %d", got)
	}
}

// TestPoison: a command that breaks fails alone, and the numbering has no hole.
func TestPoison(t *testing.T) {
	var published []uint64
	s := openServing(t, t.TempDir(), Options{Publisher: publisher(func(events []eventlog.Event) {
		for _, e := range events {
			published = append(published, e.Seq)
		}
	})})
	double := newID()
	release := hold(s)
	first := enqueue(s, submitCommand(double))
	poison := enqueue(s, submitCommand(double)) // breaks a constraint after the client was touched
	panics := enqueue(s, func(b *batch) error {
		if err := submitCommand(newID())(b); err != nil {
			return err
		}
		panic("a broken back-off")
	})
	last := enqueue(s, submitCommand(newID()))
	release()
	if err := errors.Join(<-first, <-last); err != nil {
		t.Errorf("neighbours of a poison command: %v", err)
	}
	if err := <-poison; err == nil {
		t.Error("a double id was accepted")
	}
	if err := <-panics; err == nil {
		t.Error("a panic was lost")
	}
	if fmt.Sprint(published) != "[1 2]" || head(t, s, "a") != 2 {
		t.Errorf("published %v, head %d", published, head(t, s, "a"))
	}
	if n, err := s.Counts(t.Context()); err != nil || n[jobs.Pending] != 2 {
		t.Errorf("counts %v, error %v", n, err)
	}
}

type publisher func([]eventlog.Event)

func (p publisher) Publish(events []eventlog.Event) (answered func()) {
	p(events)
	return nil
}

// breakCommit makes the batch's COMMIT fail: a deferred constraint shows only there.
func breakCommit(b *batch) error {
	if _, err := b.exec("PRAGMA defer_foreign_keys = ON"); err != nil {
		return err
	}
	_, err := b.exec(sqlAddSpec, 999, nil, nil, nil, nil, nil, nil)
	return err
}

// TestCommitFails: after a COMMIT whose fate is unknown nobody is told yes, and
// the log goes on from what the database holds.
func TestCommitFails(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{Logger: slog.New(slog.DiscardHandler)})
	l := leased(t, s, "a")
	release := hold(s)
	good := enqueue(s, submitCommand(newID()))
	bad := enqueue(s, breakCommit)
	release()
	for _, d := range []<-chan error{good, bad} {
		if err := <-d; !errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("command in a failed commit: %v", err)
		}
	}
	r, err := s.Append(t.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "x")})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := eventlog.ParseCursor(r.LastEventID); !ok || c.Seq != 3 || head(t, s, "a") != 3 {
		t.Errorf("the log goes on at %s, head %d", r.LastEventID, head(t, s, "a"))
	}
	if out, err := s.ExpireLeases(t.Context(), 10); out.N != 0 || out.Next < 59*time.Minute || err != nil {
		t.Errorf("lease after a failed commit: %+v %v", out, err)
	}
}

// TestCommitLands: a COMMIT that reports an error and has taken effect all the
// same is counted in when the log goes on.
func TestCommitLands(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{Logger: slog.New(slog.DiscardHandler)})
	l := leased(t, s, "a")
	lost := enqueue(s, func(b *batch) error {
		if err := submitCommand(newID())(b); err != nil {
			return err
		}
		if err := b.flush(); err != nil {
			return err
		}
		clear(b.counts)
		_, err := b.exec("COMMIT") // the committer's own one finds no transaction
		return err
	})
	if err := <-lost; !errors.Is(err, jobs.ErrUnavailable) {
		t.Errorf("command in a failed commit: %v", err)
	}
	r, err := s.Append(t.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "x")})
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := eventlog.ParseCursor(r.LastEventID); c.Seq != 4 {
		t.Errorf("the log goes on at %s, want 4", r.LastEventID)
	}
	p, err := s.Page(t.Context(), eventlog.Room{Client: "a"}, 0, 10, 1<<20)
	if err != nil || len(p.Events) != 4 || p.Events[2].ID == p.Events[3].ID {
		t.Errorf("page %+v, error %v", p, err)
	}
}

// TestLeaseAfterCommitFails: who holds a job is known by heart. After a COMMIT whose fate
// is unknown that is what the database says, whichever way it went.
func TestLeaseAfterCommitFails(t *testing.T) {
	for _, lands := range []bool{false, true} {
		t.Run(fmt.Sprintf("lands=%v", lands), func(t *testing.T) {
			s := openServing(t, t.TempDir(), Options{Logger: slog.New(slog.DiscardHandler)})
			l := leased(t, s, "a")
			held := func() error {
				_, err := s.Append(t.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "x")})
				return err
			}
			if err := held(); err != nil { // from here on the holder is known by heart
				t.Fatal(err)
			}
			var other jobs.Lease
			lost := enqueue(s, func(b *batch) error { // another gets the job
				if _, _, err := b.settle(jobs.Step{Lease: l.Lease, Outcome: jobs.AttemptReleased}, 0); err != nil {
					return err
				}
				got, err := b.claim(jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1, TTL: time.Hour})
				if err != nil || len(got) != 1 {
					return fmt.Errorf("claimed %d jobs: %w", len(got), err)
				}
				other = got[0].Lease
				if !lands {
					return breakCommit(b)
				}
				if err := b.flush(); err != nil {
					return err
				}
				clear(b.counts)
				_, err = b.exec("COMMIT") // the committer's own one finds no transaction
				return err
			})
			if err := <-lost; !errors.Is(err, jobs.ErrUnavailable) {
				t.Fatalf("command in a failed commit: %v", err)
			}
			if err := held(); lands != errors.Is(err, jobs.ErrLeaseLost) || !lands && err != nil {
				t.Errorf("the first holder: %v", err)
			}
			_, err := s.Append(t.Context(), other, []jobs.Body{jobs.Logged("info", "y")})
			if lands == errors.Is(err, jobs.ErrLeaseLost) || lands && err != nil {
				t.Errorf("the second holder: %v", err)
			}
		})
	}
}

// TestStorageFull: a full disk is told as such, loses nothing, and heals.
func TestStorageFull(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	l := leased(t, s, "a")
	limit := func(pages int) {
		t.Helper()
		_, err := do(t.Context(), s.committer, 0, func(b *batch) (int, error) {
			var now, set int
			if _, err := b.row("PRAGMA page_count", nil, &now); err != nil {
				return 0, err
			}
			_, err := b.row(fmt.Sprintf("PRAGMA max_page_count = %d", now+pages), nil, &set)
			return set, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(2)
	big := []jobs.Body{jobs.Logged("info", string(make([]byte, 8<<10)))}
	acked := uint64(2)
	var err error
	for range 100 {
		if _, err = s.Append(t.Context(), l.Lease, big); err != nil {
			break
		}
		acked++
	}
	if !errors.Is(err, jobs.ErrStorageFull) {
		t.Fatalf("append to a full disk: %v", err)
	}
	if got := head(t, s, "a"); got != acked {
		t.Errorf("head is %d, acknowledged were %d", got, acked)
	}
	limit(1000)
	r, err := s.Append(t.Context(), l.Lease, big)
	if err != nil {
		t.Fatalf("append after space came back: %v", err)
	}
	if c, _ := eventlog.ParseCursor(r.LastEventID); c.Seq != acked+1 {
		t.Errorf("the log goes on at %d after %d", c.Seq, acked)
	}
}

// TestLeaseClock: leases run on the monotonic clock, to the nanosecond.
func TestLeaseClock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openServing(t, dir, Options{DefaultLeaseTTL: 30 * time.Second})
		if _, _, err := s.Submit(t.Context(), "a", newID(), sample, jobs.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Claim(t.Context(), jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 1})
		if err != nil || len(got) != 1 {
			t.Fatalf("claimed %d, error %v", len(got), err)
		}
		expire := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after) // fake time
			out, err := s.ExpireLeases(t.Context(), 10)
			if err != nil || out.N != want {
				t.Errorf("ended %d leases, want %d, error %v", out.N, want, err)
			}
		}
		expire(29*time.Second, 0)
		if _, err := s.Extend(t.Context(), got[0].Lease); err != nil {
			t.Fatal(err)
		}
		expire(29*time.Second, 0)
		expire(2*time.Second, 1)
	})
}

// TestWaitForAPlace: a command that has found no place in the queue was not tried, and
// one that has may still be executed.
func TestWaitForAPlace(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	release := hold(s)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	submit := func() error {
		_, _, err := s.Submit(gone, "a", newID(), sample, jobs.Idempotency{})
		return err
	}
	var queued []<-chan error
	for range queueCommands {
		queued = append(queued, enqueue(s, func(*batch) error { return nil }))
	}
	if err := submit(); !errors.Is(err, jobs.ErrNotTried) || !errors.Is(err, context.Canceled) {
		t.Errorf("a command without a place: %v", err)
	}
	release()
	for _, done := range queued {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	defer hold(s)()
	for { // with a place and an end, chance decides which of them is seen first
		if err := submit(); !errors.Is(err, jobs.ErrNotTried) {
			if !errors.Is(err, jobs.ErrUnavailable) {
				t.Errorf("a command with a place: %v", err)
			}
			return
		}
	}
}

// TestCloseDrains: what was queued before Close is committed and answered.
func TestCloseDrains(t *testing.T) {
	dir := t.TempDir()
	s := openServing(t, dir, Options{})
	release := hold(s)
	var done []<-chan error
	for range 50 {
		done = append(done, enqueue(s, submitCommand(newID())))
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	<-s.closing
	if _, err := s.Cancel(context.Background(), "a", newID()); !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("a command after Close: %v", err)
	}
	release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		if err := <-d; err != nil {
			t.Errorf("queued command: %v", err)
		}
	}
	if got := head(t, openServing(t, dir, Options{}), "a"); got != 50 {
		t.Errorf("head is %d", got)
	}
}

// gathering is the part of a committer that gathers; its newest commit begins now.
func gathering() *committer {
	return &committer{queue: make(chan *command, queueCommands), started: time.Now()}
}

func asked() *command { return &command{at: time.Now(), rows: 1} }

// TestPauseForCompany: callers that come one after the other share commits, one
// in a stride.
func TestPauseForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gathering()
		const callers, every = 400, stride / 4
		go func() {
			for range callers {
				time.Sleep(every)
				c.queue <- asked()
			}
		}()
		commits := 0
		for got := 0; got < callers; commits++ {
			got += len(c.gather(<-c.queue))
		}
		if least := callers / 5; commits < least || commits > callers/3 {
			t.Errorf("%d callers shared %d commits, want about %d", callers, commits, least)
		}
	})
}

// TestPauseInVain: callers that come back as soon as they are answered, and so
// all wait by the first half of a stride, are almost never kept waiting.
func TestPauseInVain(t *testing.T) {
	for _, callers := range []int{1, 2, enough - 1} {
		synctest.Test(t, func(t *testing.T) {
			c := gathering()
			const commits, work = 10_000, stride / 5
			start := time.Now()
			for range commits {
				for range callers {
					c.queue <- asked()
				}
				if got := len(c.gather(<-c.queue)); got != callers {
					t.Fatalf("a commit of %d, want %d", got, callers)
				}
				time.Sleep(work)
			}
			if waited := time.Since(start) - commits*work; waited > commits*work/20 {
				t.Errorf("%d callers waited for nobody %v of %v", callers, waited, commits*work)
			}
		})
	}
}

// TestPauseNeverLong: whoever comes to a committer at rest is served at once, as
// is a crowd, and nobody waits longer than a stride.
func TestPauseNeverLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gathering()
		time.Sleep(stride)
		start := time.Now()
		c.gather(asked())
		for range enough + 1 {
			c.queue <- asked()
		}
		c.gather(<-c.queue)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		c.gather(asked())
		if waited := time.Since(start); waited != stride {
			t.Errorf("waited %v, want a stride", waited)
		}
	})
}
