package browser

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// JailCommand is the name of the hidden command that runs Inside.
const JailCommand = "browser-jail"

// handOver is the descriptor that listeners are handed out of the jail by. Those before it
// are Chromium's own.
const handOver = 5

// MaxContexts is how many contexts a browser may have: their listeners travel in one
// message, which holds 253.
const MaxContexts = 64

// Inside is the hidden command: it opens listeners on the loopback of the jail that it runs
// in, hands them to the process outside, and becomes the browser. args are the number of
// listeners and the browser with its arguments. It returns only if that fails.
func Inside(args []string) error {
	if len(args) < 2 {
		return errors.New("it is for the program itself, not for people")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > MaxContexts {
		return fmt.Errorf("bad number of listeners %q", args[0])
	}
	fds, files := make([]int, n), make([]*os.File, n)
	for i := range fds {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen inside the jail: %w", err)
		}
		if files[i], err = ln.(*net.TCPListener).File(); err != nil {
			return fmt.Errorf("take the listener: %w", err)
		}
		fds[i] = int(files[i].Fd())
	}
	if err := unix.Sendmsg(handOver, []byte{1}, unix.UnixRights(fds...), nil, 0); err != nil {
		return fmt.Errorf("hand over the listeners: %w", err)
	}
	runtime.KeepAlive(files) // until they are sent
	unix.CloseOnExec(handOver)
	path, err := exec.LookPath(args[1])
	if err != nil {
		return fmt.Errorf("find the browser: %w", err)
	}
	return fmt.Errorf("become the browser: %w", syscall.Exec(path, args[1:], os.Environ())) //nolint:gosec // G204: that is what it is for
}

// handedOver returns the listeners that Inside has sent to a socket.
func handedOver(socket *os.File, n int) ([]net.Listener, error) {
	data, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(n*4))
	_, got, _, _, err := unix.Recvmsg(int(socket.Fd()), data, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive the listeners: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:got])
	if err == nil && len(messages) != 1 {
		err = fmt.Errorf("%d messages came", len(messages))
	}
	if err != nil {
		return nil, fmt.Errorf("receive the listeners: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, fmt.Errorf("receive the listeners: %w", err)
	}
	var all []net.Listener
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "listener")
		ln, err2 := net.FileListener(f)
		_ = f.Close() // the listener has a copy
		if err2 != nil {
			err = err2
			continue
		}
		all = append(all, ln)
	}
	if err == nil && len(all) != n {
		err = fmt.Errorf("%d of %d came", len(all), n)
	}
	if err != nil {
		closeAll(all)
		return nil, fmt.Errorf("receive the listeners: %w", err)
	}
	return all, nil
}

func closeAll(all []net.Listener) {
	for _, ln := range all {
		_ = ln.Close() // nobody uses it any more
	}
}
