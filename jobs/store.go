package jobs

import (
	"fmt"
	"strings"
	"time"
)

// Store keeps jobs and writes their log; eventlog.Reader reads it. Each method that changes something is one command:
// it takes effect whole or not at all, is durable (survives a power cut) before
// it returns nil, and its events are published, in log order, right before it
// returns. A command begins with one conditional statement, so of two racing
// commands the first to commit wins and the other is refused.
//
// Every method that names a job also names its owner: another client's job is
// ErrNotFound, exactly like one that does not exist.
//
// A store measures time by clocks of its own, so how long something lasts crosses
// this interface as a duration, counted from when the command took effect. Whoever
// must not rely on it too long counts from before it sent the command.
//
// ErrUnavailable means the fate of the commit is unknown. All methods are safe
// for concurrent use. The context only bounds the waiting of the caller: a
// command that was queued may still be committed after ctx has ended.
type Store interface {
	Commands
	Leases
	Artifacts
	Sweeps
	Tallies
}

// ListQuery selects jobs of one client.
type ListQuery struct {
	Status   Status // empty: all
	Limit    int    // 1..200
	MaxBytes int    // of the page's jobs as Job.Size counts them, but at least one job; 0: MaxPageBytes
	After    string // id of the last job of the page before, or what its Next was, or empty

	Queue    string    // of the jobs; empty: any, or none
	Search   string    // stands in the id, title, error or error message, whatever the case of ASCII letters; empty: anything
	From, To time.Time // created at From or later, and before To; zero: whenever

	// MaxScan is how many jobs are looked at for a page at most, if any of Queue, Search,
	// From and To narrow it: beyond them it ends, with fewer jobs or none, and goes on at
	// Next. 0: MaxListScan.
	MaxScan int
}

// MaxListScan bounds how long a list that finds nothing looks for it.
const MaxListScan = 20_000

// Narrow reports whether jobs may be looked at that are not in the list.
func (q ListQuery) Narrow() bool {
	return q.Queue != "" || q.Search != "" || !q.From.IsZero() || !q.To.IsZero()
}

// LowerASCII returns text with its ASCII letters in lower case, as lists compare it.
func LowerASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// JobPage is one page of a list. Next is nil on the last page, else where the next one
// begins: the id of a job of the client.
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
	Worker string        // the name of who claims, which Queues tells of; empty: it has none
	Node   string        // the name of the server that runs the jobs itself, whose leases end at once when it starts again; empty: a worker

	// Of a claim for all clients: how many of the holder's places one client may
	// take, 0 for any number, and how many each has already, by its name.
	Share int
	Held  map[string]int

	// Browsers is, of a claim for all clients of jobs with actions, how many jobs that need a
	// browser it may lease, and of one client, beside Max and Share. Without it there are none.
	Browsers Places

	// Announce commits, right after the job.started of a job with actions, the progress that
	// comes before the first of them: ExecutingFirst. It is left out if the storage is full.
	Announce bool

	// After makes the claim one that follows the end of the attempt that this was the lease
	// of, for one client: it leases one job at most, and only if one of the steps that it was
	// given with has ended that attempt. The new lease's token is NextToken of the old one. If
	// the attempt had ended so before, the claim leases nothing anew: it renews and answers
	// the lease that was claimed then, if that is still open and its job is in one of Queues;
	// not if one of the steps is of that attempt and was refused. With Max 0 it does no more than that.
	After Lease
}

// Places is how many of something rare may be taken.
type Places struct {
	Max   int            // in all
	Share int            // how many one client may have; 0: any number
	Held  map[string]int // how many each has already, by its name
}

// Swept is what a sweep has done.
type Swept struct {
	N     int           // how many jobs it changed
	Waits bool          // something is known to become due, or is due and beyond the limit
	Next  time.Duration // if Waits: how long until then; zero or less: it is due now
	Ready []Source      // where jobs became claimable by it, each once
}

// Lease is a holder's proof.
type Lease struct {
	Client string // owner of the job
	JobID  string
	Token  string
}

// Leased is a claimed job.
type Leased struct {
	Job   Job
	Lease Lease
	Lasts time.Duration // how long the lease lasts unless it is renewed: the claim's TTL, or less if the attempt's time is over before
}

// Receipt acknowledges a commit under a lease.
type Receipt struct {
	LastEventID string        // cursor of the newest event written, or of the job's newest event
	Lasts       time.Duration // how long the renewed lease lasts: as Leased.Lasts
	Replaced    string        // AddArtifact: the file of the artifact that was replaced; empty: none was
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
