package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"
)

const (
	folderMode = 0o700
	fileMode   = 0o600
	others     = 0o077 // what nobody but the owner may have
)

// ownFiles are the files that a data folder may hold, beside the folder of artifacts.
var ownFiles = []string{
	databaseFile, databaseFile + "-wal", databaseFile + "-shm", databaseFile + "-journal",
	serveLockFile, migrateLockFile, secretFile, secretFile + ".new",
}

// makeFolder makes the data folder and an empty database, for the owner alone
// whatever the umask is.
func makeFolder(dir string) error {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, folderMode); err == nil {
			err = os.Chmod(dir, folderMode)
		}
	}
	if err != nil {
		return err
	}
	// SQLite would take its mode from the umask, and gives its other files that of
	// the database. One that is there already must not be opened: see health.remember.
	path := filepath.Join(dir, databaseFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(fileMode), file.Close())
}

// narrow takes from others what they may do with the folder and its files, which an
// earlier version or a copy may have left to them. A folder that holds other things
// too (/tmp, say) keeps its mode.
func narrow(dir string, log *slog.Logger) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	ours := true
	for _, e := range entries {
		switch {
		case slices.Contains(ownFiles, e.Name()) && e.Type().IsRegular():
			if err := protect(filepath.Join(dir, e.Name()), fileMode, log); err != nil {
				return err
			}
		case slices.Contains(ownFiles, e.Name()) || e.Name() == "artifacts" || isRoomFile(e.Name()): // looked after by its owner
		default:
			ours = false
		}
	}
	if ours {
		return protect(dir, folderMode, log)
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&others != 0 {
		log.Warn("the data folder is open to others and holds other files, so only jobcast's own files are protected", "data", dir)
	}
	return nil
}

// protect sets a mode. What belongs to another user cannot be helped, and is only said
// if others may do something with it.
func protect(path string, mode fs.FileMode, log *slog.Logger) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm() == mode {
		return nil
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if errors.Is(err, fs.ErrNotExist) { // a journal goes when its transaction ends
		return nil
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		if info != nil && info.Mode().Perm()&others == 0 {
			return nil
		}
		log.Warn("others may read this path, and its mode cannot be changed", "path", path, "error", err)
		return nil
	}
	return err
}

// usable looks whether the files can be written, because SQLite says much less of why
// it cannot. It opens none of them.
func usable(dir string) error {
	for _, name := range append([]string{""}, ownFiles...) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err == nil && name != "" && info.IsDir() {
			err = &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
		}
		if err == nil {
			err = unix.Access(path, unix.R_OK|unix.W_OK)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a journal goes when its transaction ends
			var known *os.PathError
			if errors.As(err, &known) {
				return err
			}
			return &os.PathError{Op: "write", Path: path, Err: err}
		}
	}
	return nil
}

// openError says of an error of Open which folder it is, what was tried, and what to
// do, in one line.
func openError(dir string, err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if do := advice(err); do != "" {
		text += "; " + do
	}
	return &folderError{text: fmt.Sprintf("open data folder %s: %s", dir, text), err: err}
}

// folderError is an error with a text of its own.
type folderError struct {
	text string
	err  error
}

func (e *folderError) Error() string { return e.text }
func (e *folderError) Unwrap() error { return e.err }

const elsewhere = ", or name another folder with --data or JOBCAST_DATA"

// advice says what to do about an error of Open; empty: nothing is known.
func advice(err error) string {
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	var se sqlite3.Error
	isSQLite := errors.As(err, &se)
	if isSQLite && se.SystemErrno != 0 {
		err = errors.Join(err, se.SystemErrno)
	}
	switch {
	case is(ErrLocked):
		return "stop that one" + elsewhere
	case is(errNewer):
		return "run that version, or put back a copy from before it"
	case is(syscall.EROFS):
		return "its file system is mounted read-only: mount it for writing" + elsewhere
	case is(fs.ErrPermission), isSQLite && (se.Code == sqlite3.ErrReadonly || se.Code == sqlite3.ErrPerm):
		return fmt.Sprintf("user %d must own the folder and all that is in it (chown, or run as its owner)%s", os.Geteuid(), elsewhere)
	case is(syscall.ENOSPC, syscall.EDQUOT), isSQLite && se.Code == sqlite3.ErrFull:
		return "there is no space left: free some" + elsewhere
	case is(syscall.ENOTDIR):
		return "a part of this path is a file: it must be a folder" + elsewhere
	case is(syscall.EISDIR), isSQLite && se.Code == sqlite3.ErrNotADB, is(errForeign):
		return "this is not jobcast's: move it away" + elsewhere
	case isSQLite && se.Code == sqlite3.ErrCorrupt:
		return "the database is damaged: put back a copy of the folder"
	case is(syscall.EMFILE, syscall.ENFILE):
		return "too many files are open: raise the limit (ulimit -n)"
	case is(syscall.ENOLCK, syscall.ENOTSUP, syscall.ENOSYS):
		return "its file system knows no locks: use a local one" + elsewhere
	case isSQLite && se.Code == sqlite3.ErrBusy:
		return "another program holds the database: end it"
	}
	return ""
}
