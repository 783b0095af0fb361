package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jobcast/jobcast/jobs"
)

// How room in the data folder is reckoned.
const (
	blockBytes = 4096 // what a file takes at least
	rowBytes   = 2048 // of a small row beside its texts, with its first event and its place in the indexes
	eventRow   = 256  // of an event beside its data, with its place in the indexes

	// reserveShare and maxReserve make the part of the bound that only ends of
	// jobs may fill: one in so many bytes, and no more than that.
	reserveShare = 16
	maxReserve   = 64 << 20
)

const (
	sqlPageCount  = `PRAGMA page_count`
	sqlFreePages  = `PRAGMA freelist_count`
	sqlPageSize   = `PRAGMA page_size`
	sqlArtifacted = `SELECT coalesce(sum(artifact_bytes), 0), coalesce(sum(artifact_disk), 0),
	coalesce(max(open_jobs), 0), coalesce(max(artifact_bytes), 0) FROM clients`
	sqlGarbageSize = `SELECT coalesce(sum((size + 4095) / 4096 * 4096), 0) FROM garbage`
	sqlUsage       = `SELECT open_jobs, artifact_bytes FROM clients WHERE name = ?`
)

// storage is the account of the data folder. Pages that are free do not count,
// because the database fills them before it grows.
type storage struct {
	limit int64  // 0: none
	wal   string // path
	pages int64  // bytes of the database's pages in use, and of the WAL
	files int64  // bytes on the disk of artifacts and of garbage
	held  int64  // bytes on the disk that uploads under way may still take
}

func newStorage(dir string, limit int64) storage {
	return storage{limit: limit, wal: filepath.Join(dir, databaseFile+"-wal")}
}

func (s *storage) used() int64 { return s.pages + s.files + s.held }

// fillable is how much of the bound may be filled by what adds.
func (s *storage) fillable() int64 { return s.limit - min(s.limit/reserveShare, maxReserve) }

// spent reports whether the reserve is taken as well.
func (s *storage) spent() bool { return s.limit > 0 && s.used() >= s.limit }

// refusal is nil if asked further bytes have room beside grown ones.
func (s *storage) refusal(grown, asked int64) error {
	if s.limit <= 0 || s.used()+grown+asked <= s.fillable() {
		return nil
	}
	return &jobs.LimitError{What: jobs.LimitStorage, Max: s.fillable(), Used: s.used() + grown, Asked: asked}
}

// count reads what the files take.
func (s *storage) count(db *conn) error {
	f, err := db.files()
	s.files = f
	return err
}

// files is how many bytes of the disk artifacts and garbage take.
func (s *conn) files() (int64, error) {
	var bytes, disk, jobsMost, bytesMost, garbage int64
	if _, err := s.row(sqlArtifacted, nil, &bytes, &disk, &jobsMost, &bytesMost); err != nil {
		return 0, fmt.Errorf("sum artifacts: %w", err)
	}
	if _, err := s.row(sqlGarbageSize, nil, &garbage); err != nil {
		return 0, fmt.Errorf("sum garbage: %w", err)
	}
	return disk + garbage, nil
}

// pagesInUse is how many bytes the database takes, with its WAL.
func (s *conn) pagesInUse(wal string) (int64, error) {
	var n, free, size int64
	for query, value := range map[string]*int64{sqlPageCount: &n, sqlFreePages: &free, sqlPageSize: &size} {
		if _, err := s.row(query, nil, value); err != nil {
			return 0, fmt.Errorf("measure database: %w", err)
		}
	}
	bytes := (n - free) * size
	if info, err := os.Stat(wal); err == nil { // it is not there before the first commit
		bytes += info.Size()
	}
	return bytes, nil
}

// measure notes how large the database is; what cannot be measured stays as it was.
func (c *committer) measure() {
	st := &c.st.storage
	if st.limit <= 0 {
		return
	}
	if pages, err := c.db.pagesInUse(st.wal); err == nil {
		st.pages = pages
	} else {
		c.health.log.Warn("the size of the database is not known", "error", err)
	}
	c.health.bounded.Store(st.refusal(0, rowBytes) != nil)
}

// grow counts asked bytes that a command is about to add to the database, or refuses
// it. They stand in the WAL too, until that is written anew.
func (b *batch) grow(asked int64) error {
	if asked == 0 {
		return nil
	}
	if err := b.st.storage.refusal(b.grown, asked); err != nil {
		return refuse(err)
	}
	b.grown += 2 * asked
	return nil
}

// bytesOf is about how much events take.
func bytesOf(bodies []jobs.Body) int64 {
	n := int64(0)
	for _, body := range bodies {
		n += int64(len(body.Data)) + eventRow
	}
	return n
}

// onDisk is what a file of size bytes takes.
func onDisk(size int64) int64 { return (size + blockBytes - 1) / blockBytes * blockBytes }

// Usage implements jobs.Store.
func (s *Store) Usage(ctx context.Context, client string) (jobs.Usage, error) {
	return readOnce(ctx, s, func(db *conn) (u jobs.Usage, err error) {
		_, err = db.row(sqlUsage, []any{client}, &u.Jobs, &u.Artifacts)
		return u, err
	})
}

// Filled implements jobs.Store.
func (s *Store) Filled(ctx context.Context) (jobs.Filled, error) {
	return read(ctx, s, func(db *conn) (f jobs.Filled, err error) {
		var disk int64
		if _, err := db.row(sqlArtifacted, nil, &f.Artifacts, &disk, &f.Most.Jobs, &f.Most.Artifacts); err != nil {
			return f, err
		}
		files, err := db.files()
		if err != nil {
			return f, err
		}
		pages, err := db.pagesInUse(s.committer.st.storage.wal)
		f.Storage = pages + files
		return f, err
	})
}
