package jobs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Leases hand jobs to those who run them, and take what they report. See Store for what
// all methods promise.
type Leases interface {
	// Claim leases up to c.Max due jobs, whole, and commits their job.started. For
	// one client, no more than MaxPageBytes of them, but one at least; the rest
	// stays pending.
	// Jobs of one queue start by priority (higher first), then age. Between
	// clients it takes turns, one job at a time, and passes over those that have
	// their share: see Claim.Client and Claim.Share. While even the part of the
	// storage that is reserved for ends is taken, it leases none.
	Claim(ctx context.Context, c Claim) ([]Leased, error)

	// Append commits events of a running job (progress, log, artifact), all or
	// none, and renews the lease. *LimitError if the storage is full.
	Append(ctx context.Context, l Lease, bodies []Body) (Receipt, error)

	// Extend renews the lease and commits nothing.
	Extend(ctx context.Context, l Lease) (Receipt, error)

	// Complete commits job.completed with result (a JSON object) and the job's
	// artifacts; *InvalidError if they do not fit in one event together.
	// The same call again with the same lease returns the job.
	Complete(ctx context.Context, l Lease, result json.RawMessage) (Job, error)

	// Fail ends the attempt without success. If f.Retry and attempts are left
	// it commits job.retrying, due after f.Backoff.After(attempt); else job.failed.
	// The same call again with the same lease returns the job.
	Fail(ctx context.Context, l Lease, f Failure) (Job, error)

	// Release hands a job back at once with job.retrying (Interrupted); the
	// attempt is not counted.
	Release(ctx context.Context, l Lease) error

	// Settle carries out steps in their order, each as Append, Complete, Fail or Release
	// would, and then the claim next, which may be nil, all in one commit. Each step is
	// answered for itself: one that is refused leaves no trace, not even its events, and
	// does not disturb the others. A step whose attempt has ended so before is answered
	// with the job, and its events are not written again. err means that nothing was
	// carried out, or that this is not known.
	Settle(ctx context.Context, steps []Step, next *Claim) (answers []Settled, claimed []Leased, err error)
}

// Limits on what workers may report.
const (
	MaxReports      = 1000 // events in one transaction
	MaxStepBytes    = 128
	MaxLogLineBytes = 8 << 10
)

// LogLevels are the levels of lines, the least first.
var LogLevels = []string{"debug", "info", "warn", "error"}

// LogLine is one line that a job wrote.
type LogLine struct {
	Level string `json:"level"` // debug, info, warn or error; empty: info
	Line  string `json:"line"`  // at most 8 KiB
}

// Report is one item of what a worker reports: progress, a line, or both.
type Report struct {
	Progress *float64 `json:"progress"` // 0..100; nil: only a line
	Message  string   `json:"message"`  // at most 1 KiB; only with progress
	Step     string   `json:"step"`     // at most 128 bytes; only with progress
	Log      *LogLine `json:"log"`
}

// ParseReports reads the body of a progress call: one report, or an array of
// 1..1000. It returns *MalformedError, or *InvalidError with every fault.
func ParseReports(body []byte) ([]Report, error) {
	reports, err := DecodeOneOrMany[Report](body, MaxReports)
	if err != nil {
		return nil, err
	}
	var f faults
	f.reports(reports, bytes.TrimSpace(body)[0] == '[')
	return reports, f.err()
}

// Progress commits 1..1000 reports of a running job, all or none, and renews
// its lease. A report with progress and a line becomes two events, the line
// first. The pointers of an *InvalidError begin with the report's index if there
// are several.
func (s *Service) Progress(ctx context.Context, l Lease, reports []Report) (Renewed, error) {
	var f faults
	if len(reports) == 0 || len(reports) > MaxReports {
		f.addf("", "must have 1 to %d items", MaxReports)
		return Renewed{}, f.err()
	}
	f.reports(reports, len(reports) > 1)
	if err := f.err(); err != nil {
		return Renewed{}, err
	}
	bodies := make([]Body, 0, len(reports))
	for _, r := range reports {
		if r.Log != nil {
			bodies = append(bodies, Logged(cmp.Or(r.Log.Level, "info"), r.Log.Line))
		}
		if r.Progress != nil {
			bodies = append(bodies, Progressed(*r.Progress, r.Message, r.Step))
		}
	}
	size := 0
	for _, b := range bodies {
		size += len(b.Data)
	}
	weight := weigh(len(bodies), size)
	if err := s.throttle.enter(ctx, l.Client, weight); err != nil {
		return Renewed{}, err
	}
	defer s.throttle.leave(l.Client, weight)
	return renewed(func() (Receipt, error) { return s.store.Append(ctx, l, bodies) })
}

// Log commits 1..1000 lines of a running job, all or none, and renews its lease.
func (s *Service) Log(ctx context.Context, l Lease, lines []LogLine) (Renewed, error) {
	reports := make([]Report, len(lines))
	for i := range lines {
		reports[i].Log = &lines[i]
	}
	return s.Progress(ctx, l, reports)
}

// reports checks each report; many: they came as an array.
func (f *faults) reports(reports []Report, many bool) {
	for i, r := range reports {
		at := ""
		if many {
			at = "/" + strconv.Itoa(i)
		}
		f.report(r, at)
	}
}

func (f *faults) report(r Report, at string) {
	if r.Log != nil {
		if r.Log.Level != "" && !slices.Contains(LogLevels, r.Log.Level) {
			f.add(at+"/log/level", "must be debug, info, warn or error")
		}
		f.text(at+"/log/line", r.Log.Line, MaxLogLineBytes)
	}
	if r.Progress == nil {
		if r.Log == nil || r.Message != "" || r.Step != "" {
			f.add(at+"/progress", "is required")
		}
		return
	}
	if p := *r.Progress; math.IsNaN(p) || p < 0 || p > 100 {
		f.add(at+"/progress", "must be between 0 and 100")
	}
	f.text(at+"/message", r.Message, MaxMessageBytes)
	f.text(at+"/step", r.Step, MaxStepBytes)
}

func (f *faults) text(at, s string, limit int) {
	if len(s) > limit {
		f.addf(at, "must not be longer than %d bytes", limit)
	} else if !utf8.ValidString(s) {
		f.add(at, "must be UTF-8")
	}
}

// Extend renews a lease and commits no event.
func (s *Service) Extend(ctx context.Context, l Lease) (Renewed, error) {
	return renewed(func() (Receipt, error) { return s.store.Extend(ctx, l) })
}

// Renewed tells a holder how long it can rely on its lease.
type Renewed struct {
	LastEventID string    // as in Receipt
	ExpiresAt   time.Time // when the lease runs out unless it is renewed, or before: the store may hold it a little longer, never less
}

// renewed runs a command that renews a lease.
func renewed(command func() (Receipt, error)) (Renewed, error) {
	sent := time.Now()
	r, err := command()
	if err != nil {
		return Renewed{}, err
	}
	return Renewed{LastEventID: r.LastEventID, ExpiresAt: sent.Add(r.Lasts)}, nil
}

// failed lets a job be found whose attempt ended without success, with err.
func (s *Service) failed(j Job, err error) {
	var conflict *ConflictError
	switch {
	case err == nil:
		s.announce(j)
	case !errors.As(err, &conflict):
		s.due.within(0) // it may have been committed
	}
}
