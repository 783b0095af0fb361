package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// DefaultLeaseTTL is how long a lease lives without a renewal.
const DefaultLeaseTTL = 30 * time.Second

// Lists without a limit get this many jobs; none gets more than MaxListLimit,
// which bounds the memory of one answer.
const (
	DefaultListLimit = 50
	MaxListLimit     = 200
)

// ServiceOptions adjusts a Service; the zero value works.
type ServiceOptions struct {
	LeaseTTL time.Duration // of claims that name none; 0: DefaultLeaseTTL
	Files    Files         // the bytes of artifacts; nil: none can be saved
	Vault    Vault         // the secrets of clients; nil: there is no key for them
	BasePath string        // what URLs of artifacts begin with
	Logger   *slog.Logger  // nil: slog.Default()
}

// Commands submit, read and cancel jobs: what a Service does for their clients. See Store
// for what all methods promise.
type Commands interface {
	// Submit inserts a job and its job.created. With an idempotency key that
	// this client used before, nothing is inserted: the same hash returns the
	// first job as it is now and replayed = true, another hash
	// ErrIdempotencyMismatch. id is a UUIDv7 chosen by the caller. *LimitError if
	// the client has as many jobs as it may, or the storage is full.
	Submit(ctx context.Context, client, id string, s Spec, idem Idempotency) (j Job, replayed bool, err error)

	// SubmitBatch inserts jobs, in order, each with its job.created: all of them or
	// none. ids are as many as specs. A batch has one idempotency key, which is
	// kept as long as one of its jobs is: with the same hash the ids of the first
	// call are returned, also of jobs that are gone since. A key that Submit or
	// Retry has used is ErrIdempotencyMismatch here, and the other way round.
	// *LimitError as for Submit, of all jobs together.
	SubmitBatch(ctx context.Context, client string, ids []string, specs []Spec, idem Idempotency) (Batch, error)

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
}

// Service is the one way to change jobs. It adds to the store what a single
// command cannot do: it wakes those who wait for work, stops running actions,
// and knows when the next sweep is due. All methods are safe for concurrent
// use. Their errors are those of the Store.
type Service struct {
	store    Store
	files    Files // nil: none
	vault    Vault // nil: none
	basePath string
	ttl      time.Duration
	log      *slog.Logger

	ready    notifier
	due      *deadline // next PromoteDue
	leases   *deadline // next ExpireLeases
	expiries *deadline // next ExpireJobs
	expired  atomic.Int64
	runs     runs
	throttle throttle
	workers  workers

	stopOnce sync.Once
	stopped  chan struct{} // closed by StopClaims
}

// NewService returns a Service over store.
func NewService(store Store, o ServiceOptions) *Service {
	if o.LeaseTTL <= 0 {
		o.LeaseTTL = DefaultLeaseTTL
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Service{
		store:    store,
		files:    o.Files,
		vault:    o.Vault,
		basePath: o.BasePath,
		ttl:      o.LeaseTTL,
		log:      o.Logger,
		due:      newDeadline(),
		leases:   newDeadline(),
		expiries: newDeadline(),
		stopped:  make(chan struct{}),
	}
}

// Submit makes a job of spec, which ParseSubmit has validated. With a key that
// was used before, it returns the first job and replayed = true.
func (s *Service) Submit(ctx context.Context, client string, spec Spec, idem Idempotency) (j Job, replayed bool, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Job{}, false, fmt.Errorf("make job id: %w", err)
	}
	if err := s.entrusted(ctx, client, func(int) string { return "" }, spec); err != nil {
		return Job{}, false, err
	}
	weight := weigh(1, spec.Size())
	if err := s.throttle.enter(ctx, client, weight); err != nil {
		return Job{}, false, err
	}
	defer s.throttle.leave(client, weight)
	j, replayed, err = s.store.Submit(ctx, client, id.String(), spec, idem)
	return j, replayed, s.made(j, replayed, err, func() { s.ready.notify(SourceIn(client, spec.Queue)) })
}

// Retry makes a new job like a failed or cancelled one, with RetryOf set.
func (s *Service) Retry(ctx context.Context, client, of string, idem Idempotency) (j Job, replayed bool, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Job{}, false, fmt.Errorf("make job id: %w", err)
	}
	weight, notify := 1, s.ready.notifyAll
	if old, err := s.store.Get(ctx, client, of); err == nil { // else Retry says what is wrong
		notify = func() { s.ready.notify(sourceOf(old)) }
		weight = weigh(1, len(old.Actions)+len(old.Payload)+len(old.Metadata))
	}
	if err := s.throttle.enter(ctx, client, weight); err != nil {
		return Job{}, false, err
	}
	defer s.throttle.leave(client, weight)
	j, replayed, err = s.store.Retry(ctx, client, of, id.String(), idem)
	return j, replayed, s.made(j, replayed, err, notify)
}

// made lets a new job be found. If the fate of its commit is unknown, notify makes
// those who wait look for it.
func (s *Service) made(j Job, replayed bool, err error, notify func()) error {
	switch {
	case err == nil && !replayed:
		s.announce(j)
	case err != nil && !refused(err):
		s.due.within(0)
		s.expiries.within(0)
		notify()
	}
	return err
}

// announce wakes those who can claim j now, and whoever looks when it is due: by
// which clock, the store knows.
func (s *Service) announce(j Job) {
	if j.Status != Pending {
		return
	}
	if j.ExpiresAt != nil && j.StartedAt == nil {
		s.expiries.within(j.ExpiresAt.Sub(j.CreatedAt.Time))
	}
	if j.NextAttemptAt != nil || j.RunAt != nil {
		s.due.within(0)
	}
	s.ready.notify(sourceOf(j))
}

// Get returns a job of client, whole.
func (s *Service) Get(ctx context.Context, client, id string) (Job, error) {
	return s.store.Get(ctx, client, id)
}

// Brief returns a job of client without its large members; see Job.Abridge.
func (s *Service) Brief(ctx context.Context, client, id string) (Job, error) {
	return s.store.Brief(ctx, client, id)
}

// List returns jobs of client, newest first.
func (s *Service) List(ctx context.Context, client string, q ListQuery) (JobPage, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultListLimit
	}
	q.Limit = min(q.Limit, MaxListLimit)
	return s.store.List(ctx, client, q)
}

// Cancel ends a job at once. If it runs in this process, its action is told to
// stop; a worker learns it by losing its lease.
func (s *Service) Cancel(ctx context.Context, client, id string) (Job, error) {
	j, err := s.store.Cancel(ctx, client, id)
	if err == nil {
		s.runs.cancel(id, errCancelled)
	}
	return j, err
}

// Stats returns what the processor of this service is doing.
func (s *Service) Stats() Stats {
	st := s.runs.stats()
	st.Expired = s.expired.Load()
	return st
}

// StopClaims makes waiting and future claims of workers return at once without
// a job. It is the first step of a shutdown.
func (s *Service) StopClaims() { s.stopOnce.Do(func() { close(s.stopped) }) }

// claim leases jobs and notes when their leases run out. It hands them back,
// uncounted, if ctx has ended meanwhile: a queued command is committed all the
// same, and a job must not wait out the lease of somebody who is gone.
func (s *Service) claim(ctx context.Context, c Claim) ([]Claimed, error) {
	sent := time.Now()
	leased, err := s.store.Claim(context.WithoutCancel(ctx), c)
	if err != nil {
		return nil, fmt.Errorf("claim jobs: %w", err)
	}
	got := s.claimed(leased, sent)
	if ctx.Err() == nil || len(got) == 0 {
		return got, nil
	}
	s.handBack(context.WithoutCancel(ctx), leased)
	return nil, context.Cause(ctx)
}

// handBack releases jobs that were claimed for somebody who is gone.
func (s *Service) handBack(ctx context.Context, leased []Leased) {
	for _, l := range leased {
		if err := s.HandBack(ctx, l); err != nil {
			s.log.Warn("a job was not handed back and waits for the end of its lease", "jobId", l.Job.ID, "error", err)
		}
	}
}

// Release hands a job back whose attempt was begun; it is not counted. A lease that is
// lost already is no error.
func (s *Service) Release(ctx context.Context, l Leased) error {
	return s.released(l, s.store.Release(ctx, l.Lease))
}

// HandBack hands back a claim whose answer nobody got; the attempt is not counted. It is no
// error if the lease is lost already, or was renewed: then somebody has it after all.
func (s *Service) HandBack(ctx context.Context, l Leased) error {
	answers, _, err := s.store.Settle(ctx, []Step{{Lease: l.Lease, Outcome: AttemptUnclaimed}}, nil)
	if err == nil {
		err = answers[0].Err
	}
	return s.released(l, err)
}

// released wakes those who wait for a job that was handed back; err is the store's answer.
func (s *Service) released(l Leased, err error) error {
	if errors.Is(err, ErrLeaseLost) {
		return nil
	}
	if err == nil || !refused(err) { // it may have been committed
		s.due.within(0) // whether a job handed back must be promoted is the store's affair
		s.ready.notify(sourceOf(l.Job))
	}
	if err != nil {
		return fmt.Errorf("release job %s: %w", l.Job.ID, err)
	}
	return nil
}
