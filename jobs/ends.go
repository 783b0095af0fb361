package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// MaxEnds is how many attempts one call ends.
const MaxEnds = 100

// End is what a worker says of the end of its attempt.
type End struct {
	Lease  Lease
	Result json.RawMessage // with success: a JSON object; empty: {}
	Failed *WorkerFailure  // nil: with success
}

// WorkerFailure is why an attempt had no success, in its worker's words.
type WorkerFailure struct {
	Class   string // empty: ClassWorker
	Message string
	Retry   bool // the job is tried again after a back-off while attempts are left
}

// Ended answers an End.
type Ended struct {
	Job Job // as in Settled
	Err error
}

// NextClaim is the wish for one job more with the end of another.
type NextClaim struct {
	Queues []string      // 1..100 names
	Lease  time.Duration // 5 s..600 s; 0: the server's setting
	Worker string        // as in ClaimRequest
	Again  bool          // claim nothing, but return what the same call has claimed before
	None   bool          // no job is wanted any more: what the same call has claimed goes back
}

// End ends an attempt, and with next, which may be nil, leases its worker the next job of
// its client in the same commit, if there is one. The same call again returns the same job
// under the same lease while that is open, and claims no other; if the first call claimed
// none, it claims none. With next.None it hands back, uncounted, what the same call has
// claimed before, if that is still open, and returns none. With a result, what is passed
// must not exceed MaxEventBytes with its event around it. Once StopClaims was called, only
// what was claimed before is returned.
func (s *Service) End(ctx context.Context, e End, next *NextClaim) (Job, []Claimed, error) {
	step, err := e.step()
	if err != nil {
		return Job{}, nil, err
	}
	var c *Claim
	if next != nil {
		if c, err = s.claimAfter(e.Lease, *next); err != nil {
			return Job{}, nil, err
		}
	}
	answers, claimed, err := s.settle(ctx, e.Lease.Client, []Step{step}, c)
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return Job{}, nil, err
	}
	if next == nil || !next.None {
		return answers[0].Job, claimed, nil
	}
	for _, l := range claimed {
		if err := s.Release(ctx, l.Leased); err != nil {
			return Job{}, nil, err
		}
	}
	return answers[0].Job, nil, nil
}

// EndAll ends 1..MaxEnds attempts of one client in one commit, in their order. Each is
// answered for itself, as End would; the error is that of the call.
func (s *Service) EndAll(ctx context.Context, client string, ends []End) ([]Ended, error) {
	if len(ends) == 0 || len(ends) > MaxEnds {
		var f faults
		f.addf("/jobs", "must have 1 to %d items", MaxEnds)
		return nil, f.err()
	}
	out := make([]Ended, len(ends))
	var steps []Step
	var at []int // of each step, where its answer goes
	for i, e := range ends {
		step, err := e.step()
		if err != nil {
			out[i].Err = err
			continue
		}
		step.Lease.Client = client
		steps, at = append(steps, step), append(at, i)
	}
	if len(steps) == 0 {
		return out, nil
	}
	answers, _, err := s.settle(ctx, client, steps, nil)
	for i, a := range answers {
		out[at[i]] = Ended{a.Job, a.Err}
	}
	return out, err
}

// settle ends attempts of one client, which waits for itself if it floods the log, and wakes
// those who wait for what becomes claimable.
func (s *Service) settle(ctx context.Context, client string, steps []Step, next *Claim) ([]Settled, []Claimed, error) {
	size := 0
	for _, step := range steps {
		size += len(step.Result)
	}
	weight := weigh(len(steps), size)
	if err := s.throttle.enter(ctx, client, weight); err != nil {
		return nil, nil, err
	}
	defer s.throttle.leave(client, weight)
	sent := time.Now()
	answers, leased, err := s.store.Settle(ctx, steps, next)
	if err != nil {
		s.due.within(0) // it may have been committed
		return nil, nil, err
	}
	for _, a := range answers {
		if a.Err == nil {
			s.announce(a.Job)
		}
	}
	return answers, s.claimed(leased, sent), nil
}

// claimed notes when leases run out that a command, sent at a time, has brought.
func (s *Service) claimed(leased []Leased, sent time.Time) []Claimed {
	got := make([]Claimed, len(leased))
	for i, l := range leased {
		s.leases.within(l.Lasts)
		got[i] = Claimed{l, sent.Add(l.Lasts)}
	}
	return got
}

// claimAfter is the claim that follows the end of a worker's attempt.
func (s *Service) claimAfter(l Lease, n NextClaim) (*Claim, error) {
	c, err := s.workerClaim(l.Client, ClaimRequest{Queues: n.Queues, Lease: n.Lease, Worker: n.Worker})
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		for i := range invalid.Fields {
			invalid.Fields[i].Pointer = "/claim" + invalid.Fields[i].Pointer
		}
	}
	c.After = l
	select {
	case <-s.stopped:
		n.Again = true
	default:
	}
	if n.Again || n.None {
		c.Max = 0
	} else if err == nil {
		s.workers.saw(l.Client, n.Worker, n.Queues, time.Now())
	}
	return &c, err
}

// step checks what a worker says.
func (e End) step() (Step, error) {
	if e.Failed != nil {
		return e.Failed.step(e.Lease)
	}
	result := e.Result
	if len(result) == 0 {
		result = json.RawMessage("{}")
	}
	result, err := compactJSON(result, MaxJSONDepth)
	if err != nil {
		return Step{}, err
	}
	var f faults
	if result[0] != '{' {
		f.add("/result", "must be an object")
	} else if len(result) > MaxResultBytes {
		f.addf("/result", "must not be larger than %d bytes; store larger results as an artifact", MaxResultBytes)
	}
	return Step{Lease: e.Lease, Outcome: AttemptCompleted, Result: result}, f.err()
}

func (e WorkerFailure) step(l Lease) (Step, error) {
	if e.Class == "" {
		e.Class = ClassWorker
	}
	var f faults
	f.text("/error", e.Class, MaxErrorClassBytes)
	f.text("/errorMessage", e.Message, MaxErrorMessageBytes)
	return Step{Lease: l, Outcome: AttemptFailed, Failure: Failure{Class: e.Class, Message: e.Message, Retry: e.Retry, Backoff: NewBackoff(0)}}, f.err()
}

// nextBody is the member claim of a body that ends an attempt.
type nextBody struct {
	Queues  []string `json:"queues"`
	Max     *int     `json:"max"`     // absent: 1
	LeaseMs *int64   `json:"leaseMs"` // absent: the server's setting
	Worker  *string  `json:"worker"`  // absent: it has no name
}

// nextClaim reads what is asked for; nil if nothing is.
func (f *faults) nextClaim(in *nextBody) *NextClaim {
	if in == nil {
		return nil
	}
	f.queues("/claim", in.Queues)
	if in.Max != nil {
		f.inRange("/claim/max", int64(*in.Max), 0, 1)
	}
	return &NextClaim{
		Queues: in.Queues, Lease: f.leaseMs("/claim", in.LeaseMs), Worker: f.worker("/claim", in.Worker),
		None: in.Max != nil && *in.Max == 0,
	}
}

// ParseComplete reads the body of a complete call, which may be missing: the end of an
// attempt, without its lease, and the claim that follows, nil if none does. It returns
// *MalformedError, or *InvalidError with every fault but those of the result.
func ParseComplete(body []byte) (End, *NextClaim, error) {
	var in struct {
		Result json.RawMessage `json:"result"`
		Claim  *nextBody       `json:"claim"`
	}
	if body != nil {
		if err := DecodeObject(body, &in); err != nil {
			return End{}, nil, err
		}
	}
	var f faults
	next := f.nextClaim(in.Claim)
	return End{Result: orEmpty(in.Result)}, next, f.err()
}

// orEmpty is a member that may be null.
func orEmpty(member json.RawMessage) json.RawMessage {
	if string(member) == "null" {
		return nil
	}
	return member
}

// ParseFail reads the body of a fail call as ParseComplete does.
func ParseFail(body []byte) (End, *NextClaim, error) {
	var in struct {
		Error        string    `json:"error"`
		ErrorMessage *string   `json:"errorMessage"`
		Retry        *bool     `json:"retry"`
		Claim        *nextBody `json:"claim"`
	}
	if err := DecodeObject(body, &in); err != nil {
		return End{}, nil, err
	}
	var f faults
	failed := f.failed("", in.Error, in.ErrorMessage, in.Retry)
	next := f.nextClaim(in.Claim)
	return End{Failed: failed}, next, f.err()
}

// failed reads a failure; at is where it stands.
func (f *faults) failed(at, class string, message *string, retry *bool) *WorkerFailure {
	if message == nil {
		f.add(at+"/errorMessage", "is required")
		return nil
	}
	return &WorkerFailure{Class: class, Message: *message, Retry: retry == nil || *retry}
}

// ParseEnds reads the body of a call that ends many attempts: {"jobs":[…]}, each with its
// jobId, its leaseToken, and what a complete or a fail call would say. It returns
// *MalformedError, or *InvalidError with every fault but those of what is said: for that
// each attempt is answered for itself.
func ParseEnds(body []byte) ([]End, error) {
	var in struct {
		Jobs []struct {
			JobID        string          `json:"jobId"`
			LeaseToken   string          `json:"leaseToken"`
			Result       json.RawMessage `json:"result"`
			Error        string          `json:"error"`
			ErrorMessage *string         `json:"errorMessage"`
			Retry        *bool           `json:"retry"`
		} `json:"jobs"`
	}
	if err := DecodeObject(body, &in); err != nil {
		return nil, err
	}
	var f faults
	if len(in.Jobs) == 0 || len(in.Jobs) > MaxEnds {
		f.addf("/jobs", "must have 1 to %d items", MaxEnds)
		return nil, f.err()
	}
	ends := make([]End, len(in.Jobs))
	for i, one := range in.Jobs {
		at := "/jobs/" + strconv.Itoa(i)
		id, ok := ParseID(one.JobID)
		if !ok {
			id = one.JobID // a text that is no id names no job
		}
		if one.JobID == "" {
			f.add(at+"/jobId", "is required")
		}
		if one.LeaseToken == "" {
			f.add(at+"/leaseToken", "is required")
		}
		ends[i] = End{Lease: Lease{JobID: id, Token: one.LeaseToken}, Result: orEmpty(one.Result)}
		if one.Error == "" && one.ErrorMessage == nil && one.Retry == nil {
			continue
		}
		if ends[i].Result != nil {
			f.add(at+"/result", "is of an attempt with success")
		}
		ends[i].Failed = f.failed(at, one.Error, one.ErrorMessage, one.Retry)
	}
	return ends, f.err()
}
