// Package sqlite keeps jobs, logs, sessions and keys in one SQLite database.
//
// All changes go through one committer, which gathers them into transactions
// (group commit), publishes the events of each in log order once it is durable,
// and then answers the callers. Reads use their own connections and never wait
// for the committer.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

var (
	_ jobs.Store      = (*Store)(nil)
	_ eventlog.Reader = (*Store)(nil)
	_ session.Store   = (*Store)(nil)
	_ auth.Store      = (*Store)(nil)
	_ auth.Secrets    = (*Store)(nil)
)

// Options of Open. The zero value is a store for managing keys.
type Options struct {
	Publisher eventlog.Publisher // is told of every commit; nil: nobody is
	Logger    *slog.Logger       // nil: slog.Default()

	// Serving takes the exclusive lock on the folder, ends the leases that an
	// earlier process held itself, gives every other open lease one full
	// TTL, and takes over the secret of a file token.secret. Without it jobs can be read but not changed, and keys can be
	// managed while another process serves.
	Serving bool

	// OnBatch is told the number of events of each commit that had any; nil:
	// nobody is. It runs in the committer and must not block.
	OnBatch func(rows int)

	// OnChanges is told of the changes of jobs' states in each commit that had any; nil:
	// nobody is. It runs in the committer, must not block, and must not keep what it is told.
	OnChanges func([]jobs.Change)

	// Now is the clock on the wall; nil: time.Now. Tests set it forward and back.
	Now func() time.Time

	BasePath        string        // what URLs of artifacts begin with
	DefaultLeaseTTL time.Duration // of a claim that names none; 0: 30 s

	Limits jobs.Limits // what clients may fill
}

const defaultLeaseTTL = 30 * time.Second

// Store implements jobs.Store, eventlog.Reader, session.Store, auth.Store and auth.Secrets. It is safe for concurrent use.
type Store struct {
	opts      Options
	committer *committer
	closing   chan struct{} // closed by Close
	reading   chan struct{} // holds one for each read under way
	writerDB  *sql.DB
	readerDB  *sql.DB
	lock      *flock.Flock // nil unless serving
	health    *health
	renew     func(db *sql.DB, old *conn) (*conn, error) // renewed
	attending sync.WaitGroup                             // attend, if serving

	idleMu sync.Mutex
	idle   []*conn // read-only connections; the last one was used last, so its cache is warm

	closeOnce sync.Once
	closeErr  error // written inside closeOnce
}

// Open opens the database in the data folder dir, makes both if they are
// missing, for their owner alone, and brings an older schema up to date.
// Errors are one line: ErrLocked if another process serves the folder, else
// what is wrong with the folder or the file, and what to do. ctx bounds the
// opening only.
func Open(ctx context.Context, dir string, opts Options) (_ *Store, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.DefaultLeaseTTL <= 0 {
		opts.DefaultLeaseTTL = defaultLeaseTTL
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open data folder %s: %w", dir, err)
	}
	s := &Store{opts: opts, health: &health{dir: abs, log: opts.Logger}, renew: renewed, closing: make(chan struct{}), reading: make(chan struct{}, readers)}
	defer func() {
		if err != nil {
			err = openError(abs, errors.Join(err, s.release()))
		}
	}()
	if s.lock, err = prepare(ctx, dir, opts); err != nil {
		return nil, err
	}
	var secret []byte
	if opts.Serving {
		if secret, err = readSecretFile(dir); err != nil {
			return nil, err
		}
	}
	if err := s.connect(ctx, dir); err != nil {
		return nil, err
	}
	s.committer.measure()
	go s.committer.loop()
	if opts.Serving {
		if err := s.begin(ctx, dir, secret); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// begin is what a server does before anything else. secret is that of the file; nil: there
// was none.
func (s *Store) begin(ctx context.Context, dir string, secret []byte) error {
	s.attending.Go(s.attend)
	db, err := newSession(ctx, s.writerDB, s.opts.BasePath)
	if err != nil {
		return err
	}
	s.attending.Go(func() { s.checkpoints(db) })
	if secret != nil {
		if err := s.importSecret(ctx, dir, secret); err != nil {
			return err
		}
	}
	for {
		n, err := s.expireLocal(ctx, batchRows)
		if err != nil {
			return fmt.Errorf("end leases of an earlier process: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}

// connect opens all connections and reads the state. The writer comes first: a
// read-only connection cannot make the files that WAL needs.
func (s *Store) connect(ctx context.Context, dir string) error {
	timeout := busyTimeoutMs
	if !s.opts.Serving {
		timeout = besideTimeoutMs
	}
	s.writerDB = sql.OpenDB(writerConnector(dir, timeout))
	writer, err := newSession(ctx, s.writerDB, s.opts.BasePath)
	if err != nil {
		return err
	}
	s.committer = &committer{
		queue: make(chan *command, queueCommands), closing: s.closing, done: make(chan struct{}),
		db: writer, st: newState(newClock(s.opts.Now)), limits: s.opts.Limits, publisher: s.opts.Publisher, onBatch: s.opts.OnBatch, onChanges: s.opts.OnChanges, health: s.health,
		renew:        func(old *conn) (*conn, error) { return s.renew(s.writerDB, old) },
		checkpointer: newCheckpointer(),
	}
	if s.opts.Serving {
		s.committer.st.storage = newStorage(dir, s.opts.Limits.Storage)
		if err := s.committer.st.boundExpiries(writer); err != nil {
			return err
		}
		if err := s.committer.st.reload(writer); err != nil {
			return fmt.Errorf("read open leases: %w", err)
		}
		if err := s.committer.st.boundRetries(writer); err != nil {
			return fmt.Errorf("bound back-offs: %w", err)
		}
	}
	s.readerDB = sql.OpenDB(readerConnector(dir))
	for range readers {
		db, err := newSession(ctx, s.readerDB, s.opts.BasePath)
		if err != nil {
			return err
		}
		s.idle = append(s.idle, db)
	}
	return s.health.remember(s.opts.Serving)
}

// write runs a command that changes jobs.
func write[T any](ctx context.Context, s *Store, rows int, fn func(*batch) (T, error)) (T, error) {
	if !s.opts.Serving {
		var zero T
		return zero, errNotServing
	}
	return do(ctx, s.committer, rows, fn)
}

// Close commits what is queued, moves the WAL into the database and gives the
// lock back. Later calls of any method return jobs.ErrClosed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		<-s.committer.done
		s.attending.Wait()
		for range readers { // wait for the reads under way
			s.reading <- struct{}{}
		}
		for _, db := range s.idle {
			s.closeErr = errors.Join(s.closeErr, db.close())
		}
		if s.opts.Serving {
			if _, err := s.committer.db.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
				s.closeErr = errors.Join(s.closeErr, fmt.Errorf("checkpoint: %w", err))
			}
		}
		s.closeErr = errors.Join(s.closeErr, s.committer.db.close(), s.release())
	})
	return s.closeErr
}

// release closes what Open opened, whatever there is.
func (s *Store) release() error {
	var err error
	if s.readerDB != nil {
		err = errors.Join(err, s.readerDB.Close())
	}
	if s.writerDB != nil {
		err = errors.Join(err, s.writerDB.Close())
	}
	err = errors.Join(err, s.health.close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
