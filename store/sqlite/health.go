package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobcast/jobcast/jobs"
)

const (
	healthInterval = time.Second     // between two looks at the folder, and between two tries to write while writing fails
	slowCommit     = 5 * time.Second // a commit that takes longer counts as trouble: callers soon give up on it
	minFree        = 1 << 20         // bytes; with less space the disk counts as full

	// tellApart is how old a change of the folder must be to be told by its time from a
	// later one: some file systems count time in steps of two seconds.
	tellApart = 5 * time.Second
)

// health knows whether what is written will be found again. Commands fail one by
// one; health is what they have in common, for probes and for one line in the log.
type health struct {
	dir   string
	files []openFile // what the store has open; empty until connected
	log   *slog.Logger

	intact syscall.Stat_t // the folder when all files were last found in it, for the committer alone; zero: look

	// probes are the database and its WAL, for reading them without SQLite. They
	// are closed after SQLite has closed its own: see remember.
	probes   []*os.File
	database int // the first one's descriptor; -1: not serving, none is open
	probe    prober

	bounded atomic.Bool // the bound on storage is reached: submits are refused

	began atomic.Int64 // when the commit at work began, as UnixNano; 0: none is

	mu      sync.Mutex // guards what is below
	trouble error      // why the newest commands were refused; nil: they were not
	logged  string     // the trouble that the log knows of
}

// openFile is a file of the store as it was when it was opened.
type openFile struct {
	path     string
	dev, ino uint64
}

// remember notes which files the store has open. While it is open none of them is
// ever closed, as that would give up the locks that SQLite holds on it (fcntl(2)).
func (h *health) remember(serving bool) error {
	names := []string{databaseFile, databaseFile + "-wal", databaseFile + "-shm"}
	if serving {
		names = append(names, serveLockFile)
	}
	files := make([]openFile, 0, len(names))
	for _, name := range names {
		path := filepath.Join(h.dir, name)
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
		files = append(files, openFile{path, st.Dev, st.Ino})
	}
	h.files = files
	for i := 0; serving && i < 2; i++ {
		file, err := os.Open(files[i].path)
		if err != nil {
			return err
		}
		h.probes = append(h.probes, file)
	}
	h.database = -1
	if serving {
		h.database = int(h.probes[0].Fd())
	}
	return nil
}

// close closes what remember opened.
func (h *health) close() (err error) {
	for _, file := range h.probes {
		err = errors.Join(err, file.Close())
	}
	return err
}

// kept reports with ErrLost that the paths of the database do not lead to the files
// that are open: whatever is written goes with this process. It takes some
// ten microseconds.
func (h *health) kept() error {
	for i, f := range h.files {
		var st syscall.Stat_t
		err := syscall.Stat(f.path, &st)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", jobs.ErrLost, &os.PathError{Op: "stat", Path: f.path, Err: err})
		case st.Dev != f.dev || st.Ino != f.ino:
			return fmt.Errorf("%w: %s is another file now", jobs.ErrLost, f.path)
		case i == 0 && st.Size == 0:
			return fmt.Errorf("%w: %s was emptied", jobs.ErrLost, f.path)
		}
	}
	return nil
}

// keptSince is kept for the committer, which asks twice at each commit. As long as the
// folder is where it was and no name in it has changed, it looks only whether the
// database was emptied.
func (h *health) keptSince() error {
	var dir, file syscall.Stat_t
	if err := syscall.Stat(h.dir, &dir); err != nil {
		dir = syscall.Stat_t{}
	}
	if h.intact.Ino != 0 && dir.Ino == h.intact.Ino && dir.Dev == h.intact.Dev && dir.Ctim == h.intact.Ctim &&
		syscall.Fstat(h.database, &file) == nil && file.Size > 0 {
		return nil
	}
	h.intact = syscall.Stat_t{}
	if err := h.kept(); err != nil {
		return err
	}
	if changed := time.Unix(dir.Ctim.Unix()); time.Since(changed) > tellApart {
		h.intact = dir
	}
	return nil
}

// refused notes that commands failed for a reason that concerns all. Whether the
// files are gone is seen anew each time; anything else has to be tried.
func (h *health) refused(err error) {
	if !errors.Is(err, jobs.ErrLost) {
		h.mu.Lock()
		h.trouble = err
		h.mu.Unlock()
	}
	h.tell(err)
}

// tell writes a trouble into the log unless it is there already, and its end.
func (h *health) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	h.mu.Lock()
	was := h.logged
	h.logged = text
	h.mu.Unlock()
	switch {
	case text == was:
	case err == nil:
		h.log.Info("the store takes work again", "data", h.dir)
	case errors.Is(err, jobs.ErrLost):
		h.log.Error("the data folder was removed or replaced: nothing can be kept until its files are back, or a restart makes new ones",
			"data", h.dir, "error", err)
	default:
		h.log.Error("the store refuses work", "data", h.dir, "error", err)
	}
}

// check says what is wrong at the moment: ErrLost, ErrStorageFull, or ErrUnavailable.
func (h *health) check() error {
	if err := h.kept(); err != nil {
		return err
	}
	h.mu.Lock()
	trouble := h.trouble
	h.mu.Unlock()
	if trouble != nil {
		return trouble
	}
	if h.bounded.Load() {
		return fmt.Errorf("%w: the data folder is as large as it may be", jobs.ErrStorageFull)
	}
	if began := h.began.Load(); began != 0 && time.Since(time.Unix(0, began)) > slowCommit {
		return fmt.Errorf("%w: a commit has taken more than %v", jobs.ErrUnavailable, slowCommit)
	}
	return h.space()
}

// space reports with ErrStorageFull that the folder's file system has hardly any
// room left, which an idle server would not notice otherwise.
func (h *health) space() error {
	var st unix.Statfs_t
	if err := unix.Statfs(h.dir, &st); err != nil || st.Blocks == 0 {
		return nil //nolint:nilerr // a file system that does not tell is judged by what it takes
	}
	free := st.Bavail
	if os.Geteuid() == 0 {
		free = st.Bfree
	}
	if free*uint64(st.Bsize) < minFree {
		return fmt.Errorf("%w: less than %d bytes are free", jobs.ErrStorageFull, minFree)
	}
	return nil
}

const roomFile = "room-*.tmp" // as a pattern; one that a crash left is of no use

// isRoomFile reports whether room makes files of such names.
func isRoomFile(name string) bool {
	ok, err := filepath.Match(roomFile, name)
	return ok && err == nil
}

// room reports whether there is room to write again. Unlike space it asks the file
// system for it, which also knows of quotas.
func (h *health) room() error {
	file, err := os.CreateTemp(h.dir, roomFile)
	if err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	err = unix.Fallocate(int(file.Fd()), 0, 0, minFree)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	if err = errors.Join(err, file.Close(), os.Remove(file.Name())); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	return nil
}

// attend looks after the store until closing: it says in the log what is wrong and
// tries whether it has gone.
func (s *Store) attend() {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-ticker.C:
		}
		err := s.health.check()
		if err != nil && s.recovered() {
			err = s.health.check()
		}
		s.health.tell(err)
	}
}

// recovered tries to write after it failed, and forgets the trouble if that goes well.
func (s *Store) recovered() bool {
	s.health.mu.Lock()
	trouble := s.health.trouble
	s.health.mu.Unlock()
	if trouble == nil || errors.Is(trouble, jobs.ErrStorageFull) && s.health.room() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthInterval)
	defer cancel()
	_, err := do(ctx, s.committer, 1, func(b *batch) (struct{}, error) {
		// A page is written even if in the end nothing has changed.
		if _, err := b.exec(sqlAddGarbage, "", 0); err != nil {
			return struct{}{}, err
		}
		var size int64
		_, err := b.row(sqlForget, []any{""}, &size)
		return struct{}{}, err
	})
	if err != nil {
		return false
	}
	s.health.mu.Lock()
	s.health.trouble = nil
	s.health.mu.Unlock()
	return true
}

// Ready says whether the store keeps what it is given and can be read: nil, or an
// error that is ErrUnavailable (ErrLost: for good) or ErrStorageFull. It writes
// nothing. A trouble that has gone is forgotten within two seconds.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.health.check(); err != nil {
		return err
	}
	_, err := s.Revision(ctx)
	return err
}
