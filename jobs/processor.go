package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The processor's defaults and caps.
const (
	DefaultConcurrency = 8
	DefaultRetention   = 168 * time.Hour

	// safetyTick is how long the processor trusts its wake-ups and alarms
	// before it looks at the store all the same.
	safetyTick = 15 * time.Second
	// handBackTime is how long Stop insists on handing jobs back after the
	// grace, while the store does not take it, and handBackEach comes on top for
	// each of them, because thousands may be parked.
	handBackTime = 3 * time.Second
	handBackEach = time.Millisecond
	// unwindTime is how long an action may go on after its context has ended:
	// well below handBackTime, so that its job can still be handed back.
	unwindTime = time.Second
	// maxAbandoned caps the actions that went on all the same and were left to
	// themselves. It protects memory: beyond it they keep their slots.
	maxAbandoned = 1000
)

// ProcessorOptions adjusts a Processor; the zero value works.
type ProcessorOptions struct {
	Concurrency int           // runners, that is, attempts at once; 0: DefaultConcurrency
	PerClient   int           // runners that one client may hold; 0: see Share
	Browsers    int           // attempts at once of jobs that need a browser, Share of them for one client; 0: none is begun
	Retention   time.Duration // age, after its terminal event, at which a job is deleted; 0: DefaultRetention
	LeaseTTL    time.Duration // of the jobs it runs; 0: as the service's
	Node        string        // the name of this server: one that starts under it again ends the leases of the one before; empty: DefaultNode
	Logger      *slog.Logger  // nil: as the service's

	Now func() time.Time // the clock on the wall, which retention is judged by; nil: time.Now
}

// DefaultNode is the name of a server that is the only one of its store.
const DefaultNode = "server"

// Processor runs the action jobs of all clients. It also keeps time for all
// jobs: it ends leases and jobs that nobody begins, makes waiting jobs due and
// deletes old ones.
//
// Its life: NewProcessor, Start, StopClaiming, Stop.
type Processor struct {
	svc    *Service
	runner Runner
	opts   ProcessorOptions
	log    *slog.Logger

	ages      Ages
	runners   *runners
	browsers  *browsers
	rounds    *rounds
	parking   parking
	abandoned chan struct{} // one token per action that outlives its attempt
	unsettled atomic.Int64  // interrupted attempts whose end the store did not take
	stopOnce  sync.Once
	stopping  chan struct{} // closed by StopClaiming

	work      context.Context // actions run under it
	interrupt context.CancelCauseFunc
	store     context.Context // commands run under it; outlives work by the time that handing back takes
	giveUp    context.CancelFunc
	sweeping  context.Context // sweeps run under it
	endSweeps context.CancelFunc

	running sync.WaitGroup // the round loop, every attempt, and what is done for it
	sweeps  sync.WaitGroup
}

// NewProcessor returns a processor of the service's jobs that has not started.
func NewProcessor(svc *Service, runner Runner, o ProcessorOptions) *Processor {
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.PerClient <= 0 {
		o.PerClient = Share(o.Concurrency)
	}
	if o.Retention <= 0 {
		o.Retention = DefaultRetention
	}
	if o.LeaseTTL <= 0 {
		o.LeaseTTL = svc.ttl
	}
	if o.Node == "" {
		o.Node = DefaultNode
	}
	if o.Logger == nil {
		o.Logger = svc.log
	}
	p := &Processor{
		svc:      svc,
		runner:   runner,
		opts:     o,
		log:      o.Logger,
		stopping: make(chan struct{}),
		ages:     NewAges(o.Now),
		rounds:   newRounds(o.Concurrency),

		abandoned: make(chan struct{}, maxAbandoned),
	}
	p.browsers = newBrowsers(o.Browsers, func() { svc.ready.notify(Source{}) })
	p.runners = newRunners(o.Concurrency, o.PerClient, func() { svc.ready.notify(Source{}) })
	p.work, p.interrupt = context.WithCancelCause(context.Background())
	p.store, p.giveUp = context.WithCancel(context.Background())
	p.sweeping, p.endSweeps = context.WithCancel(context.Background())
	return p
}

// Share is how many of n runners one client may hold unless it is set: all but
// an eighth, and at least one is left to others if there is another one.
func Share(n int) int { return max(1, n-max(1, n/8)) }

// Start begins to claim and to sweep. It is called once.
func (p *Processor) Start() {
	p.running.Go(p.roundLoop)
	p.sweeps.Go(p.expireLoop)
	p.sweeps.Go(p.promoteLoop)
	p.sweeps.Go(p.expiryLoop)
	p.sweeps.Go(p.pruneLoop)
}

// Stats returns what the processor is doing.
func (p *Processor) Stats() Stats {
	s := p.svc.Stats()
	s.Abandoned, s.Parked = len(p.abandoned), p.parking.parked()
	return s
}

// StopClaiming begins no further attempt. Attempts in progress go on, and so
// do the sweeps.
func (p *Processor) StopClaiming() { p.stopOnce.Do(func() { close(p.stopping) }) }

// Stop ends the processor. Attempts may finish until ctx ends; then they are
// interrupted and handed back, and their attempt is not counted. It returns some
// seconds later at most, when all its goroutines but those of abandoned actions
// are gone, with an error if the store did not take a job back, whether it refused or
// was asked for too long: such a job waits for the end of its lease.
func (p *Processor) Stop(ctx context.Context) error {
	p.StopClaiming()
	idle := make(chan struct{})
	go func() {
		p.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		p.interrupt(errInterrupted)
		p.handBack(idle)
	}
	p.endSweeps()
	p.sweeps.Wait()
	p.interrupt(errInterrupted)
	p.giveUp()
	if n := p.unsettled.Load(); n > 0 {
		return fmt.Errorf("running jobs that the store did not take back, and that wait for the end of their lease: %d", n)
	}
	return nil
}

// handBack waits for interrupted attempts to end, and after some time stops
// asking the store to take them back.
func (p *Processor) handBack(idle <-chan struct{}) {
	timer := time.NewTimer(handBackTime + time.Duration(p.Stats().Running)*handBackEach)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		p.giveUp()
		<-idle
	}
}

// roundLoop sends one round after the other, until claiming has stopped and no attempt is
// left.
func (p *Processor) roundLoop() {
	ready, stop := p.svc.ready.listen(Source{})
	defer stop()
	c := claiming{ready: ready, want: true, look: time.NewTimer(safetyTick), trouble: storeBackoff()}
	defer c.look.Stop()
	for stopping := p.stopping; stopping != nil || !p.rounds.idle(); {
		free := p.runners.claimWake
		if p.rounds.gathering() {
			free = nil
		} else if p.round(&c) {
			continue
		}
		select {
		case <-p.rounds.news:
		case <-free:
		case <-c.ready:
			c.wake()
		case <-c.look.C:
			c.lookAgain()
		case <-stopping:
			stopping = nil
		}
	}
}

// claiming is what the round loop knows about jobs to claim.
type claiming struct {
	ready   <-chan struct{} // receives when there may be one
	want    bool            // there may be one
	resting bool            // the store did not take the newest claim: none follows until look
	closed  bool            // the store is closed: none follows
	look    *time.Timer     // when a claim is due all the same
	trouble *backoff.ExponentialBackOff
}

func (c *claiming) wake() { c.want = c.want || !c.resting && !c.closed }

func (c *claiming) lookAgain() { c.want, c.resting = !c.closed, false }

// wanted reports whether the next round is to claim.
func (c *claiming) wanted() bool {
	select {
	case <-c.ready:
		c.wake()
	case <-c.look.C:
		c.lookAgain()
	default:
	}
	return c.want
}

// done notes what became of a claim: it asked for so many jobs and got some.
func (c *claiming) done(asked, got int, err error) {
	switch {
	case errors.Is(err, ErrClosed):
		c.want, c.closed = false, true
	case err != nil:
		c.want, c.resting = false, true
		c.look.Reset(c.trouble.NextBackOff())
	default:
		c.want = got == asked // else all that can be claimed is; runners.gave sees it so too
		c.trouble.Reset()
		c.look.Reset(safetyTick)
	}
}

// round settles what was reported and claims for the runners that are free, in one
// command. It reports whether there was anything to do.
func (p *Processor) round(c *claiming) bool {
	var next *Claim
	wanted := c.wanted()
	of, steps := p.rounds.take(func() {
		if wanted {
			next = p.nextClaim()
		}
	})
	if len(of) == 0 && next == nil {
		return false
	}
	ctx := p.store
	if next != nil { // what it claims must not wait out its lease
		ctx = context.WithoutCancel(ctx)
		p.svc.runs.expect()
		defer p.svc.runs.arrived()
	}
	start := time.Now()
	answers, got, err := p.svc.store.Settle(ctx, steps, next)
	took := time.Since(start)
	for i, a := range of {
		out := Settled{Err: err}
		if err == nil {
			out = answers[i]
		}
		a.answer(steps[i], out)
	}
	if next == nil {
		return true
	}
	p.browsers.gave(got)
	p.runners.gave(next.Max, got)
	c.done(next.Max, len(got), err)
	if err != nil && !c.closed {
		p.log.Warn("the processor cannot claim jobs", "error", err)
	}
	p.rounds.gather(len(got), took/gatherShare)
	p.begin(got)
	return true
}

// nextClaim takes the runners that new jobs may have and returns a claim for them; nil:
// there are none.
func (p *Processor) nextClaim() *Claim {
	n, held := p.runners.take(p.stopping, MaxClaim)
	if n == 0 {
		return nil
	}
	return &Claim{
		Max: n, TTL: p.opts.LeaseTTL, Node: p.opts.Node, Share: p.opts.PerClient, Held: held, Announce: true,
		Browsers: p.browsers.places(),
	}
}

// begin starts an attempt of each job that was claimed. If the processor is past its end,
// it hands them back.
func (p *Processor) begin(got []Leased) {
	if p.store.Err() != nil {
		p.svc.handBack(context.WithoutCancel(p.store), got)
		return
	}
	for _, l := range got {
		p.svc.leases.within(l.Lasts)
		a := newAttempt(p, l)
		p.running.Go(a.run)
	}
}
