package sqlite

import (
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/jobcast/jobcast/jobs"
)

// ErrLocked: another process serves this data folder.
var ErrLocked = errors.New("the data folder is in use by another jobcast serve")

// errNotServing refuses to append events without the lock on the folder: two
// processes that number one log would tear it apart.
var errNotServing = errors.New("this store was opened without Serving and cannot change jobs")

// refusal is a command's answer "no" before it changed anything: the batch
// goes on. Any other error of a command rolls its transaction back.
type refusal struct{ err error }

func (r refusal) Error() string { return r.err.Error() }
func (r refusal) Unwrap() error { return r.err }

func refuse(err error) error { return refusal{err} }

// statementError maps an error of a rolled-back statement: nothing was stored.
func statementError(err error) error {
	var se sqlite3.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code {
	case sqlite3.ErrFull:
		return fmt.Errorf("%w: %w", jobs.ErrStorageFull, err)
	case sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrIoErr:
		return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
	}
	return err
}

// commitError maps an error of COMMIT. A full disk is known to have stored
// nothing, because the commit frame is written last; all else leaves the fate open.
func commitError(err error) error {
	var se sqlite3.Error
	if errors.As(err, &se) && se.Code == sqlite3.ErrFull {
		return fmt.Errorf("%w: commit: %w", jobs.ErrStorageFull, err)
	}
	return fmt.Errorf("%w: commit: %w", jobs.ErrUnavailable, err)
}
