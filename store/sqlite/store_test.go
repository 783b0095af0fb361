package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/jobcast/jobcast/store/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimDir) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(m)
}

// openServing opens the folder as a serving process does and closes it at the end.
func openServing(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	opts.Serving = true
	s, err := Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		dir := filepath.Join(t.TempDir(), "data")
		var disk faultyDisk
		return storetest.Harness{
			Open: func(o storetest.Options) storetest.Store {
				s, err := Open(t.Context(), dir, Options{Serving: true, Publisher: o.Publisher, OnChanges: o.OnChanges, Now: o.Now, Limits: o.Limits})
				if err != nil {
					t.Fatal(err)
				}
				disk.under(t, s, dir)
				return s
			},
			Manage: func() storetest.Store {
				s, err := Open(t.Context(), dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Save: func() func() {
				saved := t.TempDir()
				if err := os.CopyFS(filepath.Join(saved, "data"), os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				return func() {
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
					if err := os.CopyFS(dir, os.DirFS(filepath.Join(saved, "data"))); err != nil {
						t.Fatal(err)
					}
				}
			},
			Break: disk.fail,
		}
	})
}

// faultyDisk lets the files of a store fail, those opened meanwhile too: it puts
// /proc/self/mem under their descriptors, which fails reads with EIO, and writes
// because it is open for reading only.
type faultyDisk struct {
	t    *testing.T
	path string // of the database

	mu     sync.Mutex // guards the fields below: readers and the writer renew their connections at the same time
	broken bool
	kept   map[int]int // descriptor -> a copy of what it was
}

func (d *faultyDisk) under(t *testing.T, s *Store, dir string) {
	d.t, d.path, d.kept = t, filepath.Join(dir, databaseFile), make(map[int]int)
	s.renew = func(db *sql.DB, old *conn) (*conn, error) {
		fresh, err := renewed(db, old)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.broken {
			d.swap()
		}
		return fresh, err
	}
}

func (d *faultyDisk) fail() (heal func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken, d.kept = true, make(map[int]int)
	d.swap()
	return d.heal
}

// file is what a descriptor of this process leads to; empty: it is closed.
func file(fd int) string {
	name, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	return name
}

// swap puts the bad file under all descriptors that are not yet so; the caller holds mu.
func (d *faultyDisk) swap() {
	d.t.Helper()
	bad, err := unix.Open("/proc/self/mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer unix.Close(bad)
	copies := slices.Collect(maps.Values(d.kept))
	var fds []int // all of them before one is copied
	for fd := range 1 << 10 {
		if name := file(fd); (name == d.path || name == d.path+"-wal") && !slices.Contains(copies, fd) {
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		was, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			d.kept[fd] = was
			err = unix.Dup3(bad, fd, unix.O_CLOEXEC)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *faultyDisk) heal() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = false
	for fd, was := range d.kept {
		var err error
		if strings.HasSuffix(file(fd), "/mem") { // else it was closed since, and may be anybody's
			err = unix.Dup3(was, fd, unix.O_CLOEXEC)
		}
		if err := errors.Join(err, unix.Close(was)); err != nil {
			d.t.Fatal(err)
		}
	}
}
