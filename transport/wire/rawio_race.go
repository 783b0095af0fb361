//go:build race

package wire

import (
	"errors"
	"syscall"
)

// read and write are those of package syscall, which tell the race detector that what was
// done before a write happens before what is done after the read.
func read(fd int, p []byte) (int, error)  { return again(syscall.Read, fd, p) }
func write(fd int, p []byte) (int, error) { return again(syscall.Write, fd, p) }

func again(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
