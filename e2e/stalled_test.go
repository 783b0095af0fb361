package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/e2e/program"
)

const (
	neverReading = 200       // sockets; many, so that what the server needs anyway weighs little
	perSocket    = 350 << 10 // bytes that one of them may cost, in the server and in the kernel together
	fullSocket   = 64 << 10  // the server's send buffer at least
	floodEvents  = 8_000     // of 1 KiB of text each: more than a socket and the hub's tail take
	floodBatch   = 100
)

// TestNeverReadingWebSockets: sockets that never read after their handshake cost
// at most 350 KB each, counted as what the server's resident memory grows by and
// what its sockets hold in the kernel: queued packets with their overhead and
// what is reserved for more. The readers' own receive buffers are not counted,
// because they are elsewhere in real life. Ten seconds after their writers have
// stalled they are gone; a reader beside them misses nothing.
func TestNeverReadingWebSockets(t *testing.T) {
	if _, err := exec.LookPath("ss"); err != nil {
		t.Fatalf("ss is not installed: run `make tools` as root on Debian, or install iproute2: %v", err)
	}
	server := program.Unwatched(t, program.Build(t), "--max-connections-per-key="+strconv.Itoa(neverReading+1))
	key := server.MakeKey(t, "--client", "acme")
	work := server.Claim(t, key)
	healthy := newFollower(t, server, key)

	flood(t, work, func() {}) // what the server needs for the flood itself
	healthy.wait(t, floodEvents)
	before := resident(t, server.PID)
	for range neverReading {
		nc, err := net.DialTimeout("tcp", server.Addr(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		if _, err := program.WebSocket(nc, key); err != nil {
			t.Fatal(err)
		}
	}
	var memory, kernel int64
	measure := func() {
		k := kernelMemory(t, server.Addr())
		if m := resident(t, server.PID) - before + k; m > memory {
			memory, kernel = m, k
		}
	}
	flood(t, work, measure)
	flooded := time.Now()
	healthy.wait(t, 2*floodEvents)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); server.Connections(t, key)["websocket"] > 1; measure() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still %d connections", server.Connections(t, key)["websocket"])
		}
	}
	t.Logf("gone %v after the flood; each cost %d KB, of which %d KB in the kernel", time.Since(flooded).Round(time.Millisecond),
		memory/neverReading>>10, kernel/neverReading>>10)
	if kernel < neverReading*fullSocket {
		t.Errorf("only %d KB each in the kernel: they were never all stalled at once", kernel/neverReading>>10)
	}
	if memory > neverReading*perSocket {
		t.Errorf("they cost %d KB each, want at most %d", memory/neverReading>>10, perSocket>>10)
	}
	work.Progress(t, `{"progress":100}`)
	healthy.wait(t, 2*floodEvents+1)
}

// flood reports progress with 1 KiB of text, and calls each in between.
func flood(t *testing.T, w *program.Work, each func()) {
	t.Helper()
	one := fmt.Sprintf(`{"progress":50,"message":"%s"}`, strings.Repeat("x", 1000))
	batch := "[" + strings.Repeat(one+",", floodBatch-1) + one + "]"
	for range floodEvents / floodBatch {
		w.Progress(t, batch)
		each()
	}
}

// follower reads one client's events over WebSocket, as it should.
type follower struct {
	got  chan int   // how many progress events it has; cap 1
	fail chan error // why it ended
}

func newFollower(t *testing.T, s *program.Server, key string) *follower {
	t.Helper()
	c, err := client.New(client.Options{URL: s.URL, Key: key, Transport: client.WebSocket})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f := &follower{got: make(chan int, 1), fail: make(chan error, 1)}
	up := make(chan struct{}, 1)
	go f.follow(ctx, c, up)
	t.Cleanup(func() { cancel(); <-f.fail })
	select {
	case <-up:
	case err := <-f.fail:
		f.fail <- err
		t.Fatal(err)
	case <-time.After(2 * time.Minute):
		t.Fatal("the follower does not connect")
	}
	return f
}

// follow checks that no event is missing and the connection never breaks.
func (f *follower) follow(ctx context.Context, c *client.Client, up chan<- struct{}) {
	connected, events, last := 0, 0, 0
	o := client.WatchOptions{From: client.FromStart, Notify: func(n client.Notice) {
		if n.State == client.Connected {
			connected++
			up <- struct{}{}
		}
	}}
	for e, err := range c.Watch(ctx, "", o) {
		if err != nil {
			f.fail <- err
			return
		}
		_, number, _ := strings.Cut(e.ID, "-")
		seq, err := strconv.Atoi(number)
		if err != nil || seq != last+1 || connected != 1 {
			f.fail <- fmt.Errorf("event %s after %d, on connection %d", e.ID, last, connected)
			return
		}
		last = seq
		if e.Type == client.EventProgress {
			events++
			select {
			case <-f.got:
			default:
			}
			f.got <- events
		}
	}
	f.fail <- errors.New("the watch ended")
}

// wait returns when the follower has n progress events.
func (f *follower) wait(t *testing.T, n int) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case got := <-f.got:
			if got == n {
				return
			}
		case err := <-f.fail:
			f.fail <- err
			t.Fatalf("the healthy reader: %v", err)
		case <-limit:
			t.Fatalf("the healthy reader does not get %d events", n)
		}
	}
}

// resident is the memory that a process holds.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no RssAnon in %s", text)
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

var (
	skmem = regexp.MustCompile(`skmem:\(([^)]*)\)`)
	parts = regexp.MustCompile(`\b(r|f|w|o|bl)(\d+)`)
)

// kernelMemory is what the server's connections hold in the kernel: packets
// received (r) and sent (w), memory reserved for more (f), options (o), backlog
// (bl).
func kernelMemory(t *testing.T, addr string) int64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ss", "-Htmn", "state", "established", "src", addr).Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	var sum int64
	sockets := skmem.FindAllSubmatch(out, -1)
	for _, s := range sockets {
		for _, p := range parts.FindAllSubmatch(s[1], -1) {
			n, err := strconv.ParseInt(string(p[2]), 10, 64)
			if err != nil {
				t.Fatalf("ss: %v", err)
			}
			sum += n
		}
	}
	if len(sockets) == 0 {
		t.Fatalf("ss knows no connection of %s: %s", addr, out)
	}
	return sum
}
