package main

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// swarm is many readers on one thread: sockets behind one epoll, so that a
// thousand connections cost the machine no thousand goroutines beside the server
// that is measured. It knows nothing of the server but the decoder. One
// goroutine uses it; Close it.
type swarm struct {
	addr  netip.AddrPort
	start func(i int, last *reader) (request []byte, d decoder) // of reader i; last: what it was before
	own   bool                                                  // events are numbered by the publisher, room by room

	epoll   int
	readers []*reader
	ready   []unix.EpollEvent
	buf     []byte

	now time.Time // when the read under way returned
	cur *reader   // whose bytes are decoded

	message spot

	latency   histogram // from an event's stamp to the end of the read that brought it
	delivered uint64    // stamped events
	last      time.Time // when the newest of them came
	bytes     int       // data of the newest of them
	lost      uint64    // numbers that a reader skipped
	doubled   uint64    // events at or below one that the reader had
	live      int       // readers whose history is done
	gone      int       // readers that ended
	fault     error     // what ended the first of them

	goal    uint64    // a number that readers are on the way to; 0: none
	arrived int       // those that have got it
	way     histogram // how long they took since they connected
}

// reader is one connection.
type reader struct {
	fd    int // -1: closed
	dec   decoder
	since time.Time // connected
	seq   uint64    // of its newest event
	id    []byte    // of that one: where it comes back
	live  bool
}

// cursor returns where a reader goes on; empty if it is new.
func (r *reader) cursor() string {
	if r == nil {
		return ""
	}
	return string(r.id)
}

// newSwarm makes a swarm whose readers connect to addr (IPv4) and begin as start
// says. It has none yet.
func newSwarm(addr netip.AddrPort, start func(i int, last *reader) (request []byte, d decoder)) (*swarm, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	return &swarm{
		addr: addr, start: start,
		epoll: epoll, ready: make([]unix.EpollEvent, 256), buf: make([]byte, 64<<10),
	}, nil
}

// dial adds n readers.
func (s *swarm) dial(n int) error {
	for range n {
		i := len(s.readers)
		s.readers = append(s.readers, &reader{fd: -1})
		if err := s.open(i, nil); err != nil {
			return err
		}
	}
	return nil
}

// open connects reader i, which was last before.
func (s *swarm) open(i int, last *reader) (err error) {
	r := s.readers[i]
	request, dec := s.start(i, last)
	r.dec, r.since = dec, time.Now()
	if r.fd, err = connect(s.addr, request); err != nil {
		return fmt.Errorf("connect reader %d: %w", i, err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)} // the kernel hands Fd back as it is
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, r.fd, &ev); err != nil {
		return fmt.Errorf("watch reader %d: %w", i, err)
	}
	return nil
}

// comeBack connects every reader again, each with what it has, until all have the
// event seq. At most herd are on the way at a time.
func (s *swarm) comeBack(seq uint64, herd int, deadline time.Time) error {
	s.gone, s.fault, s.goal, s.arrived = 0, nil, seq, 0
	for begun := 0; s.arrived < len(s.readers); {
		for ; begun < len(s.readers) && begun-s.arrived < herd; begun++ {
			if err := s.open(begun, s.readers[begun]); err != nil {
				return err
			}
		}
		was := s.arrived
		err := s.until(deadline, func() bool {
			return s.fault != nil || s.arrived == len(s.readers) || begun < len(s.readers) && s.arrived > was
		})
		if err = errors.Join(err, s.fault); err != nil {
			return fmt.Errorf("%d of %d readers are back: %w", s.arrived, len(s.readers), err)
		}
	}
	return nil
}

// connect returns a non-blocking socket on which request was sent.
func connect(addr netip.AddrPort, request []byte) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	if err == nil {
		_, err = unix.Write(fd, request) // an empty send buffer takes it whole
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// until reads until done says so, at the latest until deadline. done is asked
// after each round of reads and at least every 10 ms.
func (s *swarm) until(deadline time.Time, done func() bool) error {
	for !done() {
		if time.Now().After(deadline) {
			return fmt.Errorf("out of time with %d of %d readers live, %d gone", s.live, len(s.readers), s.gone)
		}
		const wait = 10 // ms
		n, err := unix.EpollWait(s.epoll, s.ready, wait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for readers: %w", err)
		}
		for i := range max(n, 0) {
			s.read(s.readers[s.ready[i].Fd])
		}
	}
	return nil
}

// read takes what one socket has, 64 KiB at most.
func (s *swarm) read(r *reader) {
	n, err := unix.Read(r.fd, s.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err == nil && n == 0 {
		err = errors.New("the server closed the connection")
	}
	if err == nil {
		s.now, s.cur = time.Now(), r
		err = r.dec.feed(s.buf[:n], s.see)
	}
	if t, ok := r.dec.(talker); ok && err == nil {
		err = say(r.fd, t)
	}
	if err != nil {
		s.drop(r, err)
	}
}

// say sends what the reader answers: little, so that an empty send buffer takes it.
func say(fd int, t talker) error {
	text := t.talk()
	if len(text) == 0 {
		return nil
	}
	n, err := unix.Write(fd, text)
	if err == nil && n < len(text) {
		err = errors.New("the server does not read")
	}
	return err
}

// drop ends a reader before its time.
func (s *swarm) drop(r *reader, err error) {
	// Closing takes a socket out of the epoll, but not while a program that another
	// goroutine is just starting has it too; then a second end would be counted.
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, r.fd, nil)
	_ = unix.Close(r.fd)
	r.fd = -1
	s.gone++
	if s.fault == nil {
		s.fault = fmt.Errorf("a reader ended after event %d: %w", r.seq, err)
	}
}

// see checks and counts one frame.
func (s *swarm) see(f frame) {
	r := s.cur
	if len(f.name) > 0 {
		if string(f.name) == "live" && !r.live {
			r.live = true
			s.live++
		}
		return
	}
	if s.own && f.seq != 0 {
		f.seq = ownNumber(s.message.member(f.data, messageMember))
		if f.seq == 0 {
			return // of the history, before the measurement
		}
	}
	switch {
	case f.seq <= r.seq:
		s.doubled++
		return
	case f.seq > r.seq+1:
		s.lost += f.seq - r.seq - 1
	}
	r.seq, r.id = f.seq, append(r.id[:0], f.id...)
	if f.seq == s.goal {
		s.arrived++
		s.way.add(s.now.Sub(r.since))
	}
	stamp := number(s.message.member(f.data, messageMember))
	if stamp == 0 {
		return // of the history, before the measurement
	}
	s.latency.add(s.now.Sub(time.Unix(0, int64(stamp))))
	s.delivered++
	s.last, s.bytes = s.now, len(f.data)
}

// slowest returns the newest event that every reader has that still lives.
func (s *swarm) slowest() uint64 {
	low := uint64(math.MaxUint64)
	for _, r := range s.readers {
		if r.fd >= 0 {
			low = min(low, r.seq)
		}
	}
	return low
}

// allAt reports whether every reader that still lives has the event seq.
func (s *swarm) allAt(seq uint64) bool {
	for _, r := range s.readers {
		if r.seq < seq && r.fd >= 0 {
			return false
		}
	}
	return true
}

// missingOf returns how many events of its room each reader does not have, beside
// those that it skipped; readers are spread over the rooms in turn.
func (s *swarm) missingOf(counts []uint64) (n uint64) {
	for i, r := range s.readers {
		if want := counts[i%len(counts)]; r.seq < want {
			n += want - r.seq
		}
	}
	return n
}

// missing returns how many events up to seq the readers do not have, beside
// those that they skipped.
func (s *swarm) missing(seq uint64) (n uint64) {
	for _, r := range s.readers {
		if r.seq < seq {
			n += seq - r.seq
		}
	}
	return n
}

// Close closes every socket.
func (s *swarm) Close() {
	for _, r := range s.readers {
		if r.fd >= 0 {
			_ = unix.Close(r.fd)
			r.fd = -1
		}
	}
	_ = unix.Close(s.epoll)
}
