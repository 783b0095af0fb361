package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	// A key that made a batch has no hash here, so that it fits no other request.
	sqlByKey = `SELECT id, idem_hash FROM jobs WHERE client = ? AND idem_key = ? AND idem_key IS NOT NULL
	UNION ALL SELECT id, NULL FROM batches WHERE client = ? AND idem_key = ?`
	sqlAddJob = `INSERT INTO jobs (uuid, client, queue, status, ready, due, priority, max_attempts, timeout_ms,
	idem_key, idem_hash, batch, run_at, expires_at, expires_ms, expires_due, created_at, retry_of)
	VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlAddSpec  = `INSERT INTO specs (job, actions, payload, metadata, hosts, title, browsing) VALUES (?, ?, ?, ?, ?, ?, ?)`
	sqlCopySpec = `INSERT INTO specs (job, actions, payload, metadata, hosts, title, browsing)
	SELECT ?, actions, payload, metadata, hosts, title, browsing FROM specs WHERE job = ?`
	sqlSpecBytes = `SELECT coalesce(length(actions), 0) + coalesce(length(payload), 0) + coalesce(length(metadata), 0) FROM specs WHERE job = ?`
)

// submitted is the outcome of Submit and Retry.
type submitted struct {
	job      jobs.Job
	replayed bool
}

// Submit implements jobs.Store.
func (s *Store) Submit(ctx context.Context, client, id string, spec jobs.Spec, idem jobs.Idempotency) (jobs.Job, bool, error) {
	out, err := write(ctx, s, 1, func(b *batch) (submitted, error) {
		head, err := b.client(client)
		if err != nil {
			return submitted{}, err
		}
		if out, err := b.replay(head, idem); err != nil || out.replayed {
			return out, err
		}
		if err := b.admit(head, 1, int64(spec.Size())); err != nil {
			return submitted{}, err
		}
		if head, err = b.ensureClient(client); err != nil {
			return submitted{}, err
		}
		return b.submit(head, id, spec, idem)
	})
	return out.job, out.replayed, err
}

// Retry implements jobs.Store.
func (s *Store) Retry(ctx context.Context, client, of, id string, idem jobs.Idempotency) (jobs.Job, bool, error) {
	out, err := write(ctx, s, 1, func(b *batch) (submitted, error) {
		head, err := b.client(client)
		if err != nil {
			return submitted{}, err
		}
		if head == nil {
			return submitted{}, refuse(jobs.ErrNotFound)
		}
		if out, err := b.replay(head, idem); err != nil || out.replayed {
			return out, err
		}
		old, err := b.brief(sqlJobByUUID, []any{of, client})
		if err != nil {
			return submitted{}, err
		}
		if old == nil {
			return submitted{}, refuse(jobs.ErrNotFound)
		}
		if old.status != failed && old.status != cancelled {
			return submitted{}, refuse(&jobs.ConflictError{Job: old.Job,
				Detail: fmt.Sprintf("only a failed or cancelled job can be retried; this one is %s", old.Status)})
		}
		var bytes int64
		if _, err := b.row(sqlSpecBytes, []any{old.id}, &bytes); err != nil {
			return submitted{}, err
		}
		if err := b.admit(head, 1, bytes); err != nil {
			return submitted{}, err
		}
		return b.repeat(head, id, old, idem)
	})
	return out.job, out.replayed, err
}

// repeat submits a job like an old one, due now. What may be large in it is copied
// by the database.
func (b *batch) repeat(head *logHead, uuid string, old *jobRow, idem jobs.Idempotency) (submitted, error) {
	now := b.now()
	id, cursor, err := b.insertJob(head, uuid, b.withTTL(shellOf(old.Job)), now, cause{idem: idem}, func(id int64) error {
		_, err := b.exec(sqlCopySpec, id, old.id)
		return err
	})
	if err != nil {
		return submitted{}, err
	}
	j, err := b.briefByID(id)
	j.Cursor = cursor
	return submitted{job: j}, err
}

// shellOf returns the Spec of j without what may be large in it.
func shellOf(j jobs.Job) jobs.Spec {
	spec := jobs.Spec{
		MaxAttempts: j.MaxAttempts, Timeout: time.Duration(j.TimeoutMs) * time.Millisecond,
		Priority: j.Priority, RetryOf: j.ID, Browser: j.Browser,
	}
	if j.Queue != nil {
		spec.Queue = *j.Queue
	}
	if j.ExpiresAt != nil {
		from := j.CreatedAt.Time
		if j.RunAt != nil && j.RunAt.After(from) {
			from = j.RunAt.Time
		}
		spec.ExpiresIn = j.ExpiresAt.Sub(from)
	}
	return spec
}

// withTTL is spec with the expiry that jobs of queues have if they name none.
func (b *batch) withTTL(spec jobs.Spec) jobs.Spec {
	if spec.Queue != "" && spec.ExpiresIn == 0 {
		spec.ExpiresIn = b.limits.QueueTTL
	}
	return spec
}

// admit refuses n jobs with so many bytes of actions, payload and metadata together that
// the client, nil if it is new, or the folder has no room for.
func (b *batch) admit(head *logHead, n int, bytes int64) error {
	limit, used := b.limits.JobsPerClient, int64(0)
	if head != nil {
		used = head.open
	}
	if limit > 0 && used+int64(n) > limit {
		return refuse(&jobs.LimitError{What: jobs.LimitJobs, Max: limit, Used: used, Asked: int64(n)})
	}
	return b.grow(bytes + int64(n)*rowBytes)
}

// replay answers a submit whose key was used before: replayed, or refused. head
// is nil for a new client.
func (b *batch) replay(head *logHead, idem jobs.Idempotency) (submitted, error) {
	if idem.Key == "" || head == nil {
		return submitted{}, nil
	}
	var id int64
	var hash []byte
	found, err := b.row(sqlByKey, []any{head.id, idem.Key, head.id, idem.Key}, &id, &hash)
	if err != nil || !found {
		return submitted{}, err
	}
	if string(hash) != string(idem.Hash[:]) {
		return submitted{}, refuse(jobs.ErrIdempotencyMismatch)
	}
	j, err := b.briefByID(id)
	return submitted{job: j, replayed: true}, err
}

func (b *batch) submit(head *logHead, uuid string, spec jobs.Spec, idem jobs.Idempotency) (submitted, error) {
	spec = b.withTTL(spec)
	now := b.now()
	cursor, err := b.insertSpec(head, uuid, spec, now, cause{idem: idem})
	if err != nil {
		return submitted{}, err
	}
	expires, _ := b.expiry(spec, now)
	return submitted{job: newJob(head.name, uuid, spec, now, expires, cursor)}, nil
}

// cause is the request that makes a job.
type cause struct {
	idem  jobs.Idempotency // of a job alone
	batch int64            // the row of the batch that the job belongs to, if that has a key; 0: none
}

// columns are those of a job that tell of its cause: idem_key, idem_hash and batch.
func (c cause) columns() (key, hash, batch any) {
	if c.idem.Key != "" {
		key, hash = c.idem.Key, c.idem.Hash[:]
	}
	if c.batch != 0 {
		batch = c.batch
	}
	return key, hash, batch
}

// insertSpec is insertJob for a job whose spec is at hand.
func (b *batch) insertSpec(head *logHead, uuid string, spec jobs.Spec, now time.Time, by cause) (cursor string, err error) {
	_, cursor, err = b.insertJob(head, uuid, spec, now, by, func(id int64) error {
		var payload json.RawMessage
		if spec.Queue != "" {
			payload = spec.Payload
		}
		hosts, err := hostsBlob(spec.Hosts)
		if err != nil {
			return err
		}
		settings, err := browsing{spec.Console, spec.State}.blob()
		if err != nil {
			return err
		}
		_, err = b.exec(sqlAddSpec, id, blob(spec.Actions), blob(payload), blob(spec.Metadata), hosts, orNull(spec.Title), settings)
		return err
	})
	return cursor, err
}

// insertJob adds a job, what addSpec adds of it, and its job.created.
func (b *batch) insertJob(head *logHead, uuid string, spec jobs.Spec, now time.Time, by cause,
	addSpec func(id int64) error) (id int64, cursor string, err error) {
	to, ready, due := pending, 1, any(nil)
	if ms := spec.RunAt.UnixMilli(); !spec.RunAt.IsZero() && ms > now.UnixMilli() {
		to, ready, due = waiting, 0, ms
	}
	expires, expiryDue := b.expiry(spec, now)
	key, hash, batch := by.columns()
	queue := spec.Queue
	if spec.Browser {
		queue = browserQueue
	}
	id, err = b.inserted(sqlAddJob, uuid, head.id, queue, ready, due, spec.Priority, spec.MaxAttempts,
		spec.Timeout.Milliseconds(), key, hash, batch, millis(spec.RunAt), millis(expires), askedMillis(spec.ExpiresIn), expiryDue,
		now.UnixMilli(), orNull(spec.RetryOf))
	if err != nil {
		return 0, "", fmt.Errorf("insert job %s: %w", uuid, err)
	}
	if err := addSpec(id); err != nil {
		return 0, "", fmt.Errorf("insert spec of job %s: %w", uuid, err)
	}
	b.moved(head, queue, isNew, to)
	b.tell(head, jobs.WasSubmitted)
	if due, ok := expiryDue.(int64); ok {
		b.expires(head.id, due)
	}
	cursor, err = b.append(head, id, uuid, now, jobs.Created(now))
	return id, cursor, err
}

// newJob is what briefByID would return right after a submit: reading it back would
// take the committer's time for what is known.
func newJob(client, uuid string, spec jobs.Spec, now, expires time.Time, cursor string) jobs.Job {
	j := jobs.Job{
		ID: uuid, ClientID: client, Status: jobs.Pending,
		Actions: orAbsent(spec.Actions), Metadata: orAbsent(spec.Metadata),
		MaxAttempts: spec.MaxAttempts, TimeoutMs: spec.Timeout.Milliseconds(), Priority: spec.Priority,
		Artifacts: []jobs.Artifact{}, CreatedAt: jobs.At(now), Cursor: cursor,
	}
	if spec.Queue != "" {
		j.Queue, j.Payload = &spec.Queue, orAbsent(spec.Payload)
	}
	if !spec.RunAt.IsZero() {
		at := jobs.At(spec.RunAt)
		j.RunAt = &at
	}
	if !expires.IsZero() {
		at := jobs.At(expires)
		j.ExpiresAt = &at
	}
	if spec.RetryOf != "" {
		j.RetryOf = &spec.RetryOf
	}
	if spec.Title != "" {
		j.Title = &spec.Title
	}
	browsing{spec.Console, spec.State}.show(&j)
	return j
}

// orAbsent is raw as it would be read back: NULL if it is empty.
func orAbsent(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	return raw
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// browsing is what a job says of its browser, as the column has it.
type browsing struct {
	Console string         `json:"console,omitempty"`
	State   *jobs.StateUse `json:"state,omitempty"`
}

// blob binds it; nothing is NULL.
func (s browsing) blob() (any, error) {
	if s == (browsing{}) {
		return nil, nil
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode browsing: %w", err)
	}
	return raw, nil
}

// show has a job show it.
func (s browsing) show(j *jobs.Job) {
	if s.Console != "" {
		j.Console = &s.Console
	}
	j.State = s.State
}

// hostsBlob binds lists of hosts; none is NULL.
func hostsBlob(h jobs.Hosts) (any, error) {
	if h.Empty() {
		return nil, nil
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode hosts: %w", err)
	}
	return raw, nil
}

// blobHosts reads what hostsBlob has bound.
func blobHosts(raw []byte) (h jobs.Hosts, err error) {
	if raw == nil {
		return h, nil
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fmt.Errorf("decode hosts: %w", err)
	}
	return h, nil
}

// blob binds JSON; absent is NULL.
func blob(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return []byte(raw)
}
