package browser

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside is set in the process that has a network of its own.
const inside = "JOBCAST_TEST_NETNS"

// again runs a test once more, in a process in whose network every address there is, of
// IPv4 and IPv6, is one of this machine: whatever is dialled arrives.
func again(t *testing.T) {
	t.Helper()
	const everywhere = `ip link set lo up && ip link add here type veth peer name there && ip addr add 10.9.9.1/24 dev here && ` +
		`ip link set here up && ip link set there up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo && ` +
		`ip route add prohibit ` + deadAddr + ` table local && `
	script, flags := everywhere+`exec "$0" "$@"`, uintptr(unix.CLONE_NEWNET)
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 { // root of a user namespace makes the network, and a further one has this user again
		flags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		script = everywhere + fmt.Sprintf(`echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start && exec unshare -U --map-user=%d --map-group=%d "$0" "$@"`, uid, os.Getegid())
	}
	attr.Cloneflags = flags
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=15m")
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), inside+"=1"), attr
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a network of its own, which needs ip and unshare, and root or user namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// Addresses that anybody may reach: one at which the site answers too, and one that nothing
// answers at.
const (
	publicAddr = "93.184.216.34"
	deadAddr   = "93.184.216.99"
)

// traps count what reaches this machine: TCP and UDP, at every address but publicAddr,
// and names that are asked for beside the injected resolver.
type traps struct {
	tcp, udp string // ports

	mu   sync.Mutex // guards hits
	hits map[string]int
}

// setTraps listens. At publicAddr the site answers.
func setTraps(t *testing.T, site http.Handler) *traps {
	t.Helper()
	tr := &traps{hits: make(map[string]int)}
	ln, err := net.Listen("tcp", ":0") // both families
	if err != nil {
		t.Fatal(err)
	}
	_, tr.tcp, _ = net.SplitHostPort(ln.Addr().String())
	public := &gate{Listener: ln, to: make(chan net.Conn), over: make(chan struct{})}
	server := &http.Server{Handler: site}
	server.SetKeepAlivesEnabled(false) // each request asks for the name anew
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(public) })
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { tr.take(c, public) })
		}
	})
	packets := []net.PacketConn{tr.listen(t, &running, "udp", "0"), tr.listen(t, &running, "dns", "53")}
	_, tr.udp, _ = net.SplitHostPort(packets[0].LocalAddr().String())
	t.Cleanup(func() {
		close(public.over)
		server.Close()
		for _, pc := range packets {
			pc.Close()
		}
		running.Wait()
	})
	return tr
}

// take takes a connection: to the site, or as a hit.
func (tr *traps) take(c net.Conn, public *gate) {
	if c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() == netip.MustParseAddr(publicAddr) {
		select {
		case public.to <- c:
			return
		case <-public.over:
		}
	}
	defer c.Close()
	line := make([]byte, 512)
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	n, _ := c.Read(line)
	tr.hit(what(line[:n]))
}

// listen counts packets.
func (tr *traps) listen(t *testing.T, running *sync.WaitGroup, name, port string) net.PacketConn {
	pc, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		packet := make([]byte, 512)
		for {
			if _, _, err := pc.ReadFrom(packet); err != nil {
				return
			}
			tr.hit(name)
		}
	})
	return pc
}

// gate hands connections to a server that others have accepted.
type gate struct {
	net.Listener
	to   chan net.Conn
	over chan struct{} // closed in the end
}

func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.to:
		return c, nil
	case <-g.over:
		return nil, net.ErrClosed
	}
}

// what names the way by which a connection came: the last part of the path, of a request
// that says what it wants.
func what(said []byte) string {
	line, _, _ := bytes.Cut(said, []byte("\r\n"))
	words := strings.Fields(string(line))
	switch {
	case len(said) == 0:
		return "preconnect"
	case len(words) == 3 && strings.HasPrefix(words[2], "HTTP/"):
		return words[1][strings.LastIndexByte(words[1], '/')+1:]
	case said[0] == 0x16:
		return "tls"
	}
	return "turn"
}

func (tr *traps) hit(way string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.hits[way]++
}

// caught returns the hits by way, and forgets them.
func (tr *traps) caught() map[string]int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	all := tr.hits
	tr.hits = make(map[string]int)
	return all
}
