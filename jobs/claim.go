package jobs

import (
	"context"
	"strconv"
	"time"
)

// Limits on what workers may ask for.
const (
	MaxClaim       = 100 // jobs at once: what one answer carries
	MaxClaimQueues = 100 // names in one claim: what one look-up costs
	MaxClaimWait   = 60 * time.Second
	MinLease       = 5 * time.Second
	MaxLease       = 600 * time.Second
)

// ClaimRequest is a worker's wish for jobs of its own client.
type ClaimRequest struct {
	Queues []string      // 1..100 names
	Max    int           // 1..100; 0: 1
	Wait   time.Duration // how long to wait for the first job; 0..60 s
	Lease  time.Duration // 5 s..600 s; 0: the server's setting
	Worker string        // who asks: [A-Za-z0-9._-]{1,64}; empty: it gives no name
}

// Claimed is a job that its holder has a lease on.
type Claimed struct {
	Leased
	ExpiresAt time.Time // as Renewed.ExpiresAt
}

// Claim leases jobs to a worker of client. If there are none it waits, and
// returns none when the time is over, or once StopClaims was called. When ctx
// ends before it returns, whatever was claimed is handed back.
func (s *Service) Claim(ctx context.Context, client string, r ClaimRequest) ([]Claimed, error) {
	c, err := s.workerClaim(client, r)
	if err != nil {
		return nil, err
	}
	s.workers.saw(client, r.Worker, r.Queues, time.Now())
	defer func() { s.workers.saw(client, r.Worker, r.Queues, time.Now()) }()
	sources := make([]Source, len(r.Queues))
	for i, q := range r.Queues {
		sources[i] = Source{client, q}
	}
	wake, stop := s.ready.listen(sources...)
	defer stop()
	over := time.NewTimer(r.Wait)
	defer over.Stop()
	for {
		select {
		case <-s.stopped:
			return nil, nil
		case <-ctx.Done(): // whoever asked has gone, and a job that is due is for others
			return nil, context.Cause(ctx)
		default:
		}
		got, err := s.claim(ctx, c)
		if err != nil || len(got) > 0 || r.Wait == 0 {
			return got, err
		}
		select {
		case <-wake:
		case <-over.C:
			return nil, nil
		case <-s.stopped:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// claimBody is the body of a claim, members in the order of the contract.
type claimBody struct {
	Queues  []string `json:"queues"`
	Max     *int     `json:"max"`
	Wait    *int64   `json:"wait"`    // seconds
	LeaseMs *int64   `json:"leaseMs"` // absent: the server's setting
	Worker  *string  `json:"worker"`  // absent: it has no name
}

// ParseClaim reads the body of a claim and fills in the defaults: one job, no
// waiting. It returns *MalformedError, or *InvalidError with every fault.
func ParseClaim(body []byte) (ClaimRequest, error) {
	var in claimBody
	if err := DecodeObject(body, &in); err != nil {
		return ClaimRequest{}, err
	}
	var f faults
	r := ClaimRequest{Queues: in.Queues, Max: 1}
	if in.Max != nil && f.inRange("/max", int64(*in.Max), 1, MaxClaim) {
		r.Max = *in.Max
	}
	if in.Wait != nil && f.inRange("/wait", *in.Wait, 0, int64(MaxClaimWait/time.Second)) {
		r.Wait = time.Duration(*in.Wait) * time.Second
	}
	r.Lease = f.leaseMs("", in.LeaseMs)
	r.Worker = f.worker("", in.Worker)
	f.queues("", r.Queues)
	return r, f.err()
}

// leaseMs reads how long a lease is to last, 0 if ms is absent; at is where that stands.
func (f *faults) leaseMs(at string, ms *int64) time.Duration {
	if ms == nil || !f.inRange(at+"/leaseMs", *ms, MinLease.Milliseconds(), MaxLease.Milliseconds()) {
		return 0
	}
	return time.Duration(*ms) * time.Millisecond
}

// worker reads the name of a worker, empty if it gives none; at is where that stands.
func (f *faults) worker(at string, name *string) string {
	switch {
	case name == nil:
		return ""
	case !ValidWorker(*name):
		f.addf(at+"/worker", "must be 1 to %d characters of A-Z, a-z, 0-9, dot, underscore and hyphen, and neither . nor ..", MaxWorkerName)
	}
	return *name
}

func (f *faults) queues(at string, names []string) {
	if len(names) == 0 || len(names) > MaxClaimQueues {
		f.addf(at+"/queues", "must have 1 to %d names", MaxClaimQueues)
		return
	}
	for i, q := range names {
		if !ValidQueue(q) {
			f.add(at+"/queues/"+strconv.Itoa(i), "is not the name of a queue")
		}
	}
}

func (s *Service) workerClaim(client string, r ClaimRequest) (Claim, error) {
	var f faults
	f.queues("", r.Queues)
	if r.Worker != "" {
		f.worker("", &r.Worker)
	}
	c := Claim{Client: client, Queues: r.Queues, Max: r.Max, TTL: r.Lease, Worker: r.Worker}
	if c.Max == 0 {
		c.Max = 1
	}
	if c.TTL == 0 {
		c.TTL = s.ttl
	} else {
		f.inRange("/leaseMs", c.TTL.Milliseconds(), MinLease.Milliseconds(), MaxLease.Milliseconds())
	}
	f.inRange("/max", int64(c.Max), 1, MaxClaim)
	if r.Wait < 0 || r.Wait > MaxClaimWait {
		f.addf("/wait", "must be between 0 and %d", int(MaxClaimWait.Seconds()))
	}
	return c, f.err()
}
