package files

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/jobcast/jobcast/jobs"
)

// The errors of a full disk, a quota or a limit; and those of a machine that cannot
// do it at the moment, or of a folder that it may not use.
var (
	noSpace = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}
	notNow  = []error{
		syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EBUSY, syscall.EINTR,
		syscall.ETIMEDOUT, syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.EROFS, syscall.EACCES, syscall.EPERM,
	}
)

// passing makes jobs.ErrStorageFull or jobs.ErrUnavailable of errors that are no
// fault of whoever asked.
func passing(err error) error {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case slices.ContainsFunc(noSpace, is):
		return fmt.Errorf("%w: %w", jobs.ErrStorageFull, err)
	case slices.ContainsFunc(notNow, is):
		return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
	}
	return err
}
