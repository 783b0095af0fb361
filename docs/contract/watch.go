package contract

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

const (
	// maxKept bounds what is kept of each direction of a connection, in bytes. What comes
	// beyond it is not looked at.
	maxKept = 1 << 20
	// maxFaults is how many faults a report names.
	maxFaults = 10
)

// Watch looks at the connections of a server under test. What is against the documents fails
// the test when it ends.
type Watch struct {
	base string // what the server's paths begin with
	docs *documents

	mu     sync.Mutex // guards the fields below
	open   map[*conn]bool
	faults []string
	more   int // faults that are not named
}

// New begins to watch for a test. base is what the paths begin with; empty: nothing. It is
// called before what closes the connections is registered with the test.
func New(t testing.TB, base string) *Watch {
	t.Helper()
	d, err := load()
	if err != nil {
		t.Fatal(err)
	}
	w := &Watch{base: base, docs: d, open: map[*conn]bool{}}
	t.Cleanup(func() {
		for _, fault := range w.end() {
			t.Errorf("against the documents: %s", fault)
		}
	})
	return w
}

// Conn watches a connection to the server. It is looked at when it is closed, or the test
// ends.
func (w *Watch) Conn(nc net.Conn) net.Conn {
	c := &conn{Conn: nc, w: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = true
	return c
}

// end looks at what is still open, and returns the faults.
func (w *Watch) end() []string {
	w.mu.Lock()
	left := w.open
	w.open = map[*conn]bool{}
	w.mu.Unlock()
	for c := range left {
		c.look()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more > 0 {
		return append(w.faults, fmt.Sprintf("and %d more", w.more))
	}
	return w.faults
}

func (w *Watch) faulty(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	} else {
		w.more++
	}
}

// conn keeps what goes over a connection, and is looked at afterwards: whoever waits for an
// answer, or for none, waits no longer for that.
type conn struct {
	net.Conn
	w *Watch

	mu   sync.Mutex // guards the fields below
	sent []byte
	got  []byte
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = keep(c.got, p[:n])
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sent = keep(c.sent, p) // before an answer to it can come
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func keep(kept, more []byte) []byte {
	return append(kept, more[:min(len(more), maxKept-len(kept))]...)
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.w.mu.Lock()
	mine := c.w.open[c]
	delete(c.w.open, c)
	c.w.mu.Unlock()
	if mine {
		c.look()
	}
	return err
}

// SetReadBuffer is that of a TCP connection, for readers that are meant to be slow.
func (c *conn) SetReadBuffer(bytes int) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetReadBuffer(bytes)
	}
	return nil
}

// SetLinger is that of a TCP connection, for clients that go with a reset.
func (c *conn) SetLinger(seconds int) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

// look checks what was kept, and lets go of it.
func (c *conn) look() {
	c.mu.Lock()
	sent, got := c.sent, c.got
	c.sent, c.got = nil, nil
	c.mu.Unlock()
	(&look{w: c.w, d: c.w.docs}).connection(sent, got)
}
