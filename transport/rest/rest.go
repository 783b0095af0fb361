package rest

import (
	"context"
	"net/netip"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// commandTimeout bounds how long a caller waits for the store. A commit that
// takes longer has an unknown fate: unavailable.
const commandTimeout = 5 * time.Second

// Jobs is what this package asks of the job service; see [jobs.Store] for what
// each method promises.
type Jobs interface {
	Submit(ctx context.Context, client string, s jobs.Spec, idem jobs.Idempotency) (j jobs.Job, replayed bool, err error)
	SubmitBatch(ctx context.Context, client string, specs []jobs.Spec, idem jobs.Idempotency) (jobs.Batch, error)
	Retry(ctx context.Context, client, of string, idem jobs.Idempotency) (j jobs.Job, replayed bool, err error)
	Get(ctx context.Context, client, id string) (jobs.Job, error)
	Brief(ctx context.Context, client, id string) (jobs.Job, error)
	List(ctx context.Context, client string, q jobs.ListQuery) (jobs.JobPage, error)
	Cancel(ctx context.Context, client, id string) (jobs.Job, error)
	Workers
	Artifacts
	Queues
}

// Keys is what this package asks of the key store; see [auth.Store].
type Keys interface {
	CreateKey(ctx context.Context, k auth.Stored) error
	Key(ctx context.Context, client, id string) (auth.Key, error)
	KeyPage(ctx context.Context, client, after string, limit int) ([]auth.Key, error)
	RevokeKey(ctx context.Context, client, id string, at time.Time) error
}

// Deps is what the routes need. Door, Jobs, Keys, Tokens, Streams, Stream,
// EndAndClaim, Usage, SignIn and Hub are required.
type Deps struct {
	Door    *transport.Door
	Jobs    Jobs
	Keys    Keys
	Tokens  Tokens
	Vault   Vault // nil: the server has no key for one
	Streams *auth.Streams
	Submit  jobs.SubmitOptions // how a submit is checked
	Limits  jobs.Limits        // what clients may fill
	Actions any                // the list that GET /v1/actions answers

	// Stream answers with a job's events from its first on, as 200, and ends
	// after the terminal one. The headers Location and Idempotent-Replayed are
	// set. From the call on, also when it fails, the admission is Stream's to
	// release.
	Stream func(c *fiber.Ctx, p auth.Principal, a *transport.Admission, job jobs.Job, f transport.EventFormat) error

	// EndAndClaim ends an attempt, claims the next job for its worker, p, and answers with
	// both.
	EndAndClaim func(c *fiber.Ctx, p auth.Principal, e jobs.End, next jobs.NextClaim) error

	Statistics Statistics

	Usage func(ctx context.Context, client string) (jobs.Usage, error) // what a client fills

	// SignIn exchanges a code that came from an address for a key; see [auth.Verifier.SignIn].
	SignIn func(ctx context.Context, code string, addr netip.Addr) (auth.IssuedKey, error)

	Hub *hub.Hub // tells a submit that waits of its job's end

	Ready   func(ctx context.Context) error // nil: always ready
	About   func() any                      // what /readyz?verbose answers when it is
	Metrics fiber.Handler                   // Prometheus text; nil: no /metrics
}

type server struct{ Deps }

// Mount adds the routes. Transports that have paths of their own below these
// (/v1/jobs/{id}/events, /v1/ws, /v1/workers/claim, /socket.io/) are mounted
// before.
func Mount(r fiber.Router, d Deps) {
	s := &server{d}
	r.Post("/v1/jobs", s.submit)
	r.Post(batchPath, s.submitBatch)
	r.Get("/v1/jobs", s.list)
	r.Get("/v1/jobs/:id", s.get)
	r.Get("/v1/actions", s.actions)
	r.Get("/v1/queues", s.queues)
	r.Get("/v1/stats", s.stats)
	r.Post("/v1/jobs/:id/cancel", s.cancel)
	r.Post("/v1/jobs/:id/retry", s.retry)
	r.Post(cancelsPath, s.cancelMany)
	r.Post(retriesPath, s.retryMany)

	r.Post("/v1/jobs/:id/progress", s.progress)
	r.Post("/v1/jobs/:id/extend", s.extend)
	r.Post("/v1/jobs/:id/complete", s.complete)
	r.Post("/v1/jobs/:id/fail", s.fail)
	r.Post(endsPath, s.completeAll)
	r.Put("/v1/jobs/:id/artifacts/:name", s.putArtifact)
	r.Get("/v1/jobs/:id/artifacts/:name", s.getArtifact)

	r.Post("/v1/login", s.login)
	r.Get("/v1/me", s.whoami)
	r.Get("/v1/keys", s.listKeys)
	r.Post("/v1/keys", s.createKey)
	r.Delete("/v1/keys/:id", s.revokeKey)

	r.Get("/v1/connections", s.listConnections)
	r.Delete("/v1/connections/:id", s.endConnection)

	r.Get("/v1/secrets", s.listSecrets)
	r.Put("/v1/secrets/:name", s.putSecret)
	r.Delete("/v1/secrets/:name", s.deleteSecret)

	r.Get("/v1/browser-states", s.listStates)
	r.Delete("/v1/browser-states/:name", s.deleteState)

	r.Post("/v1/tokens", s.createToken)

	r.Get("/livez", s.live)
	r.Get("/readyz", s.ready)
	if d.Metrics != nil {
		r.Get("/metrics", s.metrics)
	}
}

// command is the context of one call of the store. It is not the request's:
// fasthttp's ends only at shutdown, and a command that has begun is let finish.
func command() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), commandTimeout)
}

// jobID returns the id in the path. A text that is no id names no job.
func jobID(c *fiber.Ctx) (string, error) {
	id, ok := jobs.ParseID(c.Params("id"))
	if !ok {
		return "", jobs.ErrNotFound
	}
	return id, nil
}
