package netns_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Addresses of the two ends (RFC 5737). They exist in namespaces without a name,
// which nothing outside can see, so tests do not meet each other.
const (
	hereAddr = "192.0.2.1" // of the process that runs the test, and of its server
	awayAddr = "192.0.2.2" // of the clients
)

// inside is set in the process that has a network of its own; it holds the path
// of the server's binary.
const inside = "JOBCAST_TEST_NETNS"

// again runs this test once more, in a process whose network is new and empty.
// The kernel removes all of it with the last process in it, however that ends.
func again(t *testing.T, binary string) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatalf("ip is not installed: run `make tools` as root on Debian, or install iproute2: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), inside+"="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 { // root of a user namespace may do the same
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("no network namespace: %v.\nThis test needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: --privileged), "+
			"or, for others, a kernel that lets them make user namespaces (user.max_user_namespaces > 0).", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its own network: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// network is two namespaces with a cable between them. The process is in one.
type network struct {
	t    *testing.T
	away *os.File // the other namespace
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t}
	n.onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("second network namespace: %w", err)
		}
		n.away, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	t.Cleanup(func() { _ = n.away.Close() })
	awayPath := filepath.Join("/proc", fmt.Sprint(os.Getpid()), "fd", fmt.Sprint(n.away.Fd()))
	n.here("link", "set", "lo", "up")
	n.here("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", awayPath)
	n.here("addr", "add", hereAddr+"/24", "dev", "here")
	n.here("link", "set", "here", "up")
	n.there("addr", "add", awayAddr+"/24", "dev", "there")
	n.there("link", "set", "there", "up")
	return n
}

// cut loses every packet in both directions from now on, in silence: each end
// sends to a hardware address that nobody has, as if the other had been switched
// off. Nobody is told, no interface goes down, no queue reports a loss.
func (n *network) cut() {
	n.t.Helper()
	n.here("neigh", "replace", awayAddr, "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", "here")
	n.there("neigh", "replace", hereAddr, "lladdr", "02:00:00:00:00:02", "nud", "permanent", "dev", "there")
}

// here runs ip in this process's namespace.
func (n *network) here(args ...string) {
	n.t.Helper()
	if err := ip(args...); err != nil {
		n.t.Fatal(err)
	}
}

// there runs ip in the other one.
func (n *network) there(args ...string) {
	n.t.Helper()
	n.within(func() error { return ip(args...) })
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// within runs f in the other namespace. A socket that f makes belongs to it for
// ever.
func (n *network) within(f func() error) {
	n.t.Helper()
	n.onThread(func() error {
		if err := unix.Setns(int(n.away.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the other network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it.
func (n *network) onThread(f func() error) {
	n.t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever
		failed <- f()
	}()
	if err := <-failed; err != nil {
		n.t.Fatal(err)
	}
}
