package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlByKey  = `SELECT id, idem_hash FROM jobs WHERE client = ? AND idem_key = ? AND idem_key IS NOT NULL`
	sqlAddJob = `INSERT INTO jobs (uuid, client, queue, status, ready, due, priority, max_attempts, timeout_ms,
	idem_key, idem_hash, run_at, created_at, retry_of) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlAddSpec  = `INSERT INTO specs (job, actions, payload, metadata) VALUES (?, ?, ?, ?)`
	sqlCopySpec = `INSERT INTO specs (job, actions, payload, metadata) SELECT ?, actions, payload, metadata FROM specs WHERE job = ?`
)

// submitted is the outcome of Submit and Retry.
type submitted struct {
	job      jobs.Job
	replayed bool
}

// Submit implements jobs.Store.
func (s *Store) Submit(ctx context.Context, client, id string, spec jobs.Spec, idem jobs.Idempotency) (jobs.Job, bool, error) {
	out, err := write(ctx, s, 1, func(b *batch) (submitted, error) {
		head, err := b.ensureClient(client)
		if err != nil {
			return submitted{}, err
		}
		if out, err := b.replay(head, idem); err != nil || out.replayed {
			return out, err
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
		return b.repeat(head, id, old, idem)
	})
	return out.job, out.replayed, err
}

// repeat submits a job like an old one, due now. What may be large in it is copied
// by the database.
func (b *batch) repeat(head *logHead, uuid string, old *jobRow, idem jobs.Idempotency) (submitted, error) {
	now := b.now()
	id, cursor, err := b.insertJob(head, uuid, shellOf(old.Job), now, idem, func(id int64) error {
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
		Priority: j.Priority, RetryOf: j.ID,
	}
	if j.Queue != nil {
		spec.Queue = *j.Queue
	}
	return spec
}

// replay answers a submit whose key was used before: replayed, or refused.
func (b *batch) replay(head *logHead, idem jobs.Idempotency) (submitted, error) {
	if idem.Key == "" {
		return submitted{}, nil
	}
	var id int64
	var hash []byte
	found, err := b.row(sqlByKey, []any{head.id, idem.Key}, &id, &hash)
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
	now := b.now()
	_, cursor, err := b.insertJob(head, uuid, spec, now, idem, func(id int64) error {
		var payload json.RawMessage
		if spec.Queue != "" {
			payload = spec.Payload
		}
		_, err := b.exec(sqlAddSpec, id, blob(spec.Actions), blob(payload), blob(spec.Metadata))
		return err
	})
	if err != nil {
		return submitted{}, err
	}
	return submitted{job: newJob(head.name, uuid, spec, now, cursor)}, nil
}

// insertJob adds a job, what addSpec adds of it, and its job.created.
func (b *batch) insertJob(head *logHead, uuid string, spec jobs.Spec, now time.Time, idem jobs.Idempotency,
	addSpec func(id int64) error) (id int64, cursor string, err error) {
	ready, due := 1, any(nil)
	if ms := spec.RunAt.UnixMilli(); !spec.RunAt.IsZero() && ms > now.UnixMilli() {
		ready, due = 0, ms
	}
	var key, hash any
	if idem.Key != "" {
		key, hash = idem.Key, idem.Hash[:]
	}
	id, err = b.inserted(sqlAddJob, uuid, head.id, spec.Queue, ready, due, spec.Priority, spec.MaxAttempts,
		spec.Timeout.Milliseconds(), key, hash, millis(spec.RunAt), now.UnixMilli(), orNull(spec.RetryOf))
	if err != nil {
		return 0, "", fmt.Errorf("insert job %s: %w", uuid, err)
	}
	if err := addSpec(id); err != nil {
		return 0, "", fmt.Errorf("insert spec of job %s: %w", uuid, err)
	}
	b.moved(-1, pending)
	cursor, err = b.append(head, id, uuid, now, jobs.Created(now))
	return id, cursor, err
}

// newJob is what briefByID would return right after a submit: reading it back would
// take the committer's time for what is known.
func newJob(client, uuid string, spec jobs.Spec, now time.Time, cursor string) jobs.Job {
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
	if spec.RetryOf != "" {
		j.RetryOf = &spec.RetryOf
	}
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

// blob binds JSON; absent is NULL.
func blob(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return []byte(raw)
}
