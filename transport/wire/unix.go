package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// UnixPrefix begins the address of a unix socket: unix:/run/jobcast.sock.
const UnixPrefix = "unix:"

// SocketMode lets the owner and the group of a unix socket connect, for a proxy that
// runs as another user.
const SocketMode fs.FileMode = 0o660

// listenUnix opens a listener on a unix socket. What lies at its path is replaced if it
// is a socket that nobody listens on. The socket appears with its mode, whatever the
// umask is, and goes when the listener is closed.
func listenUnix(ctx context.Context, path string) (_ net.Listener, err error) {
	if err := vacant(ctx, path); err != nil {
		return nil, err
	}
	draft := path + "." + strings.ToLower(rand.Text()[:4])
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", draft)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("the path %s is too long for a socket", path)
	}
	if err != nil {
		return nil, err
	}
	u := ln.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // by its first name
	s := &socketListener{UnixListener: u, path: path}
	if err = os.Chmod(draft, SocketMode); err == nil {
		s.info, err = os.Lstat(draft)
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		return nil, errors.Join(err, u.Close(), os.Remove(draft))
	}
	return s, nil
}

// vacant reports whether a socket may be put at path.
func vacant(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s already exists and is not a socket", path)
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = nc.Close()
		return fmt.Errorf("another program listens on %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

// socketListener is a listener on a unix socket that was renamed.
type socketListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo // of the socket
}

// Addr returns the path.
func (s *socketListener) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close removes the socket, unless another program has put its own there since.
func (s *socketListener) Close() error {
	err := s.UnixListener.Close()
	if info, there := os.Lstat(s.path); there == nil && os.SameFile(info, s.info) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}
