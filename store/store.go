// Package store opens the store that a server keeps everything in. Which one it is, the
// URL says; all of them hold to the contract that package storetest tests.
package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/vault"
	"github.com/jobcast/jobcast/store/sqlite"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// Store keeps jobs and logs, resumable sessions, keys, the signing secret and what is sealed. All methods are safe for
// concurrent use.
type Store interface {
	jobs.Store
	eventlog.Reader
	session.Store
	auth.Store
	auth.Secrets
	vault.Store

	// Counts returns the number of jobs by state.
	Counts(ctx context.Context) (map[jobs.Status]int64, error)
	// Usage returns what a client fills.
	Usage(ctx context.Context, client string) (jobs.Usage, error)
	// Filled returns what all clients fill.
	Filled(ctx context.Context) (jobs.Filled, error)
	// Ready returns why commands would fail now; nil: they would not.
	Ready(ctx context.Context) error

	io.Closer
}

// Options of Open. The zero value is a store for managing keys.
type Options struct {
	Publisher eventlog.Publisher // is told of every commit; nil: nobody is
	Logger    *slog.Logger       // nil: slog.Default()

	// Serving ends the leases that an earlier process held itself, and gives every
	// other open lease one full TTL. Of SQLite it takes the exclusive lock on the
	// folder. Without it jobs can be read but not changed, and keys can be managed
	// while another process serves.
	Serving bool

	// OnBatch is told the number of events of each commit that had any; nil:
	// nobody is. It runs in the committer and must not block.
	OnBatch func(rows int)

	// OnChanges is told of the changes of jobs' states in each commit that had any; nil:
	// nobody is. It runs in the committer, must not block, and must not keep what it is told.
	OnChanges func([]jobs.Change)

	BasePath        string        // what URLs of artifacts begin with
	DefaultLeaseTTL time.Duration // of a claim that names none; 0: 30 s

	Limits jobs.Limits // what clients may fill
}

// Open opens the store that url names: a folder, as a path or as sqlite:PATH, in which
// SQLite keeps everything. It is made if it is missing.
func Open(ctx context.Context, url string, o Options) (Store, error) {
	scheme, path, ok := strings.Cut(url, ":")
	switch {
	case !ok || strings.ContainsAny(scheme, `/\.`) || len(scheme) == 1: // a path; one letter is a drive
		path = url
	case scheme != "sqlite":
		return nil, fmt.Errorf("no store is called %q: write the path of a folder, or sqlite: and the path", scheme)
	}
	s, err := sqlite.Open(ctx, path, sqlite.Options{
		Publisher: o.Publisher, Logger: o.Logger, Serving: o.Serving, OnBatch: o.OnBatch, OnChanges: o.OnChanges,
		BasePath: o.BasePath, DefaultLeaseTTL: o.DefaultLeaseTTL, Limits: o.Limits,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}
