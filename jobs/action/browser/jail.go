package browser

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Paths inside the jail.
const (
	jailHelper = "/jobcast"
	jailHome   = "/tmp" // of a file system in memory that goes with the jail
	jailFiles  = "/files"
)

// jailBytes caps what the browser writes to its home: its profile, and the memory that its
// processes share.
const jailBytes = 1 << 30

// browserUser is whom the browser runs as if this process is root: an id that no
// distribution gives out, inside what containers commonly map.
const browserUser = 65533

// jailArgs returns the arguments of bubblewrap for a browser. helper and files are paths
// of the host.
func jailArgs(program, helper, files string) []string {
	args := []string{
		"--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--hostname", "jail",
	}
	for _, dir := range []string{"/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/share/fonts", "/usr/share/fontconfig", "/usr/share/X11/locale", "/etc/fonts", "/etc/ssl/certs"} {
		args = append(args, "--ro-bind-try", dir, dir)
	}
	for _, dir := range []string{"/lib", "/lib64", "/lib32"} { // where the loader is looked for
		if to, err := os.Readlink(dir); err == nil {
			args = append(args, "--symlink", to, dir)
		} else {
			args = append(args, "--ro-bind-try", dir, dir)
		}
	}
	if dir := filepath.Dir(program); !strings.HasPrefix(dir, "/usr/lib/") {
		args = append(args, "--ro-bind", dir, dir)
	}
	return append(args,
		"--ro-bind", helper, jailHelper,
		"--bind", files, jailFiles,
		"--proc", "/proc", "--dev", "/dev",
		"--size", strconv.Itoa(jailBytes), "--tmpfs", jailHome,
		"--remount-ro", "/",
		"--chdir", jailHome,
		"--",
	)
}

// reachable reports whether another user can read and run the program at path.
func reachable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&0o005 != 0o005 {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

// give makes a file or folder the browser's.
func give(path string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return os.Chown(path, browserUser, browserUser)
}

// helper returns the path of a program that runs Inside, one that the browser's user can
// read: this program, or a copy of it in dir.
func helper(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if os.Getuid() != 0 || reachable(self) {
		return self, nil
	}
	copied := filepath.Join(dir, "jobcast")
	if err := copyProgram("/proc/self/exe", copied); err != nil {
		return "", fmt.Errorf("copy this program for the browser's user: %w", err)
	}
	return copied, nil
}

// copyProgram copies a program. Meanwhile no other is started: its process would hold the
// copy open for writing until it has become that program, and such a file cannot be run.
func copyProgram(from, to string) (err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()                                     // it was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o555) //nolint:gosec // G302: the browser's user runs it
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close())
}

// socketPair returns two ends of a socket, neither of which a program started inherits
// unless it is given it.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "jail"), os.NewFile(uintptr(fds[1]), "jail"), nil
}
