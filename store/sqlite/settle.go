package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// settled is what Settle returns.
type settled struct {
	answers []jobs.Settled
	claimed []jobs.Leased
}

// Settle implements jobs.Store.
func (s *Store) Settle(ctx context.Context, steps []jobs.Step, next *jobs.Claim) ([]jobs.Settled, []jobs.Leased, error) {
	rows := 0
	for i := range steps {
		rows += rowsOf(steps[i])
	}
	var c jobs.Claim
	if next != nil {
		c = s.withDefaults(*next)
		rows += rowsOfClaim(c)
	}
	out, err := write(ctx, s, rows, func(b *batch) (settled, error) {
		out := settled{answers: make([]jobs.Settled, len(steps))}
		ended, refused := false, false // what the claim follows: by one of these steps, and one of its steps
		limit := jobs.BriefBytes(len(steps))
		for i := range steps {
			a, anew, err := b.settle(steps[i], limit)
			var no refusal
			switch {
			case errors.As(err, &no):
				a = jobs.Settled{Err: no.err}
				refused = refused || steps[i].Lease == c.After
			case err != nil:
				return settled{}, err
			case anew && steps[i].Lease == c.After:
				ended = true
			}
			out.answers[i] = a
		}
		if next == nil || refused && c.Follows() && !ended {
			return out, nil
		}
		var err error
		out.claimed, err = b.claimAfter(c, ended)
		return out, err
	})
	return out.answers, out.claimed, err
}

// rowsOf is how many event rows a step writes.
func rowsOf(s jobs.Step) int {
	if s.Outcome == jobs.AttemptGoesOn {
		return len(s.Events)
	}
	return len(s.Events) + 1
}

// rowsOfClaim is how many event rows a claim writes at most.
func rowsOfClaim(c jobs.Claim) int {
	if c.Announce {
		return 2 * c.Max
	}
	return c.Max
}

// settleOne is Settle for one step without a claim.
func (s *Store) settleOne(ctx context.Context, step jobs.Step) (jobs.Settled, error) {
	return write(ctx, s, rowsOf(step), func(b *batch) (jobs.Settled, error) {
		a, _, err := b.settle(step, jobs.BriefBytes(1))
		return a, err
	})
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

// settle carries out one step. A refusal comes before anything is written. The job in the
// answer is abridged to limit. ended reports whether the step ended an attempt in a way
// that its holder may repeat.
func (b *batch) settle(s jobs.Step, limit int) (a jobs.Settled, ended bool, err error) {
	r, end, err := b.held(s.Lease)
	switch {
	case err != nil:
		return a, false, err
	case r.id == 0:
		a.Job, err = b.repeated(s, end, limit)
		return a, false, err
	}
	if len(s.Result) == 0 {
		s.Result = json.RawMessage("{}")
	}
	now := b.now()
	last, err := b.judge(r, s, now)
	if err != nil {
		return a, false, err
	}
	grown := b.grown
	if err := b.grow(bytesOf(s.Events)); err != nil {
		return a, false, err
	}
	if s.State != nil && s.Outcome == jobs.AttemptCompleted {
		if _, err := b.putSealed(*s.State); err != nil {
			b.grown = grown // no event is appended
			return a, false, err
		}
	}
	id, err := b.append(r.head, r.id, r.uuid, now, s.Events...)
	if err != nil {
		return a, false, err
	}
	switch s.Outcome {
	case jobs.AttemptCompleted:
		err = b.complete(r, now, s.Result, last)
	case jobs.AttemptFailed:
		err = b.fail(r, s.Failure, true)
	case jobs.AttemptReleased, jobs.AttemptUnclaimed:
		return a, false, b.release(r)
	default:
		a.Receipt, err = b.goesOn(r, id)
		return a, false, err
	}
	if err == nil && (!s.Unseen || s.Outcome != jobs.AttemptCompleted) {
		a.Job, err = known(r.id)(b.abridged(limit, sqlJobByID, []any{r.id}))
	}
	return a, true, err
}

// repeated answers a step whose lease has ended, and how, if it says so once more.
func (b *batch) repeated(s jobs.Step, end, limit int) (jobs.Job, error) {
	again := s.Outcome == jobs.AttemptCompleted && end == endComplete || s.Outcome == jobs.AttemptFailed && end == endFail
	if !again {
		return jobs.Job{}, refuse(jobs.ErrLeaseLost)
	}
	row, err := b.abridged(limit, sqlJobByUUID, []any{s.Lease.JobID, s.Lease.Client})
	if err == nil && row == nil {
		err = refuse(jobs.ErrNotFound)
	}
	if err != nil {
		return jobs.Job{}, err
	}
	return row.Job, nil
}

// judge refuses a step that the attempt it is for does not allow. last is the last event
// of a job that it completes.
func (b *batch) judge(r running, s jobs.Step, now time.Time) (last jobs.Body, err error) {
	switch s.Outcome {
	case jobs.AttemptCompleted:
		var artifacts []jobs.Artifact
		if r.artifacts {
			if artifacts, err = b.artifacts(r.id, r.uuid); err != nil {
				return last, fmt.Errorf("read artifacts of job %s: %w", r.uuid, err)
			}
		}
		if last = jobs.CompletedWith(now, artifacts, s.Result); !last.Fits() {
			return last, refuse(&jobs.InvalidError{Fields: []jobs.FieldError{{Pointer: "/result",
				Detail: "is too large for one event together with the job's artifacts; store it as an artifact"}}})
		}
	case jobs.AttemptUnclaimed:
		if l, ok := b.lease(r.id); ok && l.renewed {
			return last, refuse(jobs.ErrLeaseLost)
		}
	}
	return last, nil
}

// goesOn renews a lease. newest is the cursor of what was appended; empty: nothing was.
func (b *batch) goesOn(r running, newest string) (jobs.Receipt, error) {
	lasts, err := b.renew(r)
	if err != nil {
		return jobs.Receipt{}, err
	}
	if newest == "" {
		newest, err = b.newest(r)
	}
	return jobs.Receipt{LastEventID: newest, Lasts: lasts}, err
}
