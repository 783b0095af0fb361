package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
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

	running sync.WaitGroup // the claim loop and every attempt
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

		abandoned: make(chan struct{}, maxAbandoned),
	}
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
	p.running.Go(p.claimLoop)
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

// claimLoop starts an attempt on every free runner as long as there are jobs.
func (p *Processor) claimLoop() {
	wake, stop := p.svc.ready.listen(Source{})
	defer stop()
	trouble := storeBackoff()
	for {
		n, held := p.runners.take(p.stopping, MaxClaim)
		if n == 0 {
			return
		}
		got, err := p.svc.claim(p.store, Claim{Max: n, TTL: p.opts.LeaseTTL, Node: p.opts.Node, Share: p.opts.PerClient, Held: held})
		p.runners.gave(n, got)
		for _, l := range got {
			p.running.Go(func() { p.run(l.Leased) })
		}
		switch {
		case errors.Is(err, ErrClosed):
			return
		case err != nil:
			p.log.Warn("the processor cannot claim jobs", "error", err)
			if !p.idle(nil, trouble.NextBackOff()) {
				return
			}
		case len(got) == 0:
			trouble.Reset()
			if !p.idle(wake, safetyTick) {
				return
			}
		default:
			trouble.Reset()
		}
	}
}

// idle waits for a wake-up or for d; false means that claiming has stopped.
func (p *Processor) idle(wake <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.stopping:
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}
