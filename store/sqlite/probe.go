package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/jobcast/jobcast/jobs"
)

const (
	probeChunk = 1 << 20         // bytes read at a time
	probeTime  = 2 * time.Second // how long a database is read in search of an error; then it counts as readable
	probeEvery = 5 * time.Second // how long a finding holds
)

// prober finds out whether files can be read.
type prober struct {
	mu    sync.Mutex // held while reading; guards what is below
	at    time.Time  // of the newest finding
	found error
}

// read reads all of files and returns the first error. A finding is good for
// probeEvery.
func (p *prober) read(files []*os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.at.IsZero() || now.Sub(p.at) > probeEvery {
		p.at, p.found = now, readAll(files, now.Add(probeTime))
	}
	return p.found
}

func readAll(files []*os.File, until time.Time) error {
	buf := make([]byte, probeChunk)
	for _, file := range files {
		for at := int64(0); time.Now().Before(until); at += probeChunk {
			_, err := file.ReadAt(buf, at)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// storageError is the function of that name, and knows better what SQLite calls
// corrupt: it says so too if the disk fails to answer a read (EIO), which may pass.
// The caller has tried twice.
func (h *health) storageError(err error) error {
	err = storageError(err)
	if !corrupt(err) {
		return err
	}
	if cause := h.probe.read(h.probes); cause != nil {
		return fmt.Errorf("%w: %w: %w", jobs.ErrUnavailable, cause, err)
	}
	return err
}

// corrupt reports whether SQLite read what no database holds. A connection that met it
// in a transaction does not write any more.
func corrupt(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && se.Code == sqlite3.ErrCorrupt
}
