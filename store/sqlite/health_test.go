package sqlite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// copyFile makes a file with the same bytes and another inode.
func copyFile(path string) error {
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// journal is a log that is written to by several goroutines.
type journal struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) lines(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), text)
}

// settle makes the committer rely on a folder that it found as it is now, as it would
// after some seconds.
func settle(t *testing.T, s *Store) {
	t.Helper()
	err := <-enqueue(s, func(*batch) error {
		return syscall.Stat(s.health.dir, &s.health.intact)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLost: whatever is done to the files of a running store, from then on nothing is
// acknowledged, probes say so, the log says it once, and what is open can be read.
func TestLost(t *testing.T) {
	base := func(dir, suffix string) string { return filepath.Join(dir, databaseFile+suffix) }
	for name, harm := range map[string]func(dir string) error{
		"the folder is removed":     os.RemoveAll,
		"the folder is renamed":     func(dir string) error { return os.Rename(dir, dir+".old") },
		"the database is removed":   func(dir string) error { return os.Remove(base(dir, "")) },
		"the database is replaced":  func(dir string) error { return copyFile(base(dir, "")) },
		"the database is emptied":   func(dir string) error { return os.Truncate(base(dir, ""), 0) },
		"the WAL is removed":        func(dir string) error { return os.Remove(base(dir, "-wal")) },
		"the WAL is replaced":       func(dir string) error { return copyFile(base(dir, "-wal")) },
		"the WAL index is removed":  func(dir string) error { return os.Remove(base(dir, "-shm")) },
		"the lock is removed":       func(dir string) error { return os.Remove(filepath.Join(dir, serveLockFile)) },
		"the lock is replaced":      func(dir string) error { return copyFile(filepath.Join(dir, serveLockFile)) },
		"the folder is made afresh": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			var published int
			var log journal
			s, err := Open(t.Context(), dir, Options{
				Serving:   true,
				Logger:    slog.New(slog.NewTextHandler(&log, nil)),
				Publisher: publisher(func(e []eventlog.Event) { published += len(e) }),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil && name != "the database is emptied" { // then there is nothing to move the WAL into
					t.Errorf("close: %v", err)
				}
			}()
			l := leased(t, s, "a")
			if err := s.Ready(t.Context()); err != nil {
				t.Fatalf("before: %v", err)
			}
			before, at := published, head(t, s, "a")
			settle(t, s)
			if err := harm(dir); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := s.Ready(t.Context()); !errors.Is(err, jobs.ErrLost) {
					t.Errorf("ready: %v, want %v", err, jobs.ErrLost)
				}
				if _, _, err := s.Submit(t.Context(), "a", newID(), sample, jobs.Idempotency{}); !errors.Is(err, jobs.ErrLost) {
					t.Errorf("submit: %v, want %v", err, jobs.ErrLost)
				}
			}
			if published != before {
				t.Errorf("%d events were published", published-before)
			}
			if name != "the database is emptied" {
				if _, err := s.Get(t.Context(), "a", l.Job.ID); err != nil {
					t.Errorf("get: %v", err)
				}
				if now := head(t, s, "a"); now != at {
					t.Errorf("the log went on from %d to %d", at, now)
				}
			}
			if n := log.lines("level=ERROR"); n != 1 {
				t.Errorf("%d errors in the log, want one:\n%s", n, &log.buf)
			}
		})
	}
}

// TestFolderIsLookedAtAgain: the committer looks at the files one by one as long as a change
// of their folder is new.
func TestFolderIsLookedAtAgain(t *testing.T) {
	relies := func(s *Store) (relies bool) {
		t.Helper()
		if err := <-enqueue(s, func(*batch) error { return nil }); err != nil {
			t.Fatal(err)
		}
		<-enqueue(s, func(*batch) error { relies = s.health.intact.Ino != 0; return nil })
		return relies
	}
	dir := filepath.Join(t.TempDir(), "data")
	s := openServing(t, dir, Options{})
	if relies(s) {
		t.Error("a folder that is being made is relied on")
	}
	settle(t, s)
	if !relies(s) {
		t.Error("a settled folder is not relied on")
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if relies(s) {
		t.Error("a folder with a new name in it is relied on")
	}
}

// TestLostWhileCommitting: a commit that went to files which were gone by then is not
// acknowledged, and is not seen.
func TestLostWhileCommitting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var published int
	s := openServing(t, dir, Options{
		Logger: slog.New(slog.DiscardHandler), Publisher: publisher(func(e []eventlog.Event) { published += len(e) }),
	})
	err := <-enqueue(s, func(b *batch) error {
		return errors.Join(submitCommand(newID())(b), os.Rename(dir, dir+".away"))
	})
	if !errors.Is(err, jobs.ErrLost) || published != 0 {
		t.Errorf("%v, %d events published; want %v and none", err, published, jobs.ErrLost)
	}
	// The files are back, with that commit in them: the log goes on behind it.
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("ready with its files back: %v", err)
	}
	j, _, err := s.Submit(t.Context(), "a", newID(), sample, jobs.Idempotency{})
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := eventlog.ParseCursor(j.Cursor); c.Seq != 2 || published != 1 {
		t.Errorf("the log goes on at %s with %d events published", j.Cursor, published)
	}
}

// TestReadErrorInTransaction: after a read that failed in the middle of a transaction
// SQLite lets its connection write no more. The store goes on all the same.
func TestReadErrorInTransaction(t *testing.T) {
	dir := t.TempDir()
	s := openServing(t, dir, Options{Logger: slog.New(slog.DiscardHandler)})
	l := leased(t, s, "a")
	var disk faultyDisk
	disk.under(t, s, dir)
	runs := 0
	err := <-enqueue(s, func(b *batch) error {
		if runs++; runs > 1 {
			return nil
		}
		if _, err := b.exec("PRAGMA shrink_memory"); err != nil { // forgets pages
			return err
		}
		defer disk.fail()()
		_, err := b.jobByID(1)
		if !corrupt(err) {
			t.Errorf("a read error: %v", err)
		}
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("after %d tries: %v", runs, err)
	}
	if _, err := s.Append(t.Context(), l.Lease, []jobs.Body{jobs.Logged("info", "x")}); err != nil {
		t.Errorf("append after it: %v", err)
	}
}

// TestCorruptStays: what the disk gives back readily and is no database is no passing trouble.
func TestCorruptStays(t *testing.T) {
	dir := t.TempDir()
	s := openServing(t, dir, Options{Logger: slog.New(slog.DiscardHandler)})
	leased(t, s, "a")
	if _, err := s.committer.db.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	db, err := os.OpenFile(filepath.Join(dir, databaseFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) // not before the store: see health.remember
	const page = 4096
	info, err := db.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.NewOffsetWriter(db, page), zeros{}, info.Size()-page); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Counts(t.Context()); err == nil || errors.Is(err, jobs.ErrUnavailable) || !corrupt(err) {
		t.Errorf("a corrupt database: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestTroubleHeals: from the first command that was refused until one goes through
// the store is not ready; nobody has to ask for that.
func TestTroubleHeals(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log journal
		s := openServing(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		other, err := newSession(context.Background(), s.writerDB, "")
		if err != nil {
			t.Fatal(err)
		}
		defer other.close()
		if _, err := other.exec("PRAGMA busy_timeout = 1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.committer.db.exec("PRAGMA busy_timeout = 1"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.exec("BEGIN IMMEDIATE"); err != nil { // as another program would lock it
			t.Fatal(err)
		}
		if _, _, err := s.Submit(t.Context(), "a", newID(), sample, jobs.Idempotency{}); !errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("submit to a locked database: %v", err)
		}
		time.Sleep(10 * healthInterval) // fake time
		if err := s.Ready(t.Context()); !errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("ready: %v", err)
		}
		if _, err := other.exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * healthInterval)
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("ready afterwards: %v", err)
		}
		if bad, good := log.lines("refuses work"), log.lines("takes work again"); bad != 1 || good != 1 {
			t.Errorf("the log tells of it %d times, and of the end %d times:\n%s", bad, good, &log.buf)
		}
	})
}

// TestHoldsEndInTrouble: room that was held is free again, also if it is given back
// while nothing can be written, or together with a commit that fails.
func TestHoldsEndInTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openServing(t, dir, Options{
		Logger: slog.New(slog.DiscardHandler), Limits: jobs.Limits{ArtifactsPerClient: 1000, Storage: 1 << 30},
	})
	l := leased(t, s, "a")
	hold := func(id string) error {
		_, _, err := s.HoldArtifact(t.Context(), l.Lease, jobs.Hold{ID: id, Name: "f", Least: 1000, Most: 1000})
		return err
	}
	if err := hold("one"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.DropHold(t.Context(), "one"); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("while the folder is away: %v", err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := hold("two"); err != nil {
		t.Errorf("after it: %v", err)
	}

	added := &command{rows: 1, err: make(chan error, 1), run: func(b *batch) error {
		r, err := b.holding(l.Lease)
		if err == nil {
			_, err = b.putArtifact(r, jobs.StoredArtifact{Artifact: jobs.Artifact{Name: "f", Size: 1000}, File: "f", Hold: "two"}, nil)
		}
		return errors.Join(err, os.Rename(dir, dir+".away"))
	}}
	dropped := &command{drop: "two", err: make(chan error, 1), run: func(b *batch) error {
		b.st.drop("two")
		return nil
	}}
	s.committer.queue <- added
	s.committer.queue <- dropped
	if err := <-added.err; !errors.Is(err, jobs.ErrLost) {
		t.Errorf("an artifact in a folder that goes: %v", err)
	}
	<-dropped.err
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extend(t.Context(), l.Lease); err != nil {
		t.Fatal(err)
	}
	if n, held := len(s.committer.st.holds), s.committer.st.storage.held; n != 0 || held != 0 {
		t.Errorf("%d holds are left, of %d bytes", n, held)
	}
}
