package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs/redact"
)

// attempt is one run of an action job. All but what rounds and mu guard belongs to the
// goroutine that runs it.
type attempt struct {
	p      *Processor
	l      Leased
	ctx    context.Context // its actions run under it; ended with the attempt
	cancel context.CancelCauseFunc

	scope    Scope    // of its actions
	secrets  []string // that they name, if they are steps in a browser, and redactor does not know yet
	redactor redact.Redactor

	parked      bool // it has no runner
	parkedBytes int

	reported               // guarded by rounds.mu, like what follows up to mu
	renewal    *time.Timer // of the lease
	endRenewal func()      // ends the renewing that is going on; nil: there was none

	mu     sync.Mutex          // guards what follows: an abandoned action may still save
	cursor string              // newest event of the job that is known to be committed
	left   map[string]Artifact // what the job has left behind, by name; nil: nothing
	sealed *Sealed             // the browser state to keep if the job completes
	data   data                // what its actions have kept for its result
}

// newAttempt returns an attempt that holds a runner. run must follow.
func newAttempt(p *Processor, l Leased) *attempt {
	a := &attempt{p: p, l: l, cursor: l.Job.Cursor}
	a.ctx, a.cancel = context.WithCancelCause(p.work)
	a.keep(l.Job.Artifacts...)
	p.rounds.begin(a)
	p.svc.runs.add(l.Lease.Token, run{job: l.Job.ID, start: time.Now(), cancel: a.cancel})
	return a
}

// run carries the attempt out and reports how it ended.
func (a *attempt) run() {
	limit := time.AfterFunc(time.Duration(a.l.Job.TimeoutMs)*time.Millisecond, func() { a.cancel(ErrTimedOut) })
	defer limit.Stop()
	result, err := a.execute()
	a.scope.Close()
	if a.l.Job.Browser {
		a.p.browsers.release(a.l.Lease.Client)
	}
	a.finish(context.Cause(a.ctx), result, err)
}

// over ends an attempt that nothing is left to do for.
func (a *attempt) over() {
	a.p.rounds.forget(a)
	a.cancel(nil)
	a.p.svc.runs.remove(a.l.Lease.Token)
}

// log returns a logger that names the attempt.
func (a *attempt) log() *slog.Logger {
	return a.p.log.With("jobId", a.l.Job.ID, "attempt", a.l.Job.Attempt)
}

// execute runs the actions in order and joins their results.
func (a *attempt) execute() (json.RawMessage, error) {
	var s steps
	if err := json.Unmarshal(a.l.Job.Actions, &s.actions); err != nil {
		return nil, fmt.Errorf("decode actions: %w", err)
	}
	if a.l.Job.Browser {
		a.secrets = a.p.secretNames(s.actions)
	}
	a.l.Job = a.l.Job.bare()
	for i := range s.actions {
		kind := actionKind(s.actions[i])
		r, err := a.step(&s, i, kind)
		if err != nil {
			return nil, err
		}
		r.kind = kind
		s.results = append(s.results, r)
	}
	if ends := a.scope.last(); len(ends) > 0 {
		if _, err := a.guard(a.ctx, "the end", func() acted { return a.conclude(ends) }); err != nil {
			return nil, err
		}
	}
	return actionsResult(s.results, a.dataText(), a.room()), nil
}

// step runs action i. A long pause needs no runner, everything else does.
func (a *attempt) step(s *steps, i int, kind string) (r actionResult, err error) {
	d, value, pause := a.p.pause(s.actions[i])
	if pause = pause && a.park(s); !pause {
		if err := a.unpark(); err != nil {
			return r, err
		}
	}
	if a.ctx.Err() != nil {
		return r, context.Cause(a.ctx)
	}
	if i > 0 { // the claim has announced the first one
		a.p.rounds.progress(a, Executing(i+1, len(s.actions), kind))
	}
	if !pause {
		return a.act(a.ctx, s.actions[i], i)
	}
	if err := a.rest(d); err != nil {
		return r, err
	}
	r.value = value
	r.encoded, err = encode(value)
	return r, err
}

// room returns how large the result may be beside the artifacts, which stand in
// the same event.
func (a *attempt) room() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := 0
	for _, one := range a.left {
		raw, _ := encode(one) // strings and a number always encode
		taken += len(raw) + len(",")
	}
	return min(MaxResultBytes, eventlog.MaxEventBytes-completedOverhead-taken)
}

func (a *attempt) artifacts() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.left)
}

// save keeps an artifact of the job, after the progress of its action.
func (a *attempt) save(ctx context.Context, name, contentType string, size int64, r io.Reader) (Artifact, error) {
	if err := a.p.rounds.flush(ctx, a); err != nil {
		return Artifact{}, err
	}
	saved, err := a.p.svc.SaveArtifact(ctx, a.l.Lease, name, contentType, size, r, nil)
	var conflict *ConflictError
	var invalid *InvalidError
	var limit *LimitError
	switch {
	case err == nil:
		a.advance(saved.Receipt.LastEventID)
		a.keep(saved.Artifact.Artifact)
	case errors.As(err, &conflict) || errors.As(err, &invalid) || errors.Is(err, ErrTooLarge):
		err = &ActionError{Class: ClassArtifact, Message: err.Error(), Err: err}
	case errors.As(err, &limit) && limit.What == LimitArtifacts:
		err = &ActionError{Class: ClassArtifactLimit, Message: limit.Error(), Err: err}
	case errors.Is(err, ErrStorageFull):
		err = &ActionError{Class: ClassStorageFull, Message: "the server's storage is full; nothing was saved", Retryable: true, Err: err}
	}
	return saved.Artifact.Artifact, err
}

// writeLog appends lines to the job's log, after the progress of its action.
func (a *attempt) writeLog(ctx context.Context, lines []LogLine) error {
	if err := a.p.rounds.flush(ctx, a); err != nil {
		return err
	}
	renewed, err := a.p.svc.Log(ctx, a.l.Lease, lines)
	if err == nil {
		a.advance(renewed.LastEventID)
	}
	return err
}

// open opens an artifact that the job has left behind, in this attempt or before.
func (a *attempt) open(ctx context.Context, name string) (io.ReadCloser, error) {
	_, file, err := a.p.svc.OpenArtifact(ctx, a.l.Lease.Client, a.l.Lease.JobID, name)
	if errors.Is(err, ErrNoArtifact) {
		return nil, &ActionError{Class: ClassArtifact, Message: "the job has no artifact " + name}
	}
	return file, err
}

// keep notes artifacts that the job has left behind.
func (a *attempt) keep(some ...Artifact) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range some {
		if a.left == nil {
			a.left = make(map[string]Artifact)
		}
		a.left[one.Name] = one
	}
}

// keepData keeps a member of the result's data.
func (a *attempt) keepData(name string, value json.RawMessage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.data.set(name, value)
}

// dataText is the result's data as JSON, nil if there is none.
func (a *attempt) dataText() json.RawMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.data.text()
}

// advance notes the job's newest event and reports whether it is a new one.
func (a *attempt) advance(cursor string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	moved := a.cursor != cursor
	a.cursor = cursor
	return moved
}

// conclude does what actions have left for the end.
func (a *attempt) conclude(ends []func(context.Context) error) (o acted) {
	for _, f := range ends {
		if o.err = f(a.ctx); o.err != nil {
			break
		}
	}
	return o
}

// act runs one action; see guard.
func (a *attempt) act(ctx context.Context, raw json.RawMessage, i int) (actionResult, error) {
	return a.guard(ctx, i, func() acted { return a.carryOut(ctx, raw, i) })
}

// guard runs one action, or what follows the last one, and abandons it if it goes on for
// unwindTime after ctx has ended. What an abandoned action returns is dropped, and what it
// saves is refused, because the lease has ended. A panic in it is a failure whose details
// only the log learns.
func (a *attempt) guard(ctx context.Context, which any, run func() acted) (actionResult, error) {
	done := make(chan acted, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				a.log().Error("an action panicked", "action", which, "panic", v, "stack", string(debug.Stack()))
				done <- acted{err: &ActionError{Class: ClassInternal, Message: "the action broke down", Retryable: true}}
			}
		}()
		done <- run()
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(unwindTime)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.result, o.err
	case <-timer.C:
	}
	select {
	case o := <-done:
		return o.result, o.err
	case a.p.abandoned <- struct{}{}:
		go func() {
			<-done
			<-a.p.abandoned
		}()
	case <-a.p.store.Done():
	}
	a.log().Error("an action did not end with its attempt and was abandoned", "action", which, "after", unwindTime)
	return actionResult{}, context.Cause(ctx)
}

// acted is how an action ended.
type acted struct {
	result actionResult
	err    error
}

// carryOut runs one action.
func (a *attempt) carryOut(ctx context.Context, raw json.RawMessage, i int) (o acted) {
	env := Env{
		Client: a.l.Job.ClientID, JobID: a.l.Job.ID, Attempt: a.l.Job.Attempt, Index: i,
		Hosts: a.l.Job.Hosts, Scope: &a.scope, Save: a.save, Log: a.writeLog, Open: a.open, Data: a.keepData,
		Redactor: &a.redactor, Secret: a.secret, State: a.browserState(),
	}
	if a.l.Job.Console != nil {
		env.Console = *a.l.Job.Console
	}
	if o.err = a.conceal(ctx); o.err != nil {
		return o
	}
	if o.result.value, o.err = a.p.runner.Run(ctx, raw, env); o.err == nil {
		o.result.encoded, o.err = encode(o.result.value)
	}
	return o
}

// finish reports how the attempt ended. cause says why its context ended, nil
// if it did not. A cancellation and a lost lease leave nothing to commit. A
// result that was ready in time counts, whatever happened after.
func (a *attempt) finish(cause error, result json.RawMessage, err error) {
	var known *ActionError // what an action says of itself is no refusal of the attempt
	switch {
	case errors.Is(cause, errCancelled) || (cause != nil && refused(cause)):
		a.log().Debug("a running job was stopped", "cause", cause)
		a.over()
	case err == nil:
		a.mu.Lock()
		state := a.sealed
		a.mu.Unlock()
		a.end(Step{Outcome: AttemptCompleted, Result: result, State: state, Unseen: true})
	case refused(err) && !errors.As(err, &known):
		a.log().Debug("a running job was stopped", "cause", err)
		a.over()
	case errors.Is(cause, errInterrupted) || cause == nil && errors.Is(err, ErrNoFault):
		a.end(Step{Outcome: AttemptReleased})
	case errors.Is(cause, ErrTimedOut):
		a.end(failed(TimedOut(a.l.Job.TimeoutMs)))
	default:
		a.end(failed(a.failure(err)))
	}
}

// end reports the end of the attempt.
func (a *attempt) end(s Step) { a.p.rounds.end(a, s) }

// failed is the end of an attempt without success. Another one follows after f.Backoff, or
// else an ordinary one, if f allows it.
func failed(f Failure) Step {
	if f.Backoff == (Backoff{}) {
		f.Backoff = NewBackoff(0)
	}
	return Step{Outcome: AttemptFailed, Failure: f}
}

// answer takes the answer to a step that a round has carried out. If that leaves open what
// became of the step, it is settled by itself, and no other waits for it.
func (a *attempt) answer(s Step, out Settled) {
	if out.Err = a.noted(s, out); out.Err == nil || refused(out.Err) {
		a.settled(s, out)
		return
	}
	a.p.rounds.apart(a)
	a.p.running.Go(func() { a.settled(s, a.insist(s, out.Err)) })
}

// noted lets a job be found that a step has made claimable, and returns the step's refusal.
func (a *attempt) noted(s Step, out Settled) error {
	switch s.Outcome {
	case AttemptFailed:
		a.p.svc.failed(out.Job, out.Err)
	case AttemptReleased:
		return a.p.svc.released(a.l, out.Err)
	}
	return out.Err
}

// insist settles a step by itself, however long the store takes to decide. err is why the
// round before it did not. An end may be repeated; progress lasts as long as the attempt.
func (a *attempt) insist(s Step, err error) (out Settled) {
	ctx := a.p.store
	if s.Outcome == AttemptGoesOn {
		ctx = a.ctx
	}
	unsure := !errors.Is(err, ErrStorageFull)
	err = insist(ctx, func() error {
		if unsure && s.Outcome == AttemptGoesOn {
			if stands, err := a.stands(ctx, s.Events); stands || err != nil {
				return err
			}
		}
		answers, _, err := a.p.svc.store.Settle(ctx, []Step{s}, nil)
		if out = (Settled{Err: err}); err == nil {
			out = answers[0]
		}
		unsure = unsure || !errors.Is(out.Err, ErrStorageFull)
		return a.noted(s, out)
	})
	out.Err = err
	return out
}

// stands reports whether events of the job are committed that a command of unknown fate
// was to append. It must not be repeated blindly, or they might stand in the log twice.
// Only this attempt can append to the job, so a newer event with the message of the last
// of them is that one.
func (a *attempt) stands(ctx context.Context, events []Body) (bool, error) {
	j, err := a.p.svc.store.Brief(ctx, a.l.Lease.Client, a.l.Lease.JobID)
	if err != nil {
		return false, err
	}
	var last progressData
	if err := json.Unmarshal(events[len(events)-1].Data, &last); err != nil {
		return false, fmt.Errorf("decode progress: %w", err)
	}
	return j.Message != nil && *j.Message == last.Message && a.advance(j.Cursor), nil
}

// settled does what follows from the answer to a step.
func (a *attempt) settled(s Step, out Settled) {
	var limit *LimitError
	var invalid *InvalidError
	switch {
	case s.Outcome == AttemptGoesOn:
		a.goesOn(out)
	case errors.As(out.Err, &limit) && len(s.Events) > 0: // its end makes room, its progress does not
		a.log().Debug("an event was left out", "error", out.Err)
		s.Events = nil
		a.p.rounds.again(a, s)
	case errors.As(out.Err, &limit) && s.State != nil:
		end := failed(Failure{Class: ClassState, Message: plain(limit.Error(), MaxErrorMessageBytes)})
		if end.Lease = s.Lease; limit.What == LimitStorage {
			end.Failure.Class, end.Failure.Retry = ClassStorageFull, true
		}
		a.p.rounds.again(a, end)
	case errors.As(out.Err, &invalid) && s.Outcome == AttemptCompleted: // else it would be tried for ever
		a.log().Error("the end of an attempt was not stored", "operation", operations[s.Outcome], "error", out.Err)
		end := failed(Failure{Class: ClassInternal, Message: "the result could not be stored"})
		end.Lease, end.Events = s.Lease, s.Events
		a.p.rounds.again(a, end)
	default:
		a.stored(operations[s.Outcome], out.Err)
	}
}

// goesOn takes the answer to what was reported before the attempt's end.
func (a *attempt) goesOn(out Settled) {
	var limit *LimitError
	switch {
	case out.Err == nil && out.Receipt.LastEventID != "":
		a.advance(out.Receipt.LastEventID)
	case errors.As(out.Err, &limit):
		a.log().Debug("an event was left out", "error", out.Err)
	case out.Err != nil && refused(out.Err):
		a.cancel(fmt.Errorf("report progress: %w", out.Err))
	}
	a.p.rounds.answered(a)
}

// operations names the ends of attempts for the log.
var operations = map[Outcome]string{AttemptCompleted: "complete", AttemptFailed: "fail", AttemptReleased: "hand back"}

// stored takes the store's last word on the attempt's end, which is err. It counts the ends
// that the processor's own end left without one.
func (a *attempt) stored(operation string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrLeaseLost):
		a.log().Debug("a job was taken away before its end was stored", "operation", operation)
	default:
		a.log().Error("the end of an attempt was not stored", "operation", operation, "error", err)
		if a.p.work.Err() != nil {
			a.p.unsettled.Add(1)
		}
	}
	a.over()
}

// failure says what a client learns of err.
func (a *attempt) failure(err error) Failure {
	var known *ActionError
	if !errors.As(err, &known) {
		a.log().Error("an action failed", "error", err)
		return Failure{Class: ClassInternal, Message: "the action could not be run", Retry: true}
	}
	a.log().Debug("an action failed", "class", known.Class, "error", known.Err)
	return Failure{
		Class:   plain(known.Class, MaxErrorClassBytes),
		Message: plain(known.Message, MaxErrorMessageBytes),
		Retry:   known.Retryable,
		Backoff: NewBackoff(known.RetryAfter),
	}
}

// plain returns s as UTF-8 of at most limit bytes.
func plain(s string, limit int) string {
	return cutText(strings.ToValidUTF8(s, "\uFFFD"), limit)
}
