package reference

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jobcast/jobcast/jobs"
)

// artifact returns the artifact of a name, and where it stands; -1 if there is none.
func (j *job) artifact(name string) (jobs.StoredArtifact, int) {
	i := slices.IndexFunc(j.artifacts, func(a jobs.StoredArtifact) bool { return a.Name == name })
	if i < 0 {
		return jobs.StoredArtifact{}, i
	}
	return j.artifacts[i], i
}

// replaceable returns the artifact whose place one of this name would take. It refuses
// one more name than a job may have.
func (j *job) replaceable(name string) (jobs.StoredArtifact, error) {
	old, i := j.artifact(name)
	if i < 0 && len(j.artifacts) >= jobs.MaxArtifacts {
		return old, &jobs.ConflictError{Job: j.brief(), Detail: fmt.Sprintf("a job has at most %d artifacts", jobs.MaxArtifacts)}
	}
	return old, nil
}

// AddArtifact implements jobs.Store.
func (s *Store) AddArtifact(ctx context.Context, l jobs.Lease, a jobs.StoredArtifact, only *jobs.Replaced) (jobs.Receipt, error) {
	return write(ctx, s, func() (jobs.Receipt, error) {
		j, err := s.holding(l)
		if err != nil {
			return jobs.Receipt{}, err
		}
		old, i := j.artifact(a.Name)
		if only != nil && only.File != old.File {
			return jobs.Receipt{}, jobs.ErrArtifactChanged
		}
		if _, err := j.replaceable(a.Name); err != nil {
			return jobs.Receipt{}, err
		}
		if err := s.takeHold(j.ClientID, a, old.Size); err != nil {
			return jobs.Receipt{}, err
		}
		a.Hold = ""
		j.artifacts = slices.Clone(j.artifacts)
		if i < 0 {
			j.artifacts = append(j.artifacts, a)
		} else {
			j.artifacts[i] = a
			s.tables.garbage[old.File] = old.Size
		}
		j = s.append(j, s.now(), jobs.ArtifactAdded(a.Artifact))
		return jobs.Receipt{LastEventID: j.Cursor, Lasts: s.renew(j), Replaced: old.File}, nil
	})
}

// takeHold ends the hold of an artifact that is there now, and refuses it if it is larger
// than what was held and there is no room.
func (s *Store) takeHold(client string, a jobs.StoredArtifact, old int64) error {
	held, ok := s.holds[a.Hold]
	delete(s.holds, a.Hold)
	if err := s.artifactFits(client, a.Size, old); err != nil {
		return err
	}
	if ok && held.bytes >= a.Size {
		return nil
	}
	return s.room(onDisk(a.Size) + rowBytes)
}

// Artifact implements jobs.Store.
func (s *Store) Artifact(_ context.Context, client, jobID, name string) (jobs.StoredArtifact, error) {
	return read(s, func() (jobs.StoredArtifact, error) {
		j, err := s.find(client, jobID)
		if err != nil {
			return jobs.StoredArtifact{}, err
		}
		a, i := j.artifact(name)
		if i < 0 {
			return a, jobs.ErrNoArtifact
		}
		return a, nil
	})
}

// Garbage implements jobs.Store.
func (s *Store) Garbage(_ context.Context, after string, limit int) ([]string, error) {
	return read(s, func() (files []string, _ error) {
		for _, file := range slices.Sorted(maps.Keys(s.tables.garbage)) {
			if file > after && len(files) < limit {
				files = append(files, file)
			}
		}
		return files, nil
	})
}

// ForgetGarbage implements jobs.Store.
func (s *Store) ForgetGarbage(ctx context.Context, files []string) error {
	return s.do(ctx, func() error {
		for _, file := range files {
			delete(s.tables.garbage, file)
		}
		return nil
	})
}

// KnownFiles implements jobs.Store.
func (s *Store) KnownFiles(_ context.Context, files []string) ([]string, error) {
	return read(s, func() (known []string, _ error) {
		for _, file := range files {
			for _, j := range s.tables.jobs {
				if slices.ContainsFunc(j.artifacts, func(a jobs.StoredArtifact) bool { return a.File == file }) {
					known = append(known, file)
				}
			}
		}
		return known, nil
	})
}
