package sqlite

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// sqlJob reads everything a Job shows; of the members that may be large only if they
// have ?1 bytes or less together. What only events tell (newest event, progress) is
// found from the newest backwards, so that an append need not touch the job's row.
const (
	sqlJobBytes = `coalesce(length(s.payload), 0) + coalesce(length(s.actions), 0) +
	coalesce(length(j.result), 0) + coalesce(length(s.metadata), 0)` // SQLite reads no more than the row's head for it
	sqlJobColumns = `SELECT j.id, j.uuid, j.client, c.name, j.queue, j.status, ` + sqlJobBytes + ` > ?1,
	iif(` + sqlJobBytes + ` > ?1, NULL, s.actions), iif(` + sqlJobBytes + ` > ?1, NULL, s.payload),
	iif(` + sqlJobBytes + ` > ?1, NULL, s.metadata), iif(` + sqlJobBytes + ` > ?1, NULL, j.result),` + sqlJobTerms + `,
	(SELECT seq FROM events WHERE job = j.id ORDER BY seq DESC LIMIT 1), ` + sqlProgressOf + `,
	(SELECT epoch FROM epochs WHERE client = j.client
		AND from_seq <= (SELECT seq FROM events WHERE job = j.id ORDER BY seq DESC LIMIT 1) ORDER BY from_seq DESC LIMIT 1),
	EXISTS (SELECT 1 FROM artifacts WHERE job = j.id)`
	sqlJobTerms = ` j.max_attempts, j.timeout_ms, j.priority, j.run_at, j.expires_at, j.attempt, j.error, j.error_message,
	j.created_at, j.started_at, j.completed_at, j.next_at, j.retry_of, s.title, s.browsing`
	sqlProgressOf = `(SELECT e.tail FROM events e WHERE e.id = (SELECT p.id FROM events p WHERE p.job = j.id AND p.kind = 3 ORDER BY p.seq DESC LIMIT 1))`

	// sqlReadyJob reads a whole job that is about to begin, like sqlJobColumns, but not its newest
	// event; what only an attempt can have left is looked for only if there was one.
	sqlReadyJob = `SELECT j.id, j.uuid, j.client, c.name, j.queue, j.status, 0, s.actions, s.payload, s.metadata, j.result,` + sqlJobTerms + `,
	0, iif(j.started_at IS NULL, NULL, ` + sqlProgressOf + `), '', j.started_at IS NOT NULL AND EXISTS (SELECT 1 FROM artifacts WHERE job = j.id), s.hosts` +
		sqlJobFrom + `WHERE j.id = ? AND j.ready = 1`

	sqlJobFrom   = ` FROM jobs j` + sqlJobJoins
	sqlJobJoins  = ` CROSS JOIN clients c ON c.id = j.client CROSS JOIN specs s ON s.job = j.id `
	sqlOfUUID    = `WHERE j.uuid = ? AND c.name = ? AND j.status < 5`
	sqlJobByID   = sqlJobColumns + sqlJobFrom + `WHERE j.id = ? AND j.status < 5`
	sqlJobByUUID = sqlJobColumns + sqlJobFrom + sqlOfUUID
	sqlJobSizes  = `SELECT coalesce(length(s.payload), 0), coalesce(length(s.actions), 0), coalesce(length(j.result), 0),
	coalesce(length(s.metadata), 0) FROM jobs j CROSS JOIN specs s ON s.job = j.id WHERE j.id = ?`
	sqlJobMembers = `SELECT iif(?, s.payload, NULL), iif(?, s.actions, NULL), iif(?, j.result, NULL), iif(?, s.metadata, NULL)
	FROM jobs j CROSS JOIN specs s ON s.job = j.id WHERE j.id = ?`
	sqlEpochAt    = `SELECT epoch FROM epochs WHERE client = ? AND from_seq <= ? ORDER BY from_seq DESC LIMIT 1`
	tailDataStart = `,"data":`
)

// jobRow is a job with the ids that the database knows it by.
type jobRow struct {
	jobs.Job
	id, client int64
	queue      string // as it is stored
	status     int
	newest     uint64 // seq of its newest event
	epoch      string // of that
	artifacts  bool   // has any
	unread     bool   // members that may be large were not read
}

// wholeJob is a limit that no job exceeds.
const wholeJob = maxRowID

// scanJob reads one row of sqlJobColumns, and of what columns follow.
func scanJob(rows *sql.Rows, further []any) (jobRow, error) {
	var (
		r                              jobRow
		queue                          string
		actions, payload, meta, result []byte
		progress, settings             []byte
		created                        int64
		runAt, expires                 sql.NullInt64
		started, completed, next       sql.NullInt64
	)
	err := rows.Scan(append([]any{&r.id, &r.ID, &r.client, &r.ClientID, &queue, &r.status, &r.unread, &actions, &payload, &meta, &result,
		&r.MaxAttempts, &r.TimeoutMs, &r.Priority, &runAt, &expires, &r.Attempt, &r.Error, &r.ErrorMessage,
		&created, &started, &completed, &next, &r.RetryOf, &r.Title, &settings, &r.newest, &progress, &r.epoch, &r.artifacts}, further...)...)
	if err != nil {
		return jobRow{}, fmt.Errorf("read job: %w", err)
	}
	r.Status = statuses[r.status]
	r.Cursor = eventlog.Cursor{Epoch: r.epoch, Seq: r.newest}.String()
	r.queue, r.Browser = queue, queue == browserQueue
	if queue = queueName(queue); queue != "" {
		r.Queue = &queue
	}
	r.Actions, r.Payload, r.Metadata, r.Result = actions, payload, meta, result
	r.CreatedAt = jobs.At(fromMillis(created))
	r.RunAt, r.ExpiresAt = optTime(runAt), optTime(expires)
	r.StartedAt, r.CompletedAt, r.NextAttemptAt = optTime(started), optTime(completed), optTime(next)
	r.Artifacts = []jobs.Artifact{}
	if settings != nil {
		var b browsing
		if err := json.Unmarshal(settings, &b); err != nil {
			return r, fmt.Errorf("read browsing of job %s: %w", r.ID, err)
		}
		b.show(&r.Job)
	}
	if progress != nil {
		err = r.show(tailData(progress))
	}
	return r, err
}

// show has the job show the data of a progress event.
func (r *jobRow) show(progress []byte) error {
	var data struct {
		Progress *float64
		Message  *string
		Step     *string
	}
	if err := json.Unmarshal(progress, &data); err != nil {
		return fmt.Errorf("read progress of job %s: %w", r.ID, err)
	}
	r.Progress, r.Message, r.Step = data.Progress, data.Message, data.Step
	return nil
}

// queueName is the queue that a job is in for its client; empty: none.
func queueName(queue string) string {
	if queue == browserQueue {
		return ""
	}
	return queue
}

func optTime(ms sql.NullInt64) *jobs.Time {
	if !ms.Valid {
		return nil
	}
	t := jobs.At(fromMillis(ms.Int64))
	return &t
}

// tailData returns the data object of an event's tail. Nothing before it can
// contain the marker: type, id, status and timestamp need no quotes inside.
func tailData(tail []byte) []byte {
	_, data, _ := bytes.Cut(tail, []byte(tailDataStart))
	return bytes.TrimSuffix(data, []byte("}"))
}

// job reads one job, whole; nil if there is none or it is not this client's. query
// begins with sqlJobColumns, args belong to what follows them, and further is where
// columns that follow go.
func (s *conn) job(query string, args []any, further ...any) (*jobRow, error) {
	return s.jobWithin(wholeJob, query, args, further)
}

// brief is job without the members that jobs.Job.Abridge leaves out, which are not
// read.
func (s *conn) brief(query string, args []any, further ...any) (*jobRow, error) {
	return s.abridged(jobs.MaxBriefBytes, query, args, further...)
}

// abridged is brief with another limit, as jobs.Job.AbridgeTo has it.
func (s *conn) abridged(limit int, query string, args []any, further ...any) (*jobRow, error) {
	r, err := s.jobWithin(int64(limit), query, args, further)
	if err != nil || r == nil {
		return nil, err
	}
	var u jobs.Unread
	if r.unread {
		if _, err := s.row(sqlJobSizes, []any{r.id}, &u.Payload, &u.Actions, &u.Result, &u.Metadata); err != nil {
			return nil, fmt.Errorf("read sizes of job %s: %w", r.ID, err)
		}
	}
	r.AbridgeTo(limit, u)
	if !r.unread {
		return r, nil
	}
	wants := func(member string) bool { return !slices.Contains(r.Omitted, member) }
	_, err = s.row(sqlJobMembers, []any{wants("payload"), wants("actions"), wants("result"), wants("metadata"), r.id},
		(*[]byte)(&r.Payload), (*[]byte)(&r.Actions), (*[]byte)(&r.Result), (*[]byte)(&r.Metadata))
	if err != nil {
		return nil, fmt.Errorf("read members of job %s: %w", r.ID, err)
	}
	return r, nil
}

func (s *conn) jobWithin(limit int64, query string, args, further []any) (*jobRow, error) {
	return s.oneJob(query, append([]any{limit}, args...), further)
}

// readyJob reads a job that is about to begin, whole but for its cursor; nil if it is not ready.
func (s *conn) readyJob(id int64) (*jobRow, error) {
	var hosts []byte
	r, err := s.oneJob(sqlReadyJob, []any{id}, []any{&hosts})
	if err != nil || r == nil {
		return nil, err
	}
	r.Hosts, err = blobHosts(hosts)
	return r, err
}

func (s *conn) oneJob(query string, args, further []any) (*jobRow, error) {
	var found *jobRow
	err := s.each(query, args, func(rows *sql.Rows) (bool, error) {
		r, err := scanJob(rows, further)
		found = &r
		return false, err
	})
	if err != nil || found == nil {
		return nil, err
	}
	return found, s.addArtifacts(found)
}

// addArtifacts reads what a job left behind, once its row is closed: one statement
// at a time.
func (s *conn) addArtifacts(r *jobRow) (err error) {
	if r.artifacts {
		r.Artifacts, err = s.artifacts(r.id, r.ID)
	}
	return err
}

// briefByID reads a job that is known to exist, without its large members.
func (s *conn) briefByID(id int64) (jobs.Job, error) {
	return known(id)(s.brief(sqlJobByID, []any{id}))
}

// jobByID reads a job that is known to exist.
func (s *conn) jobByID(id int64) (jobs.Job, error) { return known(id)(s.job(sqlJobByID, []any{id})) }

func known(id int64) func(*jobRow, error) (jobs.Job, error) {
	return func(r *jobRow, err error) (jobs.Job, error) {
		switch {
		case err != nil:
			return jobs.Job{}, err
		case r == nil:
			return jobs.Job{}, fmt.Errorf("job %d is missing", id)
		}
		return r.Job, nil
	}
}

// cursorAt is the cursor at seq, which epoch covers; at 0, which none does, it is NULL.
func cursorAt(epoch sql.NullString, seq uint64) string {
	return eventlog.Cursor{Epoch: epoch.String, Seq: seq}.String()
}

// position returns the cursor at seq: it bears the epoch that covers it.
func (s *conn) position(client int64, seq uint64) (string, error) {
	c := eventlog.Cursor{Seq: seq}
	if seq == 0 {
		return c.String(), nil
	}
	found, err := s.row(sqlEpochAt, []any{client, seq}, &c.Epoch)
	if err == nil && !found {
		err = fmt.Errorf("no epoch covers event %d of client %d", seq, client)
	}
	return c.String(), err
}
