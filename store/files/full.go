package files

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/jobcast/jobcast/jobs"
)

// full makes jobs.ErrStorageFull of the errors of a full disk.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", jobs.ErrStorageFull, err)
	}
	return err
}
