package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/jobcast/jobcast/jobs"
)

// How much testLinear does: each history is checked on its own, and the cost of
// a check grows steeply with the calls that overlap.
const (
	linearHistories = 25
	linearWorkers   = 5
	linearCalls     = 12 // of each worker
)

// leaseCall is one call about the only job of a history.
type leaseCall struct {
	op    string // claim, progress, complete, retry (fail and claim again), unclaim, expire
	token string // of what a holder says
}

// leaseAnswer is what it came to.
type leaseAnswer struct {
	token string // of what claims; empty: it got nothing
	ok    bool   // of the others: it took effect
}

// leaseState is where the job stands.
type leaseState struct {
	status jobs.Status
	token  string // of the open lease, or of the one that completed the job
	got    bool   // the open lease was renewed
	last   string // the lease that ended with a retry, the newest of them
	next   string // and the one that was claimed then
}

// leaseModel says what one caller after another would see.
var leaseModel = porcupine.Model{
	Init: func() any { return leaseState{status: jobs.Pending} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(leaseState), input.(leaseCall), output.(leaseAnswer)
		held := s.status == jobs.Processing && s.token == in.token
		switch in.op {
		case "claim":
			if s.status != jobs.Pending {
				return out.token == "", s
			}
			s.status, s.token, s.got = jobs.Processing, out.token, false
			return out.token != "", s
		case "progress":
			s.got = s.got || held
			return out.ok == held, s
		case "complete":
			if held {
				s.status = jobs.Completed
				return out.ok, s
			}
			return out.ok == (s.status == jobs.Completed && s.token == in.token), s
		case "retry":
			return retried(s, in, out, held)
		case "unclaim":
			if held && !s.got {
				s.status, s.token = jobs.Pending, ""
				return out.ok, s
			}
			return !out.ok, s
		default: // expire: nobody says whether the time is over, but a lease that ended was open
			if out.ok {
				was := s.status
				s.status, s.token = jobs.Pending, ""
				return was == jobs.Processing, s
			}
			return true, s
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// retried is a step of leaseModel: an attempt fails and the next one is claimed, or that is
// said again.
func retried(s leaseState, in leaseCall, out leaseAnswer, held bool) (bool, any) {
	switch {
	case held:
		s.token, s.got, s.last, s.next = out.token, false, in.token, out.token
		return out.ok && out.token != "", s
	case s.status == jobs.Completed || in.token == "" || s.last != in.token:
		return !out.ok && out.token == "", s
	case s.status == jobs.Processing && s.token == s.next:
		s.got = true
		return out.ok && out.token == s.next, s
	}
	return out.ok && out.token == "", s
}

// testLinear: whatever workers claim, report, complete and lose at the same
// time, there is an order of their calls, each between its start and its
// answer, that one caller after another would have seen.
func testLinear(w *world) { linear(w, w.store) }

// linear is testLinear with workers that ask stores.
func linear(w *world, stores ...Store) {
	for i := range linearHistories {
		client := fmt.Sprintf("h%d", i)
		spec := queued()
		spec.MaxAttempts = 1000
		j := w.submit(client, spec)
		history := w.race(client, j.ID, stores)
		if result, _ := porcupine.CheckOperationsVerbose(leaseModel, history, 10*time.Second); result != porcupine.Ok {
			for _, op := range history {
				w.Logf("%d..%d worker %d: %s", op.Call, op.Return, op.ClientId, leaseModel.DescribeOperation(op.Input, op.Output))
			}
			w.Fatalf("history %d: %s", i, result)
		}
		_, err := w.store.Cancel(w.Context(), client, j.ID) // no open lease is left to the next history
		var conflict *jobs.ConflictError
		if err != nil && !errors.As(err, &conflict) {
			w.Fatal(err)
		}
	}
}

// race lets workers call about one job at the same time.
func (w *world) race(client, job string, stores []Store) []porcupine.Operation {
	var mu sync.Mutex // guards tokens and history
	var tokens []string
	var history []porcupine.Operation
	start := time.Now()
	var workers sync.WaitGroup
	for id := range linearWorkers {
		workers.Go(func() {
			for range linearCalls {
				call := leaseCall{op: []string{"claim", "progress", "complete", "expire", "retry", "claim", "retry", "unclaim"}[rand.IntN(8)]}
				mu.Lock()
				if n := len(tokens); n > 0 {
					call.token = tokens[rand.IntN(n)]
				}
				mu.Unlock()
				if call.op == "complete" && rand.IntN(4) > 0 {
					call.op = "progress" // so that the job does not end at once
				}
				begun := time.Since(start)
				answer, err := w.leaseCall(stores[id%len(stores)], client, job, call)
				ended := time.Since(start)
				if err != nil {
					w.Errorf("%s: %v", call.op, err)
					return
				}
				mu.Lock()
				if answer.token != "" {
					tokens = append(tokens, answer.token)
				}
				history = append(history, porcupine.Operation{
					ClientId: id, Input: call, Call: begun.Nanoseconds(), Output: answer, Return: ended.Nanoseconds(),
				})
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return history
}

func (w *world) leaseCall(s Store, client, job string, c leaseCall) (leaseAnswer, error) {
	l := jobs.Lease{Client: client, JobID: job, Token: c.token}
	next := jobs.Claim{Client: client, Queues: []string{"q"}, Max: 1, TTL: time.Hour}
	if rand.IntN(2) == 0 {
		next.TTL = time.Millisecond // soon to be lost
	}
	var claimed []jobs.Leased
	var err error
	switch c.op {
	case "claim":
		claimed, err = s.Claim(w.Context(), next)
	case "progress":
		_, err = s.Append(w.Context(), l, []jobs.Body{jobs.Progressed(1, "", "")})
	case "complete":
		_, err = s.Complete(w.Context(), l, nil)
	case "retry":
		next.After = l
		claimed, err = settled(s.Settle(w.Context(), []jobs.Step{fails(l)}, &next))
	case "unclaim":
		_, err = settled(s.Settle(w.Context(), []jobs.Step{{Lease: l, Outcome: jobs.AttemptUnclaimed}}, nil))
	default:
		n, _, err := swept(s.ExpireLeases(w.Context(), 1))
		return leaseAnswer{ok: n == 1}, err
	}
	if errors.Is(err, jobs.ErrLeaseLost) {
		return leaseAnswer{}, nil
	}
	answer := leaseAnswer{ok: err == nil}
	if len(claimed) > 0 {
		answer.token = claimed[0].Lease.Token
	}
	return answer, err
}

// settled unpacks what a settlement of one step came to.
func settled(answers []jobs.Settled, claimed []jobs.Leased, err error) ([]jobs.Leased, error) {
	if err != nil {
		return nil, err
	}
	return claimed, answers[0].Err
}
