package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlArtifacts     = `SELECT name, size, content_type FROM artifacts WHERE job = ? ORDER BY id`
	sqlArtifactFile  = `SELECT file, size FROM artifacts WHERE job = ? AND name = ?`
	sqlArtifactCount = `SELECT count(*) FROM artifacts WHERE job = ?`
	sqlAddArtifact   = `INSERT INTO artifacts (job, name, file, size, content_type, digest) VALUES (?, ?, ?, ?, ?, ?)`
	sqlReplace       = `UPDATE artifacts SET file = ?, size = ?, content_type = ?, digest = ? WHERE job = ? AND name = ?`
	sqlArtifactsSize = `SELECT j.client, a.size, (a.size + 4095) / 4096 * 4096 FROM json_each(?) i CROSS JOIN artifacts a ON a.job = i.value
	CROSS JOIN jobs j ON j.id = a.job`
	sqlAddGarbage     = `INSERT INTO garbage (file, size) VALUES (?, ?)`
	sqlArtifactsGone  = `INSERT INTO garbage (file, size) SELECT file, size FROM artifacts WHERE job IN (SELECT value FROM json_each(?))`
	sqlDelArtifacts   = `DELETE FROM artifacts WHERE job IN (SELECT value FROM json_each(?))`
	sqlGarbage        = `SELECT file FROM garbage WHERE file > ? ORDER BY file LIMIT ?`
	sqlForget         = `DELETE FROM garbage WHERE file = ? RETURNING size`
	sqlKnownFile      = `SELECT id FROM artifacts WHERE file = ?`
	sqlStoredArtifact = `SELECT a.name, a.size, a.content_type, a.file, a.digest FROM jobs j
	CROSS JOIN clients c ON c.id = j.client CROSS JOIN artifacts a ON a.job = j.id
	WHERE j.uuid = ? AND c.name = ? AND j.status < 5 AND a.name = ?`
	sqlOwned = `SELECT j.id FROM jobs j JOIN clients c ON c.id = j.client WHERE j.uuid = ? AND c.name = ? AND j.status < 5`
)

// AddArtifact implements jobs.Store.
func (s *Store) AddArtifact(ctx context.Context, l jobs.Lease, a jobs.StoredArtifact, only *jobs.Replaced) (jobs.Receipt, error) {
	return write(ctx, s, 1, func(b *batch) (jobs.Receipt, error) {
		r, err := b.holding(l)
		if err != nil {
			return jobs.Receipt{}, err
		}
		replaced, err := b.putArtifact(r, a, only)
		if err != nil {
			return jobs.Receipt{}, err
		}
		r.artifacts = true
		lasts, err := b.renew(r)
		if err != nil {
			return jobs.Receipt{}, err
		}
		id, err := b.append(r.head, r.id, r.uuid, b.now(), jobs.ArtifactAdded(a.Artifact))
		return jobs.Receipt{LastEventID: id, Lasts: lasts, Replaced: replaced}, err
	})
}

// putArtifact inserts or replaces the row of an artifact and returns the file that
// it replaces; see jobs.Store.AddArtifact for only.
func (b *batch) putArtifact(r running, a jobs.StoredArtifact, only *jobs.Replaced) (string, error) {
	old, err := b.oldArtifact(r, a.Name)
	if err != nil {
		return "", err
	}
	if only != nil && only.File != old.file {
		return "", refuse(jobs.ErrArtifactChanged)
	}
	if old.file == "" {
		if err := b.countArtifacts(r); err != nil {
			return "", err
		}
	}
	if err := b.takeHold(r.head, a, old.size); err != nil {
		return "", err
	}
	if old.file == "" {
		if _, err := b.exec(sqlAddArtifact, r.id, a.Name, a.File, a.Size, a.ContentType, a.Digest[:]); err != nil {
			return "", fmt.Errorf("insert artifact of job %s: %w", r.uuid, err)
		}
	} else {
		if _, err := b.exec(sqlReplace, a.File, a.Size, a.ContentType, a.Digest[:], r.id, a.Name); err != nil {
			return "", fmt.Errorf("replace artifact of job %s: %w", r.uuid, err)
		}
		if _, err := b.exec(sqlAddGarbage, old.file, old.size); err != nil {
			return "", fmt.Errorf("note garbage: %w", err)
		}
	}
	r.head.artifacts += a.Size - old.size
	r.head.disk += onDisk(a.Size) - onDisk(old.size)
	r.head.changed = true
	b.files += onDisk(a.Size) // the old file is garbage and still there
	return old.file, nil
}

// oldFile is the file of an artifact that is there; empty if none is.
type oldFile struct {
	file string
	size int64
}

func (b *batch) oldArtifact(r running, name string) (old oldFile, err error) {
	_, err = b.row(sqlArtifactFile, []any{r.id, name}, &old.file, &old.size)
	return old, err
}

// countArtifacts refuses one more name than a job may have.
func (b *batch) countArtifacts(r running) error {
	var n int
	if _, err := b.row(sqlArtifactCount, []any{r.id}, &n); err != nil || n < jobs.MaxArtifacts {
		return err
	}
	j, err := b.briefByID(r.id)
	if err != nil {
		return err
	}
	return refuse(&jobs.ConflictError{Job: j, Detail: fmt.Sprintf("a job has at most %d artifacts", jobs.MaxArtifacts)})
}

// dropArtifacts makes garbage of the files of jobs that go; ids is a JSON array of rows.
func (b *batch) dropArtifacts(ids string) error {
	some := false
	err := b.each(sqlArtifactsSize, []any{ids}, func(rows *sql.Rows) (bool, error) {
		var client, size, disk int64
		if err := rows.Scan(&client, &size, &disk); err != nil {
			return false, err
		}
		head, err := b.clientByID(client)
		if err != nil {
			return false, err
		}
		head.artifacts -= size
		head.disk -= disk
		head.changed, some = true, true
		return true, nil
	})
	if err != nil || !some {
		return err
	}
	if _, err := b.exec(sqlArtifactsGone, ids); err != nil {
		return fmt.Errorf("note garbage: %w", err)
	}
	if _, err := b.exec(sqlDelArtifacts, ids); err != nil {
		return fmt.Errorf("delete artifacts: %w", err)
	}
	return nil
}

// artifacts lists what a job left behind, in the order in which the names came.
func (s *conn) artifacts(job int64, uuid string) ([]jobs.Artifact, error) {
	list := []jobs.Artifact{}
	err := s.each(sqlArtifacts, []any{job}, func(rows *sql.Rows) (bool, error) {
		var a jobs.Artifact
		err := rows.Scan(&a.Name, &a.Size, &a.ContentType)
		a.URL = jobs.ArtifactURL(s.base, uuid, a.Name)
		list = append(list, a)
		return true, err
	})
	return list, err
}

// Artifact implements jobs.Store.
func (s *Store) Artifact(ctx context.Context, client, jobID, name string) (jobs.StoredArtifact, error) {
	return read(ctx, s, func(db *conn) (jobs.StoredArtifact, error) {
		var a jobs.StoredArtifact
		var digest []byte
		found, err := db.row(sqlStoredArtifact, []any{jobID, client, name},
			&a.Name, &a.Size, &a.ContentType, &a.File, &digest)
		if err != nil {
			return a, err
		}
		if found {
			a.URL, a.Digest = jobs.ArtifactURL(s.opts.BasePath, jobID, a.Name), [32]byte(digest)
			return a, nil
		}
		var id int64
		if found, err = db.row(sqlOwned, []any{jobID, client}, &id); err == nil && !found {
			err = jobs.ErrNotFound
		}
		if err == nil {
			err = jobs.ErrNoArtifact
		}
		return a, err
	})
}

// Garbage implements jobs.Store.
func (s *Store) Garbage(ctx context.Context, after string, limit int) ([]string, error) {
	return read(ctx, s, func(db *conn) ([]string, error) {
		var files []string
		err := db.each(sqlGarbage, []any{after, limit}, func(rows *sql.Rows) (bool, error) {
			var file string
			err := rows.Scan(&file)
			files = append(files, file)
			return true, err
		})
		return files, err
	})
}

// ForgetGarbage implements jobs.Store.
func (s *Store) ForgetGarbage(ctx context.Context, files []string) error {
	_, err := write(ctx, s, len(files), func(b *batch) (struct{}, error) {
		for _, file := range files {
			var size int64
			if _, err := b.row(sqlForget, []any{file}, &size); err != nil {
				return struct{}{}, fmt.Errorf("forget garbage: %w", err)
			}
			b.files -= onDisk(size)
		}
		return struct{}{}, nil
	})
	return err
}

// KnownFiles implements jobs.Store.
func (s *Store) KnownFiles(ctx context.Context, files []string) ([]string, error) {
	return read(ctx, s, func(db *conn) ([]string, error) {
		var known []string
		for _, file := range files {
			var id int64
			found, err := db.row(sqlKnownFile, []any{file}, &id)
			if err != nil {
				return nil, err
			}
			if found {
				known = append(known, file)
			}
		}
		return known, nil
	})
}
