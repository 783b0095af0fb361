package reference

import (
	"context"
	"encoding/json"

	"github.com/jobcast/jobcast/jobs"
)

// settled is what Settle returns.
type settled struct {
	answers []jobs.Settled
	claimed []jobs.Leased
}

// Settle implements jobs.Store.
func (s *Store) Settle(ctx context.Context, steps []jobs.Step, next *jobs.Claim) ([]jobs.Settled, []jobs.Leased, error) {
	out, err := write(ctx, s, func() (settled, error) {
		out := settled{answers: make([]jobs.Settled, len(steps))}
		ended, refused := false, false // what the claim follows: by one of these steps, and one of its steps
		for i, step := range steps {
			a, anew := s.settle(step)
			if j, ok := s.tables.jobs[a.Job.ID]; ok {
				a.Job = j.abridged(jobs.BriefBytes(len(steps)))
			}
			if next != nil && step.Lease == next.After {
				ended, refused = ended || anew, refused || a.Err != nil
			}
			out.answers[i] = a
		}
		if next != nil && (ended || !refused || !next.Follows()) {
			out.claimed = s.claimAfter(*next, ended)
		}
		return out, nil
	})
	return out.answers, out.claimed, err
}

// settleOne is Settle for one step without a claim.
func (s *Store) settleOne(ctx context.Context, step jobs.Step) (jobs.Settled, error) {
	answers, _, err := s.Settle(ctx, []jobs.Step{step}, nil)
	if err != nil {
		return jobs.Settled{}, err
	}
	return answers[0], answers[0].Err
}

// Append implements jobs.Store.
func (s *Store) Append(ctx context.Context, l jobs.Lease, bodies []jobs.Body) (jobs.Receipt, error) {
	a, err := s.settleOne(ctx, jobs.Step{Lease: l, Events: bodies})
	return a.Receipt, err
}

// Extend implements jobs.Store.
func (s *Store) Extend(ctx context.Context, l jobs.Lease) (jobs.Receipt, error) {
	return s.Append(ctx, l, nil)
}

// Complete implements jobs.Store.
func (s *Store) Complete(ctx context.Context, l jobs.Lease, result json.RawMessage) (jobs.Job, error) {
	a, err := s.settleOne(ctx, jobs.Step{Lease: l, Outcome: jobs.AttemptCompleted, Result: result})
	return a.Job, err
}

// Fail implements jobs.Store.
func (s *Store) Fail(ctx context.Context, l jobs.Lease, f jobs.Failure) (jobs.Job, error) {
	a, err := s.settleOne(ctx, jobs.Step{Lease: l, Outcome: jobs.AttemptFailed, Failure: f})
	return a.Job, err
}

// Release implements jobs.Store.
func (s *Store) Release(ctx context.Context, l jobs.Lease) error {
	_, err := s.settleOne(ctx, jobs.Step{Lease: l, Outcome: jobs.AttemptReleased})
	return err
}

// settle carries out one step. ended reports whether it ended an attempt in a way that
// its holder may repeat.
func (s *Store) settle(step jobs.Step) (a jobs.Settled, ended bool) {
	j, err := s.find(step.Lease.Client, step.Lease.JobID)
	if err != nil {
		return jobs.Settled{Err: err}, false
	}
	completed, failed := step.Outcome == jobs.AttemptCompleted, step.Outcome == jobs.AttemptFailed
	switch {
	case step.Lease.Token == "":
		return jobs.Settled{Err: jobs.ErrLeaseLost}, false
	case j.lease.token == step.Lease.Token:
	case j.last == step.Lease.Token && (completed && j.completed || failed && !j.completed):
		return jobs.Settled{Job: j.brief()}, false
	default:
		return jobs.Settled{Err: jobs.ErrLeaseLost}, false
	}
	if len(step.Result) == 0 {
		step.Result = json.RawMessage("{}")
	}
	now := s.now()
	last := jobs.CompletedWith(now, j.whole().Artifacts, step.Result)
	if err := s.judge(j, step, last); err != nil {
		return jobs.Settled{Err: err}, false
	}
	if step.State != nil && completed {
		s.keep(*step.State)
	}
	j = s.append(j, now, step.Events...)
	switch step.Outcome {
	case jobs.AttemptCompleted:
		j.last, j.completed, j.next = step.Lease.Token, true, ""
		j.Result, j.Error, j.ErrorMessage = step.Result, nil, nil
		return jobs.Settled{Job: s.end(j, jobs.Completed, now, last)}, true
	case jobs.AttemptFailed:
		return jobs.Settled{Job: s.fail(j, step.Failure, true)}, true
	case jobs.AttemptReleased, jobs.AttemptUnclaimed:
		s.release(j)
		return jobs.Settled{}, false
	}
	return jobs.Settled{Receipt: jobs.Receipt{LastEventID: j.Cursor, Lasts: s.renew(j)}}, false
}

// judge returns why an attempt does not allow a step. last is the last event of the job, if
// the step completes it.
func (s *Store) judge(j job, step jobs.Step, last jobs.Body) error {
	switch {
	case step.Outcome == jobs.AttemptCompleted && !last.Fits():
		return &jobs.InvalidError{Fields: []jobs.FieldError{{Pointer: "/result",
			Detail: "is too large for one event together with the job's artifacts; store it as an artifact"}}}
	case step.Outcome == jobs.AttemptUnclaimed && j.lease.renewed:
		return jobs.ErrLeaseLost
	}
	if step.State != nil && step.Outcome == jobs.AttemptCompleted {
		if err := s.mayKeep(*step.State); err != nil {
			return err
		}
	}
	return s.room(bytesOf(step.Events))
}

// bytesOf is about how much events take.
func bytesOf(bodies []jobs.Body) (bytes int64) {
	for _, b := range bodies {
		bytes += int64(len(b.Data)) + rowBytes
	}
	return bytes
}
