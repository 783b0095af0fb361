package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HeadTime is how long a peer may take for a request's head, once it has begun it.
const HeadTime = 10 * time.Second

// MaxHead is how much of a request's head is waited for, in bytes. A server refuses a
// longer one if its ReadBufferSize is MaxHead, and it may not be larger.
const MaxHead = 16 << 10

var errHeadEnd = errors.New("wire: the head does not end with CRLF CRLF")

// Incoming is a connection while the HTTP server reads requests from it. It hands a
// head on only when it is whole, and nothing of what follows. So a peer that is slow
// with its head costs what it has sent, not the server's buffers, and a body waits in the
// socket until a handler wants it, however large it is said to be; see Prepare.
//
// Its methods are for whoever serves the connection; Close may be called by others.
type Incoming struct {
	net.Conn
	raw     syscall.RawConn // nil: no descriptor
	ahead   []byte          // read, and not handed on
	store   []byte          // where ahead is; nil: there is none
	pooled  bool            // store is one of requests
	foreign bool            // store belongs to somebody else too, and is not written to
	head    int             // bytes of ahead that belong to a whole head; 0: none is whole yet
	request []byte          // ahead as it was given to resume; nil: there was more
	failed  error           // of the socket, behind ahead
	body    body
	lingers atomic.Bool // Close is to hear the peer out

	try func(fd uintptr) bool
	n   int
	err error

	// Of Write, which may be at work beside Read.
	put   func(fd uintptr) bool
	rest  []byte // what it has yet to write
	unput error  // why it gave up
}

func newIncoming(nc net.Conn) *Incoming {
	c := &Incoming{Conn: nc}
	if s, ok := nc.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	c.try = func(fd uintptr) bool {
		had := c.store != nil
		c.n, c.err = read(int(fd), c.room())
		if errors.Is(c.err, unix.EAGAIN) && !had { // who waits holds no buffer
			c.free()
		}
		return !errors.Is(c.err, unix.EAGAIN)
	}
	c.put = func(fd uintptr) bool {
		for len(c.rest) > 0 {
			n, err := write(int(fd), c.rest)
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			if c.unput = err; err != nil {
				return true
			}
			c.rest = c.rest[n:]
		}
		return true
	}
	return c
}

// resume is newIncoming for a connection whose next bytes, request, were read already.
func resume(nc net.Conn, request []byte) *Incoming {
	c := newIncoming(unwrap(nc))
	c.ahead, c.store, c.request, c.foreign = request, request, request, true
	return c
}

// Read implements io.Reader for the server, which is to see heads only.
func (c *Incoming) Read(p []byte) (int, error) {
	if c.head == 0 {
		c.look()
	}
	if c.head == 0 { // the end, or no HTTP
		if len(c.ahead) == 0 {
			err := c.failed
			c.failed = nil
			return 0, err
		}
		c.head = len(c.ahead)
	}
	n := copy(p, c.ahead[:c.head])
	c.head -= n
	c.skip(n)
	return n, nil
}

// look reads until a head is whole, or there is nothing more to be had.
func (c *Incoming) look() {
	for seen, begun := 0, false; ; {
		if c.head = headEnd(c.ahead, seen); c.head > 0 && !bytes.HasSuffix(c.ahead[:c.head], []byte("\r\n\r\n")) {
			// The server would read on, and take a body for a part of the head.
			c.ahead, c.failed = c.ahead[:c.head], errHeadEnd
		}
		if c.head > 0 || c.failed != nil || len(c.ahead) >= MaxHead {
			return
		}
		if seen = len(c.ahead); seen > 0 && !begun {
			begun = true
			if c.failed = c.SetReadDeadline(time.Now().Add(HeadTime)); c.failed != nil {
				return
			}
		}
		c.receive()
	}
}

// headEnd returns where the head ends that text begins with, behind its blank line; 0:
// it goes on. Blank lines before it belong to it. The text before seen is known to hold
// no end.
func headEnd(text []byte, seen int) int {
	begin := len(text) - len(bytes.TrimLeft(text, "\r\n"))
	for at := max(begin, seen-len("\n\r")); ; {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		rest := bytes.TrimPrefix(text[at:], []byte("\r"))
		if len(rest) > 0 && rest[0] == '\n' {
			return len(text) - len(rest) + 1
		}
	}
}

// Write implements io.Writer.
func (c *Incoming) Write(p []byte) (int, error) {
	if c.raw == nil {
		return c.Conn.Write(p)
	}
	c.rest, c.unput = p, nil
	err := c.raw.Write(c.put)
	if err == nil {
		err = c.unput
	}
	n := len(p) - len(c.rest)
	c.rest = nil
	return n, err
}

// receive adds what comes next to ahead.
func (c *Incoming) receive() {
	c.n, c.err = 0, nil
	var err error
	if c.raw == nil {
		c.n, err = c.Conn.Read(c.room())
	} else if err = c.raw.Read(c.try); err == nil {
		err = c.err
		if err == nil && c.n == 0 {
			err = io.EOF
		}
	}
	if n := max(c.n, 0); n > 0 {
		c.ahead = c.store[:len(c.ahead)+n]
		c.request = nil
	}
	c.failed = err
	if len(c.ahead) == 0 {
		c.free()
	}
}

// room returns space behind ahead.
func (c *Incoming) room() []byte {
	switch used := len(c.ahead); {
	case c.store == nil:
		c.store, c.pooled = requests.Get().(*[requestBytes]byte)[:], true
		c.ahead = c.store[:0]
	case c.foreign || used == len(c.store):
		grown := make([]byte, max(2*used, requestBytes))
		copy(grown, c.ahead)
		c.free()
		c.store, c.ahead = grown, grown[:used]
	case used > 0 && &c.ahead[0] != &c.store[0]:
		copy(c.store, c.ahead)
		c.ahead = c.store[:used]
	}
	return c.store[len(c.ahead):]
}

// skip takes n bytes from ahead.
func (c *Incoming) skip(n int) {
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.free()
	}
}

// free gives the buffer back.
func (c *Incoming) free() {
	if c.pooled {
		requests.Put((*[requestBytes]byte)(c.store))
	}
	c.store, c.ahead, c.pooled, c.foreign = nil, nil, false, false
}

// next reads what follows the head: what is there already, else what comes.
func (c *Incoming) next(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.skip(n)
		return n, nil
	}
	if err := c.failed; err != nil {
		return 0, err
	}
	c.request = nil
	return c.Conn.Read(p)
}

// unread puts back what was read too much.
func (c *Incoming) unread(p []byte) {
	if len(p) == 0 {
		return
	}
	all := slices.Concat(p, c.ahead)
	c.free()
	c.store, c.ahead = all, all
}

// NetConn returns the connection below.
func (c *Incoming) NetConn() net.Conn { return c.Conn }

// Close implements net.Conn. It hears the peer out if that may be in the middle of what
// it sends.
func (c *Incoming) Close() error {
	if c.lingers.Swap(false) {
		if g := guardedOf(c); g != nil {
			g.guard.hear(g)
		} else {
			hearOut(c.Conn)
		}
	}
	return c.Conn.Close()
}

// unwrap returns the connection below, unless something was read ahead.
func unwrap(nc net.Conn) net.Conn {
	if c, ok := nc.(*Incoming); ok && len(c.ahead) == 0 {
		return c.Conn
	}
	return nc
}
