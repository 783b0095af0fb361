package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder? with #odd%20 name")
	first, err := Open(t.Context(), dir, Options{Serving: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	if _, err := Open(t.Context(), dir, Options{Serving: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("second server: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openServing(t, dir, Options{})
}

// TestKeysBesideServe: another process manages keys while this one serves.
func TestKeysBesideServe(t *testing.T) {
	dir := t.TempDir()
	s := openServing(t, dir, Options{})
	l := leased(t, s, "a")
	before, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var load, cli sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Append(context.Background(), l.Lease, []jobs.Body{jobs.Progressed(1, "", "")}); err != nil {
					t.Errorf("append beside the CLI: %v", err)
					return
				}
			}
		})
	}
	const tools, each = 4, 5
	for i := range tools {
		cli.Go(func() {
			other, err := Open(context.Background(), dir, Options{})
			if err != nil {
				t.Errorf("open beside serve: %v", err)
				return
			}
			for j := range each {
				k := auth.Stored{Key: auth.Key{ID: fmt.Sprint("k", i, j), ClientID: fmt.Sprint("c", i), CreatedAt: time.Now()}, Hash: [32]byte{byte(i), byte(j)}}
				if err := other.CreateKey(context.Background(), k); err != nil {
					t.Errorf("create key: %v", err)
				}
			}
			if _, err := other.Cancel(context.Background(), "a", l.Job.ID); !errors.Is(err, errNotServing) {
				t.Errorf("cancel without Serving: %v", err)
			}
			if err := other.Close(); err != nil {
				t.Errorf("close beside serve: %v", err)
			}
		})
	}
	cli.Wait()
	close(stop)
	load.Wait()
	if after, err := s.Revision(t.Context()); err != nil || after != before+tools*each {
		t.Errorf("revision went from %d to %d, error %v", before, after, err)
	}
	if keys, err := s.Keys(t.Context(), ""); err != nil || len(keys) != tools*each {
		t.Errorf("%d keys, error %v", len(keys), err)
	}
	if _, _, err := s.Submit(t.Context(), "c1", newID(), sample, jobs.Idempotency{}); err != nil {
		t.Errorf("submit of a client that another process made: %v", err)
	}
}

// TestJournalComesAndGoes: a file that another process makes and removes meanwhile keeps
// nobody from opening the folder.
func TestJournalComesAndGoes(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for journal := filepath.Join(dir, databaseFile+"-journal"); ; {
			select {
			case <-stop:
				return
			default:
			}
			if err := errors.Join(os.WriteFile(journal, nil, 0o644), os.Remove(journal)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2000 {
		if err := errors.Join(usable(dir), narrow(dir, slog.New(slog.DiscardHandler))); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	other.Wait()
}

// TestFirstStartTogether: processes that find no database make one.
func TestFirstStartTogether(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(context.Background(), dir, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOpenRefuses(t *testing.T) {
	ours := func(t *testing.T, dir string) {
		s, err := Open(t.Context(), dir, Options{Serving: true})
		if err != nil {
			t.Fatal(err)
		}
		leased(t, s, "a")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(t *testing.T, dir, query string) {
		db := sql.OpenDB(connector{dsn: dsn(dir, "")})
		_, err := db.Exec(query)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	overwrite := func(t *testing.T, dir string, at int64, text string) {
		f, err := os.OpenFile(filepath.Join(dir, databaseFile), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte(text), at)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"no database": {func(t *testing.T, dir string) {
			overwrite(t, dir, 0, strings.Repeat("hello ", 1000))
		}, "not a database"},
		"another program's": {func(t *testing.T, dir string) { exec(t, dir, "CREATE TABLE t (x)") }, "another program"},
		"newer": {func(t *testing.T, dir string) {
			ours(t, dir)
			exec(t, dir, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
		}, "newer"},
		"a folder in its place": {func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, databaseFile), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
		"corrupt": {func(t *testing.T, dir string) {
			ours(t, dir)
			overwrite(t, dir, 100, strings.Repeat("\xff", 600)) // the schema's page
		}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, dir)
			s, err := Open(t.Context(), dir, Options{Serving: true})
			if err == nil {
				t.Error(s.Close())
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("open: %v, want one line with %q", err, test.want)
			}
		})
	}
	t.Run("a file in the folder's place", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), file, Options{}); err == nil {
			t.Error("opened")
		}
	})
}

// TestEpochOfEachStart: each start begins a new epoch with its first append, so that not
// even what a power cut took from a log can be mistaken for what follows.
func TestEpochOfEachStart(t *testing.T) {
	dir := t.TempDir()
	var epochs []string
	for start := range 3 {
		s := openServing(t, dir, Options{})
		for range 2 {
			j, _, err := s.Submit(t.Context(), "a", newID(), sample, jobs.Idempotency{})
			if err != nil {
				t.Fatal(err)
			}
			at, _ := eventlog.ParseCursor(j.Cursor)
			if i := slices.Index(epochs, at.Epoch); i >= 0 && i != start {
				t.Errorf("start %d writes in the epoch of start %d", start, i)
			} else if i < 0 {
				epochs = append(epochs, at.Epoch)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(epochs) != 3 {
		t.Errorf("three starts wrote in the epochs %q", epochs)
	}
}
