package browser

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// ClassUnavailable is the failure of an action that gets no browser. It is retried: an
// operator may see to it meanwhile.
const ClassUnavailable = "BrowserUnavailable"

// Limits and times.
const (
	DefaultContexts  = 4
	DefaultMaxMemory = 2 << 30
	MinMemory        = 256 << 20

	idleTime   = 5 * time.Minute
	endTime    = 10 * time.Second // after which a browser that was killed is no longer waited for
	maxSpared  = 3                // attempts of a job that a dead browser does not count, if nobody knows whose fault it was
	mostSpared = 1000             // jobs of which that is remembered
)

// Guard decides what pages may reach, and connects them; see action.Guard.
type Guard interface {
	Permits(host string, hosts jobs.Hosts) error
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Options adjusts Browsers.
type Options struct {
	Path      string // of Chromium, or Auto, or Off
	Contexts  int    // open at once, 1..MaxContexts; 0: DefaultContexts
	MaxMemory int64  // bytes that the browser may have in all; 0: DefaultMaxMemory
	NoSandbox bool   // without Chromium's own sandbox
	NoJail    bool   // without bubblewrap

	AllowEvaluate bool // let jobs run scripts of their own in pages

	Guard  Guard        // of everything that pages do on the network
	Logger *slog.Logger // nil: slog.Default()

	Idle time.Duration // after which an unused browser ends; 0: five minutes

	leaky    bool          // for tests: WebRTC may send what it likes
	patience time.Duration // with a browser that does not answer; 0: openTime
}

// Browsers gives attempts of jobs their browser contexts. It is safe for concurrent use.
type Browsers struct {
	o     Options
	tally tally

	screens screens

	starting sync.Mutex // held while a browser starts

	looking sync.Mutex // guards what found has found
	looked  time.Time
	program string
	missing error

	mu      sync.Mutex // guards what follows
	now     *chromium  // nil: none runs
	free    []*port    // of now
	idle    *time.Timer
	failed  error          // why the newest start failed
	spared  map[string]int // by job: attempts that were not counted
	freed   chan struct{}  // capacity one: a port was given back, or there is no browser any more
	closed  bool
	running sync.WaitGroup // browsers that are not gone
}

// New returns Browsers of which none runs.
func New(o Options) *Browsers {
	if o.Contexts <= 0 {
		o.Contexts = DefaultContexts
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = DefaultMaxMemory
	}
	if o.Idle <= 0 {
		o.Idle = idleTime
	}
	if o.patience <= 0 {
		o.patience = openTime
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Browsers{o: o, spared: make(map[string]int), freed: make(chan struct{}, 1)}
}

// State is what there is of a browser, for people who look after the server.
type State struct {
	Available bool   `json:"available"`
	Detail    string `json:"detail,omitempty"`  // what is missing, or why the newest start failed
	Program   string `json:"program,omitempty"` // its file's name
	Jail      string `json:"jail"`              // bubblewrap or off
	Sandbox   bool   `json:"sandbox"`
	Running   bool   `json:"running"`
	Contexts  int    `json:"contexts"` // open
	Max       int    `json:"maxContexts"`
}

// State returns what there is now.
func (b *Browsers) State() State {
	s := State{Jail: "bubblewrap", Sandbox: !b.o.NoSandbox, Max: b.o.Contexts}
	if b.o.NoJail {
		s.Jail = "off"
	}
	program, err := b.found()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		s.Program, err = filepath.Base(program), b.failed
	}
	if s.Available = err == nil; err != nil {
		s.Detail = err.Error()
	}
	if b.runs() {
		s.Running, s.Contexts = true, b.o.Contexts-len(b.free)
	}
	return s
}

// lookTime is how long it is believed what there was on the disk: a batch may ask for each
// of a hundred thousand actions.
const lookTime = time.Second

// found returns the program of the browser, or what an operator must install for it.
func (b *Browsers) found() (string, error) {
	b.looking.Lock()
	defer b.looking.Unlock()
	if b.looked.IsZero() || time.Since(b.looked) > lookTime {
		b.program, _, b.missing = find(b.o)
		b.looked = time.Now()
	}
	return b.program, b.missing
}

// Close ends the browser; none starts any more. It returns when nothing of it is left, or
// after endTime: a process that the system does not end holds up no server.
func (b *Browsers) Close() {
	b.mu.Lock()
	b.closed = true
	b.retire(stopping)
	b.mu.Unlock()
	b.starting.Lock() // one that is starting sees that it is not wanted
	defer b.starting.Unlock()
	gone := make(chan struct{})
	go func() {
		b.running.Wait()
		close(gone)
	}()
	limit := time.NewTimer(endTime)
	defer limit.Stop()
	select {
	case <-gone:
	case <-limit.C:
		b.o.Logger.Error("a browser was killed and is not gone", "after", endTime)
	}
}

// retire lets the browser go. It is called with mu held.
func (b *Browsers) retire(why reason) {
	if b.now != nil {
		b.now.kill(nil, why)
		b.now, b.free = nil, nil
		b.wake()
	}
	if b.idle != nil {
		b.idle.Stop()
	}
}

// wake lets whoever waits for a port look again.
func (b *Browsers) wake() {
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// take returns the browser, which it starts if there is none, and a port of it. The
// processor begins no more jobs than there are ports, so a port that is not free soon will be.
func (b *Browsers) take(ctx context.Context) (*chromium, *port, error) {
	b.starting.Lock()
	defer b.starting.Unlock()
	for {
		c, p, err := b.ready()
		switch {
		case err != nil || p != nil:
			return c, p, err
		case c == nil:
			return b.start(ctx)
		}
		select {
		case <-b.freed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// start starts a browser and returns it with a port.
func (b *Browsers) start(ctx context.Context) (*chromium, *port, error) {
	c, err := start(ctx, b.o, &b.tally)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = nil
	if err != nil {
		return nil, nil, b.unavailable(ctx, err)
	}
	b.running.Go(func() {
		<-c.ctx.Done()
		b.lost(c)
		<-c.gone
		b.tally.ended(c.why())
	})
	b.tally.count(func(s *Stats) { s.Starts++ })
	b.o.Logger.Info("a browser was started", "pid", c.pid)
	if b.closed {
		c.kill(nil, stopping)
		return nil, nil, jobs.ErrNoFault
	}
	b.now, b.free = c, append([]*port{}, c.ports...)
	return c, b.pick(), nil
}

// ready returns the browser that runs, nil if none does, and a port, nil if none is free.
func (b *Browsers) ready() (*chromium, *port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, nil, jobs.ErrNoFault
	case !b.runs():
		return nil, nil, nil
	case len(b.free) == 0:
		return b.now, nil, nil
	}
	return b.now, b.pick(), nil
}

// pick takes a port. It is called with mu held.
func (b *Browsers) pick() *port {
	if b.idle != nil {
		b.idle.Stop()
	}
	last := len(b.free) - 1
	p := b.free[last]
	b.free = b.free[:last]
	return p
}

// runs reports whether there is a browser, and forgets one that is dead. It is called
// with mu held.
func (b *Browsers) runs() bool {
	if b.now != nil && b.now.dead() {
		b.retire(byItself)
	}
	return b.now != nil
}

// lost forgets a browser that is gone.
func (b *Browsers) lost(c *chromium) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == c {
		b.retire(byItself)
	}
}

// put gives a port back.
func (b *Browsers) put(c *chromium, p *port) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != c {
		return
	}
	b.wake()
	if b.free = append(b.free, p); len(b.free) < b.o.Contexts {
		return
	}
	b.idle = time.AfterFunc(b.o.Idle, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.now == c && len(b.free) == b.o.Contexts {
			b.o.Logger.Info("an idle browser is ended", "pid", c.pid)
			b.retire(unused)
		}
	})
}

// unavailable notes why a browser did not start, and says so to the job. It is called
// with mu held.
func (b *Browsers) unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.o.Logger.Error("the browser did not start", "error", err)
	b.tally.count(func(s *Stats) { s.Failures++ })
	b.failed = explainStart(err)
	return &jobs.ActionError{Class: ClassUnavailable, Message: b.failed.Error(), Retryable: true, Err: err}
}

// explainStart says in words for clients and operators why a browser did not start: what
// is missing, and what to allow. Paths of the server stay in its log.
func explainStart(err error) error {
	text := err.Error()
	for _, known := range []error{errOff, errNoProgram, errNoBwrap, errNothing} {
		if errors.Is(err, known) {
			return known
		}
	}
	if _, line, ok := strings.Cut(text, "bwrap: "); ok {
		line, _, _ = strings.Cut(line, "\n")
		if strings.HasPrefix(line, "Can't find source path") {
			return errors.New("the browser's user cannot come to the browser's folder: the folders that TMPDIR leads through must be open to others (mode o+x)")
		}
		return errors.New("the jail of the browser could not be made (" + line + "): the system must let this server's user make user " +
			"and network namespaces, or the operator starts the server with --browser-no-jail")
	}
	for _, sign := range []string{"No usable sandbox", "without --no-sandbox", "sandbox_host_linux", "zygote_host_impl"} {
		if strings.Contains(text, sign) {
			return errors.New("Chromium's own sandbox does not work here: the system must let the browser make user namespaces, " + //nolint:staticcheck // ST1005: a name
				"or the operator starts the server with --browser-no-sandbox")
		}
	}
	return errors.New("the browser did not start; the server's log says why")
}

// spare reports whether an attempt of a job that a dead browser took along goes uncounted,
// when nobody knows whose fault it was. That ends after some attempts, because it may
// be this job's.
func (b *Browsers) spare(job string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.spared) >= mostSpared {
		clear(b.spared)
	}
	b.spared[job]++
	return b.spared[job] <= maxSpared
}

// unspare forgets a job.
func (b *Browsers) unspare(job string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.spared, job)
}
