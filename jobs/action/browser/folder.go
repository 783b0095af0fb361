package browser

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	folderPrefix = "jobcast-browser-"
	lockName     = "lock" // a file in a run folder that is locked as long as its server lives
)

// folder is what one browser has on the host: files for what pages download and are given,
// and what else is needed beside. It is outside the data folder, because its user is
// another one.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a run folder.
func newFolder() (f folder, err error) {
	if f.path, err = os.MkdirTemp("", folderPrefix); err != nil {
		return f, fmt.Errorf("make the browser's folder: %w", err)
	}
	f.lock, err = lockIn(f.path)
	files := f.files() // not the browser's: it must not put anything in the place of what is in there
	err = errors.Join(err, os.Mkdir(files, 0o700))
	if os.Getuid() == 0 {
		for _, path := range []string{f.path, files} {
			err = errors.Join(err, os.Chmod(path, 0o711)) //nolint:gosec // G302: the browser's user must come through
		}
	}
	if err != nil {
		return f, errors.Join(fmt.Errorf("make the browser's folder: %w", err), f.remove())
	}
	return f, nil
}

// lockIn makes the lock of a run folder. It has its name only once it is locked.
func lockIn(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, lockName)
	if err == nil {
		err = errors.Join(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB), os.Rename(file.Name(), filepath.Join(dir, lockName)))
	}
	return file, err
}

func (f folder) files() string { return filepath.Join(f.path, "files") }

// remove removes the folder and all that is in it.
func (f folder) remove() error {
	err := os.RemoveAll(f.path)
	if f.lock != nil {
		_ = f.lock.Close() // which unlocks what is gone
	}
	return err
}

// Tidy removes run folders of servers that were killed. Those of servers that live are
// locked; what is not this user's own, or no folder, is left alone.
func Tidy(log *slog.Logger) {
	if err := tidy(os.TempDir(), log); err != nil {
		log.Warn("the folders of former browsers were not looked for", "error", err)
	}
}

func tidy(dir string, log *slog.Logger) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	all, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = all.Close() }() // it was only read
	names, err := all.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, folderPrefix) {
			continue
		}
		lock, abandoned := abandonedLock(int(all.Fd()), name)
		if !abandoned {
			continue
		}
		if err := root.RemoveAll(name); err != nil { // which follows no links
			log.Warn("the folder of a former browser was not removed", "folder", filepath.Join(dir, name), "error", err)
		} else {
			log.Info("the folder of a browser was removed whose server had been killed", "folder", filepath.Join(dir, name))
		}
		_ = unix.Close(lock) // which unlocks what is gone
	}
	return err
}

// abandonedLock takes the lock of a run folder. It fails if somebody has it, or if the folder or
// the lock is not this user's own, or a link.
func abandonedLock(parent int, name string) (lock int, ok bool) {
	dir, err := openOwn(parent, name, unix.O_DIRECTORY, unix.S_IFDIR)
	if err != nil {
		return 0, false
	}
	defer func() { _ = unix.Close(dir) }()
	if lock, err = openOwn(dir, lockName, unix.O_NONBLOCK, unix.S_IFREG); err != nil {
		return 0, false
	}
	if unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = unix.Close(lock)
		return 0, false
	}
	return lock, true
}

// openOwn opens a file of a kind in a folder, if it is this user's own and no link.
func openOwn(parent int, name string, flags int, kind uint32) (int, error) {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && (stat.Uid != uint32(os.Getuid()) || stat.Mode&unix.S_IFMT != kind) {
		err = os.ErrPermission
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}
