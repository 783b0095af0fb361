package wire

import (
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch starts the readers of idle connections when there is something to
// read, or if they are parked, reads itself. A goroutine that waits in Read costs half a KB, and a stack of 2 KB that
// never shrinks to that again once a message has made it grow; a connection that
// is idle has none.
type watch struct {
	file  *os.File // an epoll, which the runtime's own poller watches
	epoll int
	raw   syscall.RawConn

	mu    sync.Mutex // guards conns
	conns []*Conn    // by file descriptor; the idle ones
}

// newWatch returns nil if there is no epoll to be had; no connection is idle then.
func newWatch() *watch {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	w := &watch{epoll: fd}
	err = unix.SetNonblock(fd, true) // os would not poll it otherwise
	w.file = os.NewFile(uintptr(fd), "epoll")
	if err == nil {
		w.raw, err = w.file.SyscallConn()
	}
	if err != nil {
		_ = w.file.Close()
		return nil
	}
	return w
}

// run lasts until the file is closed.
func (w *watch) run() {
	events := make([]unix.EpollEvent, spareReaders)
	for {
		n := 0
		err := w.raw.Read(func(uintptr) bool {
			n, _ = unix.EpollWait(w.epoll, events, 0) // interrupted at worst
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			// A number may belong to another connection by now: its reader finds
			// nothing then.
			switch c := w.at(int(e.Fd)); {
			case c == nil:
			case c.parked == nil:
				c.resumeReading()
			case c.tell(e.Events&unix.EPOLLRDHUP != 0):
				c.parked.read(c, true)
			}
		}
		if n == len(events) { // let the spare readers come back, before new ones are made
			runtime.Gosched()
		}
	}
}

// tell makes the watch the reader of an idle, parked connection, and reports that. If
// the connection is not idle, whoever reads looks once more. end says that the peer's
// end is to be read, after what it has sent.
func (c *Conn) tell(end bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := pendingData
	if end {
		told = pendingEnd
	}
	c.pending = max(c.pending, told)
	return c.rouse()
}

// rouse ends idleness and reports whether there was any. c.mu is held.
func (c *Conn) rouse() bool {
	was := c.reader == readIdle
	if was {
		c.reader = reading
	}
	return was
}

func (w *watch) at(fd int) *Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns[fd]
}

// arm makes the watch resume the reading of c once, or if it is parked, at each event: there a
// reader reads all there is.
func (w *watch) arm(c *Conn) error {
	var armed error
	how := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT)
	if c.parked != nil {
		how = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	}
	err := c.raw.Control(func(number uintptr) {
		fd := int(number)
		op, other := unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_ADD
		if w.keep(fd, c) { // of its stream; the socket may be known
			op, other = other, op
		}
		e := unix.EpollEvent{Events: how, Fd: int32(fd)}
		armed = unix.EpollCtl(w.epoll, op, fd, &e)
		if errors.Is(armed, unix.ENOENT) || errors.Is(armed, unix.EEXIST) {
			armed = unix.EpollCtl(w.epoll, other, fd, &e)
		}
	})
	return errors.Join(err, armed)
}

// keep notes that c is idle, and reports whether it was not before.
func (w *watch) keep(fd int, c *Conn) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fd >= len(w.conns) {
		w.conns = slices.Grow(w.conns, fd+1-len(w.conns))[:fd+1]
	}
	first = c.fd != fd
	w.conns[fd], c.fd = c, fd
	return first
}

// leave ends the events of a watched connection that goes on elsewhere. (That the
// peer has reset it cannot be switched off, but is told once.)
func (w *watch) leave(c *Conn) {
	_ = c.raw.Control(func(number uintptr) { // fails only on a closed socket, of which there are no events
		_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, int(number), &unix.EpollEvent{Events: unix.EPOLLONESHOT})
	})
}

// forget makes room for the next connection of the same number.
func (w *watch) forget(c *Conn) {
	w.mu.Lock()
	if c.fd < len(w.conns) && w.conns[c.fd] == c {
		w.conns[c.fd] = nil
	}
	w.mu.Unlock()
}

// watcher returns the pool's watch, which the first idle connection starts.
func (p *Pool) watcher() *watch {
	p.watching.Do(func() {
		if w := newWatch(); w != nil {
			p.watch.Store(w)
			p.workers.Go(w.run) // not too late: Close waits for the connection first
		}
	})
	return p.watch.Load()
}

// goIdle lets the reader end until there is something to read, or resumeReading is
// called.
// It returns false if the reader has to wait in Read: there is no descriptor to
// watch, or a deadline has been set that must find it there.
func (c *Conn) goIdle() bool {
	if c.raw == nil {
		return false
	}
	w := c.pool.watcher()
	c.mu.Lock()
	idle, watched := w != nil && c.mayIdle() && c.pending == pendingNone, c.watched
	if idle {
		c.reader = readIdle
	}
	c.watched = c.parked != nil && (watched || idle)
	c.mu.Unlock()
	if !idle || watched {
		return idle
	}
	if err := w.arm(c); err != nil { // closed, and the next Read says so
		c.mu.Lock()
		c.watched = false
		c.mu.Unlock()
		return !c.leaveIdle()
	}
	return true
}

// mayIdle reports whether the reader has nothing to do until something comes. c.mu is
// held.
func (c *Conn) mayIdle() bool {
	switch {
	case c.cause != nil:
		return false
	case c.parked != nil && c.parked.phase != parkWaiting:
		return c.parked.phase == parkBetween && !c.parked.ahead
	}
	return c.send < sendFlushed
}

// leaveIdle ends idleness and reports whether there was any: then the caller is the
// reader, or starts it.
func (c *Conn) leaveIdle() bool {
	c.mu.Lock()
	was := c.rouse()
	forget := was && !c.watched
	c.mu.Unlock()
	if forget {
		c.unwatch()
	}
	return was
}

// unwatch makes the watch forget c. It is done once more when c is over, because a
// reader that is resumed while it goes idle may note it after it was forgotten.
func (c *Conn) unwatch() {
	if w := c.pool.watch.Load(); w != nil {
		w.forget(c)
	}
}

// resumeReading starts the reader of an idle connection.
func (c *Conn) resumeReading() {
	if c.leaveIdle() {
		c.pool.startReader(c)
	}
}

// spareReaders is how many goroutines that have read wait to read once more: their
// stacks have grown already, which takes longer than most of what there is to read.
const spareReaders = 32

// peek reads what there is: nothing perhaps, with no error. A connection that is not
// watched waits.
func (c *Conn) peek(buf []byte) (n int, err error) {
	c.mu.Lock()
	watched := c.watched
	c.mu.Unlock()
	if !watched {
		return c.nc.Read(buf)
	}
	var got error
	err = c.raw.Read(func(fd uintptr) bool {
		n, got = read(int(fd), buf)
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case wouldBlock(got):
		return 0, nil
	case got != nil:
		return 0, os.NewSyscallError("read", got)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// startReader lets c be read.
func (p *Pool) startReader(c *Conn) {
	select {
	case p.unread <- c:
	default:
		p.workers.Add(1) // not too late: Close waits for the connection first
		go p.reader(c)
	}
}

// reader reads c, then others, until it is one too many.
func (p *Pool) reader(c *Conn) {
	defer p.workers.Done()
	for c != nil {
		c.read()
		c = nil
		if p.spare.Add(1) <= spareReaders {
			select {
			case c = <-p.unread:
			case <-p.stop:
			}
		}
		p.spare.Add(-1)
	}
}
