package sqlite

import "sync/atomic"

// When the WAL is moved into the database. Measured beside deletions that write 50 MiB of
// WAL a second: with all of it done between two commits, one submit in a hundred waited 5 ms.
const (
	checkpointLook  = 16     // commits after which the checkpointer looks how long the WAL is
	checkpointPages = 2_000  // pages that are worth moving
	checkpointFull  = 6_000  // pages of WAL from which it shall begin anew
	autoCheckpoint  = 12_000 // pages from which SQLite moves them after each commit, should the checkpointer not keep up
)

const (
	sqlWAL        = `PRAGMA wal_checkpoint(NOOP)`    // only tells
	sqlCheckpoint = `PRAGMA wal_checkpoint(PASSIVE)` // waits for nobody, and nobody for it
)

// checkpointer moves the WAL into the database while the committer goes on. The WAL can
// begin anew only when all of it has been moved, and while the checkpointer is at work it
// grows: the committer moves the few pages of that time itself.
type checkpointer struct {
	look    chan struct{} // holds one
	rest    atomic.Bool   // the committer shall move what is left
	commits int           // the committer's
}

func newCheckpointer() *checkpointer { return &checkpointer{look: make(chan struct{}, 1)} }

// committed is called by the committer, with its connection, after a commit.
func (c *checkpointer) committed(db *conn) {
	if c.rest.Swap(false) {
		_, _, _ = db.checkpoint(sqlCheckpoint) // what fails here is tried again by the checkpointer
	}
	if c.commits++; c.commits%checkpointLook == 0 {
		select {
		case c.look <- struct{}{}:
		default:
		}
	}
}

// checkpoints moves the WAL on a connection of its own, until the store closes.
func (s *Store) checkpoints(db *conn) {
	c := s.committer.checkpointer
	defer func() { _ = db.close() }() // it holds nothing that has to be written
	for {
		select {
		case <-s.closing:
			return
		case <-c.look:
		}
		pages, moved, err := db.checkpoint(sqlWAL)
		if err == nil && pages-moved >= checkpointPages {
			pages, _, err = db.checkpoint(sqlCheckpoint)
		}
		switch {
		case err != nil: // the committer meets the same trouble, and tells it
			if fresh, err := s.renew(s.writerDB, db); err == nil {
				db = fresh
			}
		case pages >= checkpointFull:
			c.rest.Store(true)
		}
	}
}

// checkpoint runs one of the PRAGMAs above. It returns how many pages stand in the WAL, and
// how many of them in the database too.
func (s *conn) checkpoint(query string) (pages, moved int, err error) {
	var busy int
	_, err = s.row(query, nil, &busy, &pages, &moved)
	return pages, moved, err
}
