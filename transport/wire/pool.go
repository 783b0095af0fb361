package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Next is what a stream wants after a Fill.
type Next uint8

// The answers of Fill.
const (
	Idle  Next = iota // nothing more now; Conn.Wake will follow
	More              // call Fill again soon
	Close             // flush what was filled, then close
	Reuse             // flush, then give the connection back to the HTTP server
)

// Stream is what one connection sends. Its methods are called by one goroutine
// at a time, never after Closed, and must not block.
type Stream interface {
	// Fill appends what is due to buf, about limit bytes at most, whole frames
	// only.
	Fill(buf []byte, limit int) ([]byte, Next)
	// KeepAlive appends a sign of life; it is called when nothing was sent for
	// Options.KeepAlive. Appending nothing is allowed.
	KeepAlive(buf []byte) []byte
	// Goodbye appends what a draining server says last; the connection is
	// closed after it. retry is when the peer may come back.
	Goodbye(buf []byte, retry time.Duration) []byte
	// Closed is called once, when the connection is finished. cause is nil
	// after a clean end, else one of the errors of this package or a socket
	// error. It may be called by any goroutine, after all other calls.
	Closed(cause error)
}

// Receiver is a stream whose peer has something to say too.
type Receiver interface {
	Stream
	// Receive reads what the peer sends next, and handles it: one message, and
	// whatever else the stream has of it already. It is called again, in another
	// goroutine perhaps, when there is more; r is the socket. Its error ends the
	// connection and is the cause handed to Closed, unless the connection was ended
	// from this side before.
	Receive(r io.Reader) error
}

// Repeater is a parked stream that can take the peer's next request too, which
// saves the way through the HTTP server. It goes on after a Fill that returned
// Reuse; until the next request there is nothing to fill, and a connection that is
// lost meanwhile has Closed called with nil.
type Repeater interface {
	Stream
	// Repeat is asked about what the peer has sent after an answer; request is of no
	// use after it. If it returns false, the stream is over (Closed is called), and
	// the connection goes back to the HTTP server with request. If it returns true,
	// Conn.Wake has to follow when there is an answer. No other method of the stream
	// is called meanwhile.
	Repeat(request []byte) bool
}

// Timed is a stream that has something to do at certain times.
type Timed interface {
	// Due reports whether Fill would do something because of the time. It is
	// called about once a second, at any moment, also beside Fill.
	Due(now time.Time) bool
}

// Why a connection ended.
var (
	ErrGone    = errors.New("the peer has gone")
	ErrStalled = errors.New("the peer takes no data")
	ErrDrained = errors.New("the server is draining")
	ErrPanic   = errors.New("the stream failed")
	ErrFlood   = errors.New("the peer sends data on a one-way stream")
)

// Options of a Pool. Zero values mean the defaults.
type Options struct {
	KeepAlive    time.Duration // longest silence on a stream; default 15 s
	StallTimeout time.Duration // a socket that takes no byte for so long is closed; default 10 s
	IdleTimeout  time.Duration // how long an answered, parked connection waits for its next request; default 60 s
	Workers      int           // sender workers; default one for two processors, rounded up; commits and requests need the others
	SendBuffer   int           // kernel send buffer per connection, bytes; default 64 KiB, so that a dead peer pins little
	Log          *slog.Logger  // panics; default none
	// Serve takes back a connection whose parked request was answered. nil:
	// such connections are closed.
	Serve func(net.Conn) error
}

// fillBytes is how much one turn of a connection sends at most.
const fillBytes = 64 << 10

// Pool holds connections and the workers that send for them.
type Pool struct {
	opt Options

	mu      sync.Mutex         // guards conns, leaving, shut
	conns   map[*Conn]struct{} // live
	leaving map[*Conn]struct{} // finished, but the socket is not closed yet
	emptied *sync.Cond         // conns became empty while draining
	shut    bool

	queueMu sync.Mutex // guards queue, taken, stopped
	cond    *sync.Cond
	queue   []*Conn
	taken   int // of the queue, from its beginning
	stopped bool

	draining atomic.Bool
	start    time.Time
	stop     chan struct{}         // closed by Close: ends the ticker and spare readers
	workers  sync.WaitGroup        // every goroutine of the pool
	unread   chan *Conn            // what spare readers take
	spare    atomic.Int64          // readers that have nothing to read
	owned    sync.WaitGroup        // connections whose reader has not come to its end
	watching sync.Once             // starts watch
	watch    atomic.Pointer[watch] // nil until a connection is idle, or if there can be none
	panics   atomic.Int64
}

// NewPool starts the workers. Close it to stop them.
func NewPool(opt Options) *Pool {
	defaults(&opt)
	p := &Pool{
		opt: opt, conns: make(map[*Conn]struct{}), leaving: make(map[*Conn]struct{}),
		stop: make(chan struct{}), start: time.Now(), unread: make(chan *Conn),
	}
	p.cond = sync.NewCond(&p.queueMu)
	p.emptied = sync.NewCond(&p.mu)
	p.workers.Add(opt.Workers + 1)
	for range opt.Workers {
		go p.send()
	}
	go p.tick()
	return p
}

func defaults(opt *Options) {
	if opt.KeepAlive == 0 {
		opt.KeepAlive = 15 * time.Second
	}
	if opt.StallTimeout == 0 {
		opt.StallTimeout = 10 * time.Second
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = 60 * time.Second
	}
	if opt.Workers == 0 {
		opt.Workers = (runtime.GOMAXPROCS(0) + 1) / 2
	}
	if opt.SendBuffer == 0 {
		opt.SendBuffer = 64 << 10
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
}

// Len returns how many connections have a stream or a request that waits for its
// answer.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for c := range p.conns {
		if c.parked == nil || c.parked.since.Load() == 0 {
			n++
		}
	}
	return n
}

// Panics returns how many streams failed with a panic.
func (p *Pool) Panics() int64 { return p.panics.Load() }

// Draining reports whether Drain was called.
func (p *Pool) Draining() bool { return p.draining.Load() }

// Drain makes every connection say goodbye and close, and waits until all have
// or ctx ends; then the rest is cut. retry is asked once per connection.
func (p *Pool) Drain(ctx context.Context, retry func() time.Duration) error {
	p.draining.Store(true)
	p.mu.Lock()
	all := make([]*Conn, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.leave(retry())
	}
	stop := context.AfterFunc(ctx, p.abort)
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.conns) > 0 {
		p.emptied.Wait()
	}
	return ctx.Err()
}

// abort closes every socket at once.
func (p *Pool) abort() {
	p.mu.Lock()
	all := make([]*Conn, 0, len(p.conns)+len(p.leaving))
	for c := range p.conns {
		all = append(all, c)
	}
	for c := range p.leaving {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.kill(ErrDrained)
	}
}

// Close ends every connection without a goodbye, stops the workers and waits
// for all goroutines.
func (p *Pool) Close() {
	p.mu.Lock()
	already := p.shut
	p.shut = true
	p.mu.Unlock()
	if already {
		return
	}
	p.draining.Store(true)
	p.abort()
	p.owned.Wait()
	p.queueMu.Lock()
	p.stopped = true
	p.cond.Broadcast()
	p.queueMu.Unlock()
	close(p.stop)
	if w := p.watch.Load(); w != nil {
		_ = w.file.Close()
	}
	p.workers.Wait()
}

// tick once a second finds the connections that have been silent too long, on
// this side or on the other. One timer for all costs less than one each, and a
// second does not matter here.
func (p *Pool) tick() {
	defer p.workers.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var due, doubtful, overdue []*Conn
	var now time.Time
	e := newPeerInfo()
	for {
		select {
		case <-p.stop:
			return
		case now = <-t.C:
		}
		// A second of slack, because the next look is a second away.
		limit := p.now() - (p.opt.KeepAlive - time.Second).Milliseconds()
		unheard := p.now() - (deadPeer - time.Second).Milliseconds()
		unused := p.now() - p.opt.IdleTimeout.Milliseconds()
		p.mu.Lock()
		for c := range p.leaving {
			if c.parked != nil && c.parked.unused(unused) {
				overdue = append(overdue, c)
			}
		}
		for c := range p.conns {
			quiet := c.parked == nil && c.sent.Load() <= limit
			if quiet {
				c.beat.Store(true)
			}
			if timed, ok := c.stream.(Timed); quiet || ok && timed.Due(now) {
				due = append(due, c)
			}
			if c.parked != nil && c.parked.unused(unused) {
				overdue = append(overdue, c)
			}
			if c.heard <= unheard {
				doubtful = append(doubtful, c)
			}
		}
		p.mu.Unlock()
		for _, c := range due {
			c.Wake()
		}
		for _, c := range doubtful {
			c.checkPeer(e, unheard)
		}
		for _, c := range overdue {
			c.retire(unused)
		}
		clear(due)
		clear(doubtful)
		clear(overdue)
		due, doubtful, overdue = due[:0], doubtful[:0], overdue[:0]
	}
}

// now returns milliseconds since the pool began.
func (p *Pool) now() int64 { return time.Since(p.start).Milliseconds() }

func (p *Pool) push(c *Conn) {
	p.queueMu.Lock()
	if len(p.queue) == cap(p.queue) && p.taken > len(p.queue)/2 { // rather than grow
		n := copy(p.queue, p.queue[p.taken:])
		clear(p.queue[n:])
		p.queue, p.taken = p.queue[:n], 0
	}
	p.queue = append(p.queue, c)
	p.cond.Signal()
	p.queueMu.Unlock()
}

func (p *Pool) pop() *Conn {
	p.queueMu.Lock()
	defer p.queueMu.Unlock()
	for p.taken == len(p.queue) && !p.stopped {
		p.cond.Wait()
	}
	if p.stopped {
		return nil
	}
	c := p.queue[p.taken]
	p.queue[p.taken] = nil
	if p.taken++; p.taken == len(p.queue) {
		p.queue, p.taken = p.queue[:0], 0
	}
	return c
}
