package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Limits on what workers may ask for and report.
const (
	MaxClaim        = 100 // jobs at once: what one answer carries
	MaxClaimQueues  = 100 // names in one claim: what one look-up costs
	MaxClaimWait    = 60 * time.Second
	MinLease        = 5 * time.Second
	MaxLease        = 600 * time.Second
	MaxReports      = 1000 // events in one transaction
	MaxStepBytes    = 128
	MaxLogLineBytes = 8 << 10
)

// ClaimRequest is a worker's wish for jobs of its own client.
type ClaimRequest struct {
	Queues []string      // 1..100 names
	Max    int           // 1..100; 0: 1
	Wait   time.Duration // how long to wait for the first job; 0..60 s
	Lease  time.Duration // 5 s..600 s; 0: the server's setting
}

// Claim leases jobs to a worker of client. If there are none it waits, and
// returns none when the time is over, or once StopClaims was called. When ctx
// ends before it returns, whatever was claimed is handed back.
func (s *Service) Claim(ctx context.Context, client string, r ClaimRequest) ([]Leased, error) {
	c, err := s.workerClaim(client, r)
	if err != nil {
		return nil, err
	}
	sources := make([]source, len(r.Queues))
	for i, q := range r.Queues {
		sources[i] = source{client, q}
	}
	wake, stop := s.bell.listen(sources...)
	defer stop()
	over := time.NewTimer(r.Wait)
	defer over.Stop()
	for {
		select {
		case <-s.stopped:
			return nil, nil
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

func (s *Service) workerClaim(client string, r ClaimRequest) (Claim, error) {
	var f faults
	if len(r.Queues) == 0 || len(r.Queues) > MaxClaimQueues {
		f.addf("/queues", "must have 1 to %d names", MaxClaimQueues)
	}
	for i, q := range r.Queues {
		if !ValidQueue(q) {
			f.add("/queues/"+strconv.Itoa(i), "is not the name of a queue")
		}
	}
	c := Claim{Client: client, Queues: r.Queues, Max: r.Max, TTL: r.Lease}
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

// LogLine is one line that a job wrote.
type LogLine struct {
	Level string `json:"level"` // debug, info, warn or error; empty: info
	Line  string `json:"line"`  // at most 8 KiB
}

// Report is one item of what a worker reports: progress, a line, or both.
type Report struct {
	Progress *float64 // 0..100; nil: only a line
	Message  string   // at most 1 KiB; only with progress
	Step     string   // at most 128 bytes; only with progress
	Log      *LogLine
}

// Progress commits 1..1000 reports of a running job, all or none, and renews
// its lease. A report with progress and a line becomes two events, the line
// first.
func (s *Service) Progress(ctx context.Context, l Lease, reports []Report) (Receipt, error) {
	var f faults
	if len(reports) == 0 || len(reports) > MaxReports {
		f.addf("", "must have 1 to %d items", MaxReports)
		return Receipt{}, f.err()
	}
	bodies := make([]Body, 0, len(reports))
	for i, r := range reports {
		at := ""
		if len(reports) > 1 {
			at = "/" + strconv.Itoa(i)
		}
		bodies = f.report(bodies, r, at)
	}
	if err := f.err(); err != nil {
		return Receipt{}, err
	}
	return s.store.Append(ctx, l, bodies)
}

// Log commits 1..1000 lines of a running job, all or none, and renews its lease.
func (s *Service) Log(ctx context.Context, l Lease, lines []LogLine) (Receipt, error) {
	reports := make([]Report, len(lines))
	for i := range lines {
		reports[i].Log = &lines[i]
	}
	return s.Progress(ctx, l, reports)
}

func (f *faults) report(bodies []Body, r Report, at string) []Body {
	if r.Log != nil {
		level := r.Log.Level
		switch level {
		case "debug", "info", "warn", "error":
		case "":
			level = "info"
		default:
			f.add(at+"/log/level", "must be debug, info, warn or error")
		}
		f.text(at+"/log/line", r.Log.Line, MaxLogLineBytes)
		bodies = append(bodies, Logged(level, r.Log.Line))
	}
	if r.Progress == nil {
		if r.Log == nil || r.Message != "" || r.Step != "" {
			f.add(at+"/progress", "is required")
		}
		return bodies
	}
	if p := *r.Progress; math.IsNaN(p) || p < 0 || p > 100 {
		f.add(at+"/progress", "must be between 0 and 100")
		return bodies
	}
	f.text(at+"/message", r.Message, MaxMessageBytes)
	f.text(at+"/step", r.Step, MaxStepBytes)
	return append(bodies, Progressed(*r.Progress, r.Message, r.Step))
}

func (f *faults) text(at, s string, limit int) {
	if len(s) > limit {
		f.addf(at, "must not be longer than %d bytes", limit)
	} else if !utf8.ValidString(s) {
		f.add(at, "must be UTF-8")
	}
}

// Extend renews a lease and commits no event.
func (s *Service) Extend(ctx context.Context, l Lease) (Receipt, error) {
	return s.store.Extend(ctx, l)
}

// Complete ends a job with success. result is a JSON object, or empty for {};
// with its event around it it must not exceed MaxEventBytes.
func (s *Service) Complete(ctx context.Context, l Lease, result json.RawMessage) (Job, error) {
	if len(result) == 0 {
		result = json.RawMessage("{}")
	}
	if err := CheckJSON(result, MaxJSONDepth); err != nil {
		return Job{}, err
	}
	result = compact(result)
	var f faults
	if result[0] != '{' {
		f.add("/result", "must be an object")
	} else if len(result) > maxActionsResult {
		f.addf("/result", "must not be larger than %d bytes; leave more as an artifact", maxActionsResult)
	}
	if err := f.err(); err != nil {
		return Job{}, err
	}
	return s.store.Complete(ctx, l, result)
}

// Fail ends an attempt without success. An empty class is ClassWorker. With
// retry the job is tried again after Backoff while attempts are left.
func (s *Service) Fail(ctx context.Context, l Lease, class, message string, retry bool) (Job, error) {
	if class == "" {
		class = ClassWorker
	}
	var f faults
	f.text("/error", class, MaxErrorClassBytes)
	f.text("/errorMessage", message, MaxErrorMessageBytes)
	if err := f.err(); err != nil {
		return Job{}, err
	}
	return s.fail(ctx, l, Failure{Class: class, Message: message, Retry: retry, Delay: Backoff})
}

// fail ends an attempt and sees to it that the next one begins on time.
func (s *Service) fail(ctx context.Context, l Lease, f Failure) (Job, error) {
	j, err := s.store.Fail(ctx, l, f)
	var conflict *ConflictError
	switch {
	case err == nil:
		s.announce(j)
	case !errors.As(err, &conflict):
		s.due.at(time.Now()) // it may have been committed
	}
	return j, err
}
