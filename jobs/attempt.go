package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// attempt is one run of an action job. All but what mu guards belongs to the
// goroutine that runs it.
type attempt struct {
	p      *Processor
	l      Leased
	log    *slog.Logger
	cancel context.CancelCauseFunc

	parked      bool // it has no runner
	parkedBytes int
	renewing    func() // ends the renewing; nil: none is going on

	mu     sync.Mutex          // guards what follows: an abandoned action may still save
	cursor string              // newest event of the job that is known to be committed
	left   map[string]Artifact // what the job has left behind, by name
}

// run carries out one attempt, which holds a runner, and reports how it ended.
func (p *Processor) run(l Leased) {
	ctx, cancel := context.WithCancelCause(p.work)
	defer cancel(nil)
	a := &attempt{
		p: p, l: l, cancel: cancel, cursor: l.Job.Cursor, left: make(map[string]Artifact),
		log: p.log.With("jobId", l.Job.ID, "attempt", l.Job.Attempt),
	}
	defer a.leave()
	p.svc.runs.add(l.Lease.Token, run{job: l.Job.ID, start: time.Now(), cancel: cancel})
	defer p.svc.runs.remove(l.Lease.Token)
	for _, one := range l.Job.Artifacts {
		a.left[one.Name] = one
	}
	a.startRenewing()
	defer a.stopRenewing()

	limit := time.Duration(l.Job.TimeoutMs) * time.Millisecond
	limited, done := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer done()
	result, err := a.execute(limited)
	if a.renewing == nil { // the end may take the store some time
		a.startRenewing()
	}
	a.finish(context.Cause(limited), result, err)
}

// execute runs the actions in order and joins their results.
func (a *attempt) execute(ctx context.Context) (json.RawMessage, error) {
	var s steps
	if err := json.Unmarshal(a.l.Job.Actions, &s.actions); err != nil {
		return nil, fmt.Errorf("decode actions: %w", err)
	}
	a.l.Job = a.l.Job.bare()
	for i := range s.actions {
		var head struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(s.actions[i], &head); err != nil {
			return nil, fmt.Errorf("decode action %d: %w", i, err)
		}
		r, err := a.step(ctx, &s, i, head.Type)
		if err != nil {
			return nil, err
		}
		r.kind = head.Type
		s.results = append(s.results, r)
	}
	return actionsResult(s.results, a.room()), nil
}

// step runs action i. A long pause needs no runner, everything else does.
func (a *attempt) step(ctx context.Context, s *steps, i int, kind string) (r actionResult, err error) {
	d, value, pause := a.p.pause(s.actions[i])
	if pause = pause && a.park(s); !pause {
		if err := a.unpark(ctx); err != nil {
			return r, err
		}
	}
	if err := a.announce(ctx, i+1, len(s.actions), kind); err != nil {
		return r, err
	}
	if !pause {
		return a.act(ctx, s.actions[i], i)
	}
	if err := a.rest(ctx, d); err != nil {
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

// save keeps an artifact of the job.
func (a *attempt) save(ctx context.Context, name, contentType string, size int64, r io.Reader) (Artifact, error) {
	saved, err := a.p.svc.SaveArtifact(ctx, a.l.Lease, name, contentType, size, r, nil)
	var conflict *ConflictError
	var invalid *InvalidError
	var limit *LimitError
	switch {
	case err == nil:
		a.mu.Lock()
		a.cursor, a.left[name] = saved.Receipt.LastEventID, saved.Artifact.Artifact
		a.mu.Unlock()
	case errors.As(err, &conflict) || errors.As(err, &invalid) || errors.Is(err, ErrTooLarge):
		err = &ActionError{Class: ClassArtifact, Message: err.Error(), Err: err}
	case errors.As(err, &limit) && limit.What == LimitArtifacts:
		err = &ActionError{Class: ClassArtifactLimit, Message: limit.Error(), Err: err}
	case errors.Is(err, ErrStorageFull):
		err = &ActionError{Class: ClassStorageFull, Message: "the server's storage is full; nothing was saved", Retryable: true, Err: err}
	}
	return saved.Artifact.Artifact, err
}

// announce commits the progress event that precedes action i of n (1, 2, …).
func (a *attempt) announce(ctx context.Context, i, n int, kind string) error {
	message := fmt.Sprintf("Executing action %d of %d: %s", i, n, kind)
	body := Progressed(math.Round(100*float64(i)/float64(n)), message, kind)
	unsure := false
	return insist(ctx, func() error {
		// An append whose fate is unknown must not be repeated blindly, or the
		// event might stand in the log twice. Only this attempt can append to
		// the job, so a newer event with this message is the one.
		if unsure {
			j, err := a.p.svc.store.Brief(ctx, a.l.Lease.Client, a.l.Lease.JobID)
			if err != nil {
				return err
			}
			if j.Message != nil && *j.Message == message && a.advance(j.Cursor) {
				return nil
			}
		}
		receipt, err := a.p.svc.store.Append(ctx, a.l.Lease, []Body{body})
		if err != nil { // what is refused renews nothing, and nobody else renews the lease of a parked attempt
			_, _ = a.p.svc.store.Extend(ctx, a.l.Lease) // whether it is lost, the next command hears too
		}
		var limit *LimitError
		if errors.As(err, &limit) { // the job goes on: its end makes room, its progress does not
			a.log.Debug("an event was left out", "error", err)
			return nil
		}
		if err == nil {
			a.advance(receipt.LastEventID)
		}
		unsure = unsure || (err != nil && !errors.Is(err, ErrStorageFull))
		return err
	})
}

// advance notes the job's newest event and reports whether it is a new one.
func (a *attempt) advance(cursor string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	moved := a.cursor != cursor
	a.cursor = cursor
	return moved
}

// act runs one action, and abandons it if it goes on for unwindTime after ctx
// has ended. What an abandoned action returns is dropped, and what it saves is
// refused, because the lease has ended.
func (a *attempt) act(ctx context.Context, raw json.RawMessage, i int) (actionResult, error) {
	done := make(chan acted, 1)
	go func() { done <- a.carryOut(ctx, raw, i) }()
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
	a.log.Error("an action did not end with its attempt and was abandoned", "action", i, "after", unwindTime)
	return actionResult{}, context.Cause(ctx)
}

// acted is how an action ended.
type acted struct {
	result actionResult
	err    error
}

// carryOut runs one action. A panic in it, or in encoding its result, is a
// failure whose details only the log learns.
func (a *attempt) carryOut(ctx context.Context, raw json.RawMessage, i int) (o acted) {
	defer func() {
		if v := recover(); v != nil {
			a.log.Error("an action panicked", "action", i, "panic", v, "stack", string(debug.Stack()))
			o.err = &ActionError{Class: ClassInternal, Message: "the action broke down", Retryable: true}
		}
	}()
	env := Env{Client: a.l.Job.ClientID, JobID: a.l.Job.ID, Attempt: a.l.Job.Attempt, Index: i, Save: a.save}
	if o.result.value, o.err = a.p.runner.Run(ctx, raw, env); o.err == nil {
		o.result.encoded, o.err = encode(o.result.value)
	}
	return o
}

// finish commits how the attempt ended. cause says why its context ended, nil
// if it did not. A cancellation and a lost lease leave nothing to commit. A
// result that was ready in time counts, whatever happened after.
func (a *attempt) finish(cause error, result json.RawMessage, err error) {
	var known *ActionError // what an action says of itself is no refusal of the attempt
	switch {
	case errors.Is(cause, errCancelled) || (cause != nil && refused(cause)):
		a.log.Debug("a running job was stopped", "cause", cause)
	case err == nil:
		a.complete(result)
	case refused(err) && !errors.As(err, &known):
		a.log.Debug("a running job was stopped", "cause", err)
	case errors.Is(cause, errInterrupted):
		_ = a.settle("hand back", func() error { return a.p.svc.Release(a.p.store, a.l) }) // settle has logged and counted it
	case errors.Is(cause, errTimeout):
		a.fail(TimedOut(a.l.Job.TimeoutMs))
	default:
		a.fail(a.failure(err))
	}
}

func (a *attempt) complete(result json.RawMessage) {
	err := a.settle("complete", func() error {
		_, err := a.p.svc.store.Complete(a.p.store, a.l.Lease, result)
		return err
	})
	var invalid *InvalidError
	if errors.As(err, &invalid) { // else it would be tried for ever
		a.fail(Failure{Class: ClassInternal, Message: "the result could not be stored"})
	}
}

// fail ends the attempt; another follows after f.Backoff, or else an ordinary one, if f
// allows it.
func (a *attempt) fail(f Failure) {
	if f.Backoff == (Backoff{}) {
		f.Backoff = NewBackoff(0)
	}
	_ = a.settle("fail", func() error { // settle has logged it
		_, err := a.p.svc.fail(a.p.store, a.l.Lease, f)
		return err
	})
}

// settle commits the end of an attempt, however long the store takes to accept
// it, and returns its refusal. It counts the ends that the processor's own end left
// without one, except invalid ones, which another call follows.
func (a *attempt) settle(what string, command func() error) error {
	err := insist(a.p.store, command)
	var invalid *InvalidError
	switch {
	case err == nil:
	case errors.Is(err, ErrLeaseLost):
		a.log.Debug("a job was taken away before its end was stored", "operation", what)
	default:
		a.log.Error("the end of an attempt was not stored", "operation", what, "error", err)
		if a.p.work.Err() != nil && !errors.As(err, &invalid) {
			a.p.unsettled.Add(1)
		}
	}
	return err
}

// failure says what a client learns of err.
func (a *attempt) failure(err error) Failure {
	var known *ActionError
	if !errors.As(err, &known) {
		a.log.Error("an action failed", "error", err)
		return Failure{Class: ClassInternal, Message: "the action could not be run", Retry: true}
	}
	a.log.Debug("an action failed", "class", known.Class, "error", known.Err)
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
