package sqlite

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlHeld = `SELECT id, queue, max(created_at, coalesce(run_at, 0)), attempt, max_attempts, EXISTS (SELECT 1 FROM artifacts WHERE job = jobs.id) FROM jobs
	WHERE uuid = ? AND client = ? AND status = 1 AND lease = ?`
	sqlEnded    = `SELECT id, last_lease, last_end FROM jobs WHERE uuid = ? AND client = ? AND status < 5`
	sqlComplete = `UPDATE jobs SET status = 2, lease = NULL, last_lease = lease, last_end = 1, result = ?,
	error = NULL, error_message = NULL, completed_at = ? WHERE id = ? AND status = 1`
	sqlFail = `UPDATE jobs SET status = 3, lease = NULL, last_lease = iif(?, lease, last_lease),
	last_end = iif(?, 2, last_end), error = ?, error_message = ?, completed_at = ? WHERE id = ? AND status = 1`
	sqlAgain = `UPDATE jobs SET status = 0, lease = NULL, last_lease = iif(?, lease, last_lease),
	last_end = iif(?, 2, last_end), error = ?, error_message = ?, attempt = ?, next_at = ?, ready = ?, retry_due = ?, retry_ms = ?
	WHERE id = ? AND status = 1`
	sqlNewest = `SELECT seq FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1`
)

// running is a job under a lease.
type running struct {
	id           int64
	uuid, queue  string
	since        int64 // when it could first be begun, in milliseconds
	head         *logHead
	attempt, max int
	artifacts    bool // it may have some
}

// held finds the job that l is the open lease of. Otherwise r.id is 0 and
// ended says how l ended, if it was the last to end an attempt.
func (b *batch) held(l jobs.Lease) (r running, ended int, err error) {
	r.uuid = l.JobID
	if r.head, err = b.client(l.Client); err != nil {
		return r, 0, err
	}
	if r.head == nil {
		return r, 0, refuse(jobs.ErrNotFound)
	}
	hash := tokenHash(l.Token)
	if b.recall(&r, hash) {
		return r, 0, nil
	}
	found, err := b.row(sqlHeld, []any{l.JobID, r.head.id, hash}, &r.id, &r.queue, &r.since, &r.attempt, &r.max, &r.artifacts)
	if err != nil {
		return r, 0, err
	}
	if found {
		b.learn(r, hash)
		return r, 0, nil
	}
	var id int64
	var last []byte
	found, err = b.row(sqlEnded, []any{l.JobID, r.head.id}, &id, &last, &ended)
	switch {
	case err != nil:
		return r, 0, err
	case !found:
		return r, 0, refuse(jobs.ErrNotFound)
	case !bytes.Equal(last, hash):
		return r, 0, refuse(jobs.ErrLeaseLost)
	}
	return r, ended, nil
}

// recall completes r, of which the job and the client are set, if the batch knows by heart
// that whoever has the token with this hash holds the job.
func (b *batch) recall(r *running, hash []byte) bool {
	id, ok := b.st.jobs[r.uuid]
	if !ok {
		return false
	}
	l, ok := b.lease(id)
	if h := l.holder; !ok || h == nil || h.client != r.head.id || !bytes.Equal(h.token[:], hash) {
		return false
	}
	r.id, r.queue, r.since, r.attempt, r.max, r.artifacts = id, l.holder.queue, l.holder.since, l.holder.attempt, l.holder.max, l.artifacts
	return true
}

// learn remembers who holds a job.
func (b *batch) learn(r running, hash []byte) {
	if l, ok := b.lease(r.id); ok {
		l.holder = &holder{uuid: r.uuid, queue: r.queue, since: r.since, client: r.head.id, token: [sha256.Size]byte(hash), attempt: r.attempt, max: r.max}
		l.artifacts = r.artifacts
		b.leases[r.id] = &l
	}
}

// holding is held for calls that need the lease to be open.
func (b *batch) holding(l jobs.Lease) (running, error) {
	r, _, err := b.held(l)
	if err == nil && r.id == 0 {
		err = refuse(jobs.ErrLeaseLost)
	}
	return r, err
}

// renew moves the lease's deadline and returns how long it lasts now.
func (b *batch) renew(r running) (time.Duration, error) {
	l, ok := b.lease(r.id)
	if !ok {
		return 0, fmt.Errorf("job %s has a lease without a deadline", r.uuid)
	}
	now := time.Now()
	l.deadline, l.renewed, l.artifacts = now.Add(l.ttl), true, l.artifacts || r.artifacts
	b.leases[r.id] = &l
	return l.end().Sub(now), nil
}

// newest returns the cursor of a job's newest event.
func (b *batch) newest(r running) (string, error) {
	var seq uint64
	if _, err := b.row(sqlNewest, []any{r.id}, &seq); err != nil {
		return "", err
	}
	return b.position(r.head.id, seq)
}

// complete ends an attempt with success. last is its last event.
func (b *batch) complete(r running, now time.Time, result json.RawMessage, last jobs.Body) error {
	if _, err := b.changed(sqlComplete, blob(result), now.UnixMilli(), r.id); err != nil {
		return fmt.Errorf("complete job %s: %w", r.uuid, err)
	}
	b.moved(r.head, r.queue, processing, completed)
	b.tellTook(r.head, jobs.WasCompleted, r.since, now)
	b.leases[r.id] = nil
	_, err := b.append(r.head, r.id, r.uuid, now, last)
	return err
}

// fail ends an attempt without success. remember keeps the lease, so that its
// holder may repeat the call.
func (b *batch) fail(r running, f jobs.Failure, remember bool) error {
	if f.Retry && r.attempt < r.max {
		return b.again(r, f, f.Backoff.After(r.attempt), r.attempt, remember)
	}
	now := b.now()
	if _, err := b.changed(sqlFail, remember, remember, f.Class, f.Message, now.UnixMilli(), r.id); err != nil {
		return fmt.Errorf("fail job %s: %w", r.uuid, err)
	}
	b.moved(r.head, r.queue, processing, failed)
	b.tellTook(r.head, jobs.WasFailed, r.since, now)
	b.leases[r.id] = nil
	_, err := b.append(r.head, r.id, r.uuid, now, jobs.FailedWith(now, f.Class, f.Message))
	return err
}

// again makes a running job pending, due after delay, with counted attempts begun.
func (b *batch) again(r running, f jobs.Failure, delay time.Duration, counted int, remember bool) error {
	now := b.now()
	next := now.Add(delay)
	to, ready, due, asked := pending, 1, any(nil), any(nil)
	if ms := delay.Milliseconds(); ms > 0 {
		to, ready, due, asked = waiting, 0, b.steady()+ms, ms
	}
	_, err := b.changed(sqlAgain, remember, remember, f.Class, f.Message, counted, next.UnixMilli(), ready, due, asked, r.id)
	if err != nil {
		return fmt.Errorf("retry job %s: %w", r.uuid, err)
	}
	b.moved(r.head, r.queue, processing, to)
	b.tell(r.head, jobs.WasRetried)
	b.leases[r.id] = nil
	_, err = b.append(r.head, r.id, r.uuid, now, jobs.Retrying(f.Class, f.Message, r.attempt, next))
	return err
}

// release hands a job back; the attempt does not count.
func (b *batch) release(r running) error {
	f := jobs.Failure{Class: jobs.ClassInterrupted, Message: "the attempt was handed back and does not count"}
	return b.again(r, f, 0, r.attempt-1, false)
}
