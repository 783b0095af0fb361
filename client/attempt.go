package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Attempt is one run of a job by a [Worker]: what its handler gets. It keeps the
// lease of the job while the handler runs. Its methods may be used by several
// goroutines, until the handler returns.
type Attempt struct {
	Job *Job // as it was claimed; Job.Attempt is the number of this attempt, from 1

	c         *Client
	worker    *workerRun // nil: no worker runs this
	id, token string
	timeout   time.Duration
	ttl       time.Duration
	log       *slog.Logger
	ctx       context.Context // the handler's
	cancel    context.CancelCauseFunc

	reports chan report   // sent by the handler, received by keep; never closed; nil: no worker runs this
	over    chan struct{} // closed by finish
	keeping sync.WaitGroup

	confirmed time.Time // the lease is at least this young; of keep
	next      *claimed  // the job that was claimed with the end; nil: none was
}

// Progress reports how far the attempt is: percent from 0 to 100, and what it
// does, cut at 1 KiB. It does not wait for the server. The error says why there
// is nobody to report to: the cause of the end of the handler's context, or that
// no worker runs this attempt.
func (a *Attempt) Progress(percent float64, message string) error {
	if !(percent >= 0) { // also NaN
		percent = 0
	}
	percent = min(percent, 100)
	return a.say(report{Progress: &percent, Message: clip(message, maxMessageBytes)})
}

// Log reports a line, cut at 8 KiB, as [Attempt.Progress] does.
func (a *Attempt) Log(line string) error {
	return a.say(report{Log: &LogLine{Level: "info", Line: clip(line, maxLineBytes)}})
}

const (
	maxReports     = 1000      // in one request, as the server allows
	maxReportBytes = 128 << 10 // of one request, well below the server's --max-body
)

// report is one thing that a handler says while it runs.
type report struct {
	Progress *float64 `json:"progress,omitempty"`
	Message  string   `json:"message,omitempty"`
	Log      *LogLine `json:"log,omitempty"`
}

// Why there is nobody to report to.
var (
	errNotRun   = errors.New("this attempt is not run by a worker")
	errReturned = errors.New("the handler has returned")
)

func newAttempt(ctx context.Context, cancel context.CancelCauseFunc, s *workerRun, c *claimed, log *slog.Logger) *Attempt {
	a := &Attempt{
		Job: c.Job, c: s.Client, worker: s, id: c.Job.ID, token: c.Lease.Token, timeout: c.Job.Timeout, ttl: s.Lease, log: log,
		ctx: ctx, cancel: cancel, confirmed: c.at,
		reports: make(chan report, maxReports), over: make(chan struct{}),
	}
	a.keeping.Go(a.keep)
	return a
}

func (a *Attempt) lease() http.Header { return http.Header{"X-Lease-Token": {a.token}} }

// finish sends what is still to be reported and ends the keeping of the lease.
func (a *Attempt) finish() {
	close(a.over)
	a.keeping.Wait()
}

// keep sends reports and renews the lease until finish, or until the lease is
// lost: then it ends the handler's context.
func (a *Attempt) keep() {
	renew := time.NewTimer(time.Until(a.confirmed.Add(a.ttl / 3)))
	defer renew.Stop()
	for ending := false; ; {
		var first []report
		if !ending {
			select {
			case one := <-a.reports:
				first = append(first, one)
			case <-renew.C:
			case <-a.over:
				ending = true
			}
		}
		body := a.batch(first)
		if ending && body == nil {
			return
		}
		if err := a.renew(body); err != nil {
			a.cancel(err)
			return
		}
		renew.Reset(a.ttl / 3)
	}
}

// batch encodes first and what is waiting behind it; nil if there is nothing.
func (a *Attempt) batch(first []report) []byte {
	var out bytes.Buffer
	add := func(one report) {
		if out.Len() == 0 {
			out.WriteByte('[')
		} else {
			out.WriteByte(',')
		}
		text, _ := json.Marshal(one) // strings and a finite number always encode
		out.Write(text)
	}
	n := 0
	for _, one := range first {
		add(one)
		n++
	}
	for n < maxReports && out.Len() < maxReportBytes {
		select {
		case one := <-a.reports:
			add(one)
			n++
			continue
		default:
		}
		break
	}
	if n == 0 {
		return nil
	}
	out.WriteByte(']')
	return out.Bytes()
}

// renew sends a batch of reports, or without one only renews the lease. The
// error says that the lease is lost: taken away, or not confirmed in its time.
func (a *Attempt) renew(body []byte) error {
	verb := "progress"
	if body == nil {
		verb, body = "extend", []byte("{}")
	}
	began := time.Now()
	left := a.ttl - time.Since(a.confirmed)
	if left <= 0 {
		left = time.Millisecond // one last try
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), left+time.Second)
	defer cancel()
	_, err := a.c.do(ctx, call{
		method: http.MethodPost, path: jobPath(a.id) + "/" + verb, body: body,
		header: a.lease(), giveUp: left, timeout: max(a.ttl/3, time.Second),
	}, nil)
	var p *Problem
	switch {
	case err == nil:
		a.confirmed = began
		return nil
	case !errors.As(err, &p) || passing(err):
		return fmt.Errorf("%w: not confirmed for %s: %w", ErrLeaseLost, a.ttl, err)
	case p.Code == string(ErrLeaseLost) && p.JobStatus == Cancelled:
		return ErrJobCancelled
	case verb == "progress" && p.Status != http.StatusNotFound && p.Code != string(ErrLeaseLost):
		a.log.Warn("a report was refused", "error", err)
		return a.renew(nil)
	case p.Code == string(ErrLeaseLost):
		return err
	}
	return fmt.Errorf("%w: %w", ErrLeaseLost, err)
}

// say queues a report. It waits while a thousand others do.
func (a *Attempt) say(one report) error {
	if a.reports == nil {
		return errNotRun
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	select {
	case <-a.over:
		return errReturned
	default:
	}
	select {
	case a.reports <- one:
		return nil
	case <-a.over:
		return errReturned
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}
