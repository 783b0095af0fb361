package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/eventlog"
)

// Store keeps jobs and logs. Each method that changes something is one command:
// it takes effect whole or not at all, is durable (survives a power cut) before
// it returns nil, and its events are published, in log order, right before it
// returns. A command begins with one conditional statement, so of two racing
// commands the first to commit wins and the other is refused.
//
// Every method that names a job also names its owner: another client's job is
// ErrNotFound, exactly like one that does not exist.
//
// ErrUnavailable means the fate of the commit is unknown. All methods are safe
// for concurrent use. The context only bounds the waiting of the caller: a
// command that was queued may still be committed after ctx has ended.
type Store interface {
	// Submit inserts a job and its job.created. With an idempotency key that
	// this client used before, nothing is inserted: the same hash returns the
	// first job as it is now and replayed = true, another hash
	// ErrIdempotencyMismatch. id is a UUIDv7 chosen by the caller. *LimitError if
	// the client has as many jobs as it may, or the storage is full.
	Submit(ctx context.Context, client, id string, s Spec, idem Idempotency) (j Job, replayed bool, err error)

	// Retry submits a copy of a failed or cancelled job under a new id, with
	// RetryOf set; *ConflictError if the job is in another state, *LimitError as
	// for Submit.
	Retry(ctx context.Context, client, of, id string, idem Idempotency) (j Job, replayed bool, err error)

	// Get returns one job, whole. All other methods but Submit, List and Claim return jobs
	// as Brief does, and so does ConflictError.
	Get(ctx context.Context, client, id string) (Job, error)

	// Brief returns one job without what Job.Abridge leaves out, and without
	// reading that.
	Brief(ctx context.Context, client, id string) (Job, error)

	// List returns whole jobs, newest first. It reads no more than the page and
	// one job.
	List(ctx context.Context, client string, q ListQuery) (JobPage, error)

	// Cancel commits job.cancelled. A job already cancelled is returned as it
	// is; one otherwise terminal gives *ConflictError.
	Cancel(ctx context.Context, client, id string) (Job, error)

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

	// HoldArtifact renews the lease and keeps room for an artifact that is on its
	// way, between h.Least and h.Most bytes; *LimitError if there is less. Of the
	// client's bound it takes what the artifact has beyond one of the same name.
	// With an ID that is held already it changes how much. Holds are kept in
	// memory alone: a restart drops them.
	HoldArtifact(ctx context.Context, l Lease, h Hold) (held int64, r Receipt, err error)

	// DropHold gives the room of a hold back; one that is gone already is no error.
	DropHold(ctx context.Context, id string) error

	// AddArtifact commits job.artifact of a running job, renews the lease and ends
	// the hold a.Hold, if there is one. An artifact of the same name is replaced:
	// its file becomes garbage, and the receipt names it. *ConflictError if the
	// job has MaxArtifacts others, *LimitError if there is no room, ErrArtifactChanged
	// if only, unless nil, names another one than there is.
	AddArtifact(ctx context.Context, l Lease, a StoredArtifact, only *Replaced) (Receipt, error)

	// Artifact returns one artifact of a job. ErrNoArtifact if the job has none
	// of this name.
	Artifact(ctx context.Context, client, jobID, name string) (StoredArtifact, error)

	// Garbage returns files of artifacts that were replaced or pruned, in order of
	// their names those after one, at most limit, until ForgetGarbage says that they
	// are deleted. Their bytes count as the storage's as long.
	Garbage(ctx context.Context, after string, limit int) (files []string, err error)
	ForgetGarbage(ctx context.Context, files []string) error

	// KnownFiles returns those of files that belong to an artifact.
	KnownFiles(ctx context.Context, files []string) ([]string, error)

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

	// ExpireLeases ends every lease whose time is over, as Fail with
	// ClassLeaseExpired would, at most limit of them, and as Fail with TimedOut
	// would those whose attempt has run longer than the job's timeout, unless
	// the holder is this process, which keeps that time itself. Next is when
	// the next open lease runs out.
	ExpireLeases(ctx context.Context, limit int) (Swept, error)

	// PromoteDue makes jobs whose runAt or nextAttemptAt has come claimable, at
	// most limit. Next is when the next one is due.
	PromoteDue(ctx context.Context, limit int) (Swept, error)

	// Prune deletes jobs whose terminal event is older than before, with their
	// events, at most 200 event rows a transaction, and raises each log's
	// pruned mark in the same transaction. The files of their artifacts become
	// garbage. It returns how many jobs went and whether more are waiting.
	Prune(ctx context.Context, before time.Time) (n int, more bool, err error)

	// ExpireJobs ends pending jobs that nobody has begun by their expiresAt, as
	// failed with ClassExpired, at most limit of them, going round among clients.
	// Next is when the next one expires.
	ExpireJobs(ctx context.Context, limit int) (Swept, error)

	// Counts returns the number of jobs by state, for metrics.
	Counts(ctx context.Context) (map[Status]int64, error)

	// Usage returns what a client fills; nothing if there is no such client.
	Usage(ctx context.Context, client string) (Usage, error)

	// Filled returns what all clients fill, for metrics.
	Filled(ctx context.Context) (Filled, error)

	// Reading the log.
	eventlog.Reader
}

// ListQuery selects jobs of one client.
type ListQuery struct {
	Status   Status // empty: all
	Limit    int    // 1..200
	MaxBytes int    // of the page's jobs as Job.Size counts them, but at least one job; 0: MaxPageBytes
	After    string // id of the last job of the page before, or empty
}

// JobPage is one page of a list. Next is nil on the last page.
type JobPage struct {
	Jobs []Job   `json:"jobs"`
	Next *string `json:"next"`
}

// Claim asks for work.
type Claim struct {
	Client string        // only this client's jobs; empty: all clients, in turn (the built-in processor)
	Queues []string      // names; nil: jobs with actions
	Max    int           // 1..100
	TTL    time.Duration // how long a lease lives without a renewal
	Local  bool          // the holder is this process: after a restart the lease ends at once

	// Of a claim for all clients: how many of the holder's places one client may
	// take, 0 for any number, and how many each has already, by its name.
	Share int
	Held  map[string]int
}

// Swept is what a sweep has done.
type Swept struct {
	N     int       // how many jobs it changed
	Next  time.Time // when there is something to sweep again; zero: nothing is known to be due
	Ready []Source  // where jobs became claimable by it, each once
}

// Lease is a holder's proof.
type Lease struct {
	Client string // owner of the job
	JobID  string
	Token  string
}

// Leased is a claimed job.
type Leased struct {
	Job       Job
	Lease     Lease
	ExpiresAt time.Time
}

// Receipt acknowledges a commit under a lease.
type Receipt struct {
	LastEventID string    // cursor of the newest event written, or of the job's newest event
	ExpiresAt   time.Time // the lease's new end: a TTL from now, or the end of the attempt's time
	Replaced    string    // AddArtifact: the file of the artifact that was replaced; empty: none was
}

// Failure describes an attempt that did not succeed.
type Failure struct {
	Class   string // e.g. TimeoutError
	Message string
	Retry   bool    // false: no further attempt whatever is left
	Backoff Backoff // before the next attempt
}

// TimedOut is the failure of an attempt that took longer than timeoutMs.
func TimedOut(timeoutMs int64) Failure {
	return Failure{
		Class:   ClassTimeout,
		Message: fmt.Sprintf("the attempt took longer than %d ms", timeoutMs),
		Retry:   true,
		Backoff: NewBackoff(0),
	}
}
