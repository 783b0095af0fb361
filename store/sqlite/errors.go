package sqlite

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/jobcast/jobcast/jobs"
)

// ErrLocked: another process serves this data folder.
var ErrLocked = errors.New("the data folder is in use by another jobcast serve")

// What else keeps a database from being opened.
var (
	errNewer   = errors.New("it was written by a newer version")
	errForeign = errors.New("this is a database of another program")
)

// errNotServing refuses to append events without the lock on the folder: two
// processes that number one log would tear it apart.
var errNotServing = errors.New("this store was opened without Serving and cannot change jobs")

// refusal is a command's answer "no" before it changed anything: the batch
// goes on. Any other error of a command rolls its transaction back.
type refusal struct{ err error }

func (r refusal) Error() string { return r.err.Error() }
func (r refusal) Unwrap() error { return r.err }

func refuse(err error) error { return refusal{err} }

// storageError tells an error that may pass, which is no fault of whoever asked,
// from one that will come again: the first is made ErrStorageFull or ErrUnavailable.
// It is for statements that were rolled back, and for reads.
func storageError(err error) error {
	var se sqlite3.Error
	if !errors.As(err, &se) {
		return err
	}
	switch {
	case isFull(se):
		return fmt.Errorf("%w: %w", jobs.ErrStorageFull, err)
	case mayPass(se):
		return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
	}
	return err
}

// commitError maps an error of COMMIT. A disk without room for the commit is known
// to have stored nothing, because the commit frame is written last; all else leaves
// the fate open.
func commitError(err error) error {
	var se sqlite3.Error
	if errors.As(err, &se) && isFull(se) {
		return fmt.Errorf("%w: commit: %w", jobs.ErrStorageFull, err)
	}
	return fmt.Errorf("%w: commit: %w", jobs.ErrUnavailable, err)
}

// isFull reports whether there was no room for a write. SQLite knows that of a full
// disk; of a quota or a limit it says that the write failed, and keeps the reason.
func isFull(e sqlite3.Error) bool {
	if e.Code == sqlite3.ErrFull {
		return true
	}
	return e.ExtendedCode == sqlite3.ErrIoErrWrite &&
		(e.SystemErrno == syscall.ENOSPC || e.SystemErrno == syscall.EDQUOT || e.SystemErrno == syscall.EFBIG)
}

// mayPass reports whether the machine or another process stood in the way, and not
// the statement or what is stored (https://sqlite.org/rescode.html).
func mayPass(e sqlite3.Error) bool {
	switch e.Code {
	case sqlite3.ErrIoErr: // a disk or a network that does not answer; also memory that could not be had
		const corruptFS = 33 // SQLITE_IOERR_CORRUPTFS: the file system found what it holds broken
		return e.ExtendedCode != sqlite3.ErrIoErr.Extend(corruptFS)
	case sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrProtocol: // another process
		return true
	case sqlite3.ErrCantOpen, sqlite3.ErrNomem, sqlite3.ErrInterrupt: // too many open files, no memory
		return true
	case sqlite3.ErrReadonly, sqlite3.ErrPerm: // the folder was made read-only
		return true
	}
	return false
}
