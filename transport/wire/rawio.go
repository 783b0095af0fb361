//go:build !race

package wire

import (
	"io"
	"syscall"
	"unsafe"
)

// maxRaw bounds one write, and so how long it takes.
const maxRaw = 2 * fillBytes

// read and write are read(2) and write(2) on a socket that does not block, and so takes
// some microseconds. The runtime is told of other system calls because they may take
// long: if its threads have been idle, it wakes one of its own (sysmon), which from then
// on looks every 20 us, until all are idle again. At some thousand events a second that
// is an eighth of the processor time.
func read(fd int, p []byte) (int, error) { return transfer(syscall.SYS_READ, fd, p) }

// write may take less than there is, also if the socket would take more.
func write(fd int, p []byte) (int, error) {
	n, err := transfer(syscall.SYS_WRITE, fd, p[:min(len(p), maxRaw)])
	if n == 0 && err == nil && len(p) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func transfer(call uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, err := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // read(2) fills, write(2) reads len(p) bytes
		switch err {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return -1, err
	}
}
