package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlArtifacts      = `SELECT name, size, content_type FROM artifacts WHERE job = ? ORDER BY id`
	sqlArtifactFile   = `SELECT file FROM artifacts WHERE job = ? AND name = ?`
	sqlArtifactCount  = `SELECT count(*) FROM artifacts WHERE job = ?`
	sqlAddArtifact    = `INSERT INTO artifacts (job, name, file, size, content_type, digest) VALUES (?, ?, ?, ?, ?, ?)`
	sqlReplace        = `UPDATE artifacts SET file = ?, size = ?, content_type = ?, digest = ? WHERE job = ? AND name = ?`
	sqlAddGarbage     = `INSERT INTO garbage (file) VALUES (?)`
	sqlArtifactsGone  = `INSERT INTO garbage (file) SELECT file FROM artifacts WHERE job = ?`
	sqlDelArtifacts   = `DELETE FROM artifacts WHERE job = ?`
	sqlGarbage        = `SELECT file FROM garbage LIMIT ?`
	sqlForget         = `DELETE FROM garbage WHERE file = ?`
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
		if err := b.putArtifact(r, a, only); err != nil {
			return jobs.Receipt{}, err
		}
		expires, err := b.renew(r)
		if err != nil {
			return jobs.Receipt{}, err
		}
		id, err := b.append(r.head, r.id, r.uuid, b.now(), jobs.ArtifactAdded(a.Artifact))
		return jobs.Receipt{LastEventID: id, ExpiresAt: expires}, err
	})
}

// putArtifact inserts or replaces the row of an artifact; see jobs.Store.AddArtifact for only.
func (b *batch) putArtifact(r running, a jobs.StoredArtifact, only *jobs.Replaced) error {
	var old string
	replaces, err := b.row(sqlArtifactFile, []any{r.id, a.Name}, &old)
	if err != nil {
		return err
	}
	if only != nil && only.File != old {
		return refuse(jobs.ErrArtifactChanged)
	}
	if replaces {
		if _, err := b.exec(sqlReplace, a.File, a.Size, a.ContentType, a.Digest[:], r.id, a.Name); err != nil {
			return fmt.Errorf("replace artifact of job %s: %w", r.uuid, err)
		}
		if _, err := b.exec(sqlAddGarbage, old); err != nil {
			return fmt.Errorf("note garbage: %w", err)
		}
		return nil
	}
	var n int
	if _, err := b.row(sqlArtifactCount, []any{r.id}, &n); err != nil {
		return err
	}
	if n >= jobs.MaxArtifacts {
		j, err := b.briefByID(r.id)
		if err != nil {
			return err
		}
		return refuse(&jobs.ConflictError{Job: j, Detail: fmt.Sprintf("a job has at most %d artifacts", jobs.MaxArtifacts)})
	}
	if _, err := b.exec(sqlAddArtifact, r.id, a.Name, a.File, a.Size, a.ContentType, a.Digest[:]); err != nil {
		return fmt.Errorf("insert artifact of job %s: %w", r.uuid, err)
	}
	return nil
}

// dropArtifacts makes garbage of the files of a job that goes.
func (b *batch) dropArtifacts(job int64) error {
	if _, err := b.exec(sqlArtifactsGone, job); err != nil {
		return fmt.Errorf("note garbage: %w", err)
	}
	if _, err := b.exec(sqlDelArtifacts, job); err != nil {
		return fmt.Errorf("delete artifacts: %w", err)
	}
	return nil
}

// artifacts lists what a job left behind, in the order in which the names came.
func (s *session) artifacts(job int64, uuid string) ([]jobs.Artifact, error) {
	list := []jobs.Artifact{}
	err := s.each(sqlArtifacts, []any{job}, func(rows *sql.Rows) (bool, error) {
		var a jobs.Artifact
		err := rows.Scan(&a.Name, &a.Size, &a.ContentType)
		a.URL = jobs.ArtifactURL(uuid, a.Name)
		list = append(list, a)
		return true, err
	})
	return list, err
}

// Artifact implements jobs.Store.
func (s *Store) Artifact(ctx context.Context, client, jobID, name string) (jobs.StoredArtifact, error) {
	return read(ctx, s, func(db *session) (jobs.StoredArtifact, error) {
		var a jobs.StoredArtifact
		var digest []byte
		found, err := db.row(sqlStoredArtifact, []any{jobID, client, name},
			&a.Name, &a.Size, &a.ContentType, &a.File, &digest)
		if err != nil {
			return a, err
		}
		if found {
			a.URL, a.Digest = jobs.ArtifactURL(jobID, a.Name), [32]byte(digest)
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
func (s *Store) Garbage(ctx context.Context, limit int) ([]string, error) {
	return read(ctx, s, func(db *session) ([]string, error) {
		var files []string
		err := db.each(sqlGarbage, []any{limit}, func(rows *sql.Rows) (bool, error) {
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
			if _, err := b.exec(sqlForget, file); err != nil {
				return struct{}{}, fmt.Errorf("forget garbage: %w", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// KnownFiles implements jobs.Store.
func (s *Store) KnownFiles(ctx context.Context, files []string) ([]string, error) {
	return read(ctx, s, func(db *session) ([]string, error) {
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
