package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// Job ids of the old database.
const (
	oldPending = "01936c5e-0000-7000-8000-000000000001"
	oldDone    = "01936c5e-0000-7000-8000-000000000002"
)

// oldData is what a program of schema version 2 left: one job waits, one is completed.
var oldData = []string{
	`INSERT INTO clients (id, name, last_seq) VALUES (7, 'a', 4)`,
	`INSERT INTO epochs (client, from_seq, epoch) VALUES (7, 1, 'old1'), (7, 3, 'old2')`,
	`INSERT INTO jobs (id, uuid, client, queue, status, ready, priority, attempt, max_attempts, timeout_ms, created_at, started_at, completed_at, result)
	VALUES (1, '` + oldPending + `', 7, 'q', 0, 1, 0, 0, 3, 60000, 1700000000000, NULL, NULL, NULL),
	(2, '` + oldDone + `', 7, 'q', 2, 0, 0, 1, 3, 60000, 1700000000001, 1700000000002, 1700000000003, '{}')`,
	`INSERT INTO specs (job, payload) VALUES (1, '{"n":1}'), (2, '{"n":2}')`,
	`INSERT INTO events (client, seq, job, kind, tail) VALUES
	(7, 1, 1, 1, ',"type":"job.created","jobId":"` + oldPending + `","status":"pending","timestamp":"2023-11-14T22:13:20.000Z","data":{}}'),
	(7, 2, 2, 1, ',"type":"job.created","jobId":"` + oldDone + `","status":"pending","timestamp":"2023-11-14T22:13:20.001Z","data":{}}'),
	(7, 3, 2, 2, ',"type":"job.started","jobId":"` + oldDone + `","status":"processing","timestamp":"2023-11-14T22:13:20.002Z","data":{}}'),
	(7, 4, 2, 4, ',"type":"job.completed","jobId":"` + oldDone + `","status":"completed","timestamp":"2023-11-14T22:13:20.003Z","data":{}}')`,
	`UPDATE counts SET n = 1 WHERE status IN (0, 2)`,
	`INSERT INTO artifacts (job, name, file, size, content_type, digest) VALUES (2, 'out.txt', 'f1', 5, 'text/plain', zeroblob(32))`,
	`INSERT INTO api_keys (key_id, client, name, hash, scopes, created_at) VALUES ('k1', 7, 'one', zeroblob(32), 'jobs:read', 1700000000000)`,
}

// makeOld makes a database of schema version 2 with data.
func makeOld(t *testing.T, dir string) {
	t.Helper()
	db := sql.OpenDB(writerConnector(dir, busyTimeoutMs))
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := migrator(db)
	if err := errors.Join(err, checkOwner(t.Context(), db)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, query := range oldData {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

// TestMigrateOld: what an older program left is all there, and goes on.
func TestMigrateOld(t *testing.T) {
	dir := t.TempDir()
	makeOld(t, dir)
	rooms := []session.Room{{N: 1, Job: oldDone, Start: eventlog.Cursor{Epoch: "old1", Seq: 2}, JoinedAt: 4}}
	s, err := Open(t.Context(), dir, Options{Serving: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.JoinRoom(t.Context(), "a", "s", rooms[0], nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openServing(t, dir, Options{}) // once more: now there is nothing to migrate
	got, err := s.Session(t.Context(), "a", "s")
	if diff := cmp.Diff(rooms, got.Rooms); diff != "" || err != nil || got.Left {
		t.Errorf("session: %v, left %v, rooms (-want +got):\n%s", err, got.Left, diff)
	}
	state, err := s.Open(t.Context(), eventlog.Room{Client: "a", Job: oldDone}, nil)
	if err != nil || state.HeadID != "old2-4" || state.OldestID != "old1-1" || state.BeforeEnd != "old2-3" || !bytes.Contains(state.Job, []byte(`"artifacts":[{`)) {
		t.Errorf("room of the completed job: %+v, %v", state, err)
	}
	page, err := s.Page(t.Context(), eventlog.Room{Client: "a"}, 0, 100, 1<<20)
	var ids []string
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	if diff := cmp.Diff([]string{"old1-1", "old1-2", "old2-3", "old2-4"}, ids); diff != "" || err != nil {
		t.Errorf("log: %v (-want +got):\n%s", err, diff)
	}
	if k, err := s.KeyByHash(t.Context(), [32]byte{}); err != nil || k.ID != "k1" || k.ClientID != "a" {
		t.Errorf("key: %+v, %v", k, err)
	}
	if u, err := s.Usage(t.Context(), "a"); err != nil || u != (jobs.Usage{Jobs: 1, Artifacts: 5}) {
		t.Errorf("usage %+v, %v", u, err)
	}
	l, err := s.Claim(t.Context(), jobs.Claim{Client: "a", Queues: []string{"q"}, Max: 2, TTL: time.Hour})
	if err != nil || len(l) != 1 || l[0].Job.ID != oldPending || string(l[0].Job.Payload) != `{"n":1}` {
		t.Fatalf("claimed %+v, %v", l, err)
	}
	if j, err := s.Complete(t.Context(), l[0].Lease, nil); err != nil || j.Status != jobs.Completed {
		t.Errorf("complete: %+v, %v", j, err)
	}
	if u, err := s.Usage(t.Context(), "a"); err != nil || u != (jobs.Usage{Artifacts: 5}) {
		t.Errorf("usage %+v, %v", u, err)
	}
	if n, err := s.Counts(t.Context()); err != nil || n[jobs.Completed] != 2 || n[jobs.Pending] != 0 {
		t.Errorf("counts %v, %v", n, err)
	}
}
