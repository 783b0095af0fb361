package files

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/jobcast/jobcast/jobs"
)

// full makes jobs.ErrStorageFull of the errors of a full disk, and jobs.ErrUnavailable
// of those that pass when others give something back: file descriptors, memory.
func full(err error) error {
	for _, passing := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, passing) {
			return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
		}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", jobs.ErrStorageFull, err)
	}
	return err
}
