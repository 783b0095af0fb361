// Package files keeps the bytes of artifacts in one folder. A file has a random
// name and never changes: it is written under another name, made durable, and
// then appears whole. Which job it belongs to is the database's affair; a file
// that the database does not know is garbage, left by a crash, and Sweep
// removes it.
package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jobcast/jobcast/jobs"
)

var _ jobs.Files = (*Files)(nil)

const (
	folder      = "artifacts"
	draftSuffix = ".part"
	sweepBatch  = 500 // names asked about at once
)

// Files is the folder. It is safe for concurrent use.
type Files struct {
	path string
	root *os.Root

	mu      sync.Mutex     // guards readers
	readers map[string]int // of each file that is read; removing: it is just removed
}

// removing is in Files.readers while a file goes.
const removing = -1

// Open opens the folder `artifacts` in the data folder dir, and makes it if it
// is missing. Nothing outside of it can be reached through the result, whatever
// links lie in it.
func Open(dir string) (*Files, error) {
	path, err := filepath.Abs(filepath.Join(dir, folder))
	if err != nil {
		return nil, fmt.Errorf("find artifacts folder: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make artifacts folder: %w", err)
	}
	const mode fs.FileMode = 0o700
	if err := os.Chmod(path, mode); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("protect artifacts folder: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open artifacts folder: %w", err)
	}
	return &Files{path: path, root: root, readers: make(map[string]int)}, nil
}

// Close gives the folder back. Files that are open stay so.
func (f *Files) Close() error { return f.root.Close() }

// draft is a file that is being written.
type draft struct {
	files *Files
	file  *os.File
	id    string
	over  bool
}

// Create implements jobs.Files.
func (f *Files) Create() (jobs.Draft, error) {
	id := strings.ToLower(rand.Text())
	if err := f.Kept(); err != nil {
		return nil, err
	}
	file, err := f.root.OpenFile(id+draftSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create file: %w", passing(err))
	}
	if err := file.Chmod(0o600); err != nil { // the umask may have taken more
		return nil, errors.Join(fmt.Errorf("protect file: %w", passing(err)), file.Close(), f.root.Remove(id+draftSuffix))
	}
	return &draft{files: f, file: file, id: id}, nil
}

func (d *draft) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	return n, passing(err)
}

// Keep implements jobs.Draft.
func (d *draft) Keep() (string, error) {
	if err := d.files.Kept(); err != nil {
		return "", err
	}
	if err := d.file.Sync(); err != nil {
		return "", fmt.Errorf("sync file: %w", passing(err))
	}
	d.over = true
	if err := d.file.Close(); err != nil {
		return "", errors.Join(fmt.Errorf("close file: %w", passing(err)), d.files.root.Remove(d.id+draftSuffix))
	}
	if err := d.files.root.Rename(d.id+draftSuffix, d.id); err != nil {
		return "", errors.Join(fmt.Errorf("rename file: %w", passing(err)), d.files.root.Remove(d.id+draftSuffix))
	}
	if err := d.files.sync(); err != nil {
		return "", err
	}
	return d.id, d.files.Kept()
}

// Kept reports with jobs.ErrLost that the folder's path does not lead to the folder
// that is open: what is written would not be found by the next start.
func (f *Files) Kept() error {
	open, err := f.root.Stat(".")
	if err != nil {
		return fmt.Errorf("look at artifacts folder: %w", passing(err))
	}
	there, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("%w: %w", jobs.ErrLost, err)
	}
	if !os.SameFile(open, there) {
		return fmt.Errorf("%w: %s is another folder now", jobs.ErrLost, f.path)
	}
	return nil
}

// Discard implements jobs.Draft. Its error does not matter: what it leaves is
// swept at the next start.
func (d *draft) Discard() {
	if d.over {
		return
	}
	d.over = true
	_ = d.file.Close()
	_ = d.files.root.Remove(d.id + draftSuffix)
}

// sync makes the folder's entries durable: without it a power cut could take
// back a rename that the database already relies on.
func (f *Files) sync() error {
	dir, err := f.root.Open(".")
	if err != nil {
		return fmt.Errorf("open artifacts folder: %w", passing(err))
	}
	defer func() { _ = dir.Close() }() // it was only read
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync artifacts folder: %w", passing(err))
	}
	return nil
}

// Open implements jobs.Files.
func (f *Files) Open(id string) (jobs.File, error) {
	if !valid(id) {
		return nil, fmt.Errorf("open file: %q is not a file name", id)
	}
	if !f.beginRead(id) {
		return nil, fmt.Errorf("open file: %w", fs.ErrNotExist)
	}
	file, err := f.root.Open(id)
	if err != nil {
		f.endRead(id)
		return nil, fmt.Errorf("open file: %w", passing(err))
	}
	return &reader{File: file, closed: func() { f.endRead(id) }}, nil
}

// reader is a file that is being read.
type reader struct {
	*os.File
	once   sync.Once
	closed func()
}

// Close implements jobs.File.
func (r *reader) Close() error {
	defer r.once.Do(r.closed)
	return r.File.Close()
}

// beginRead counts a reader of a file, unless the file goes.
func (f *Files) beginRead(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers[id] == removing {
		return false
	}
	f.readers[id]++
	return true
}

func (f *Files) endRead(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers[id]--; f.readers[id] == 0 {
		delete(f.readers, id)
	}
}

// beginRemove lets nobody begin to read a file, unless it is read: the disk would keep
// the bytes of one that is removed.
func (f *Files) beginRemove(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers[id] != 0 {
		return false
	}
	f.readers[id] = removing
	return true
}

func (f *Files) endRemove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, id)
}

// Remove implements jobs.Files.
func (f *Files) Remove(id string) error {
	if !valid(id) {
		return fmt.Errorf("remove file: %q is not a file name", id)
	}
	if !f.beginRemove(id) {
		return jobs.ErrInUse
	}
	defer f.endRemove(id)
	if err := f.root.Remove(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove file: %w", passing(err))
	}
	return nil
}

// Sweep takes from others what they may do with the files, removes everything that
// known does not name, and returns how many files went. known gets names of files and
// returns those that belong to something. It is called before anything is written.
func (f *Files) Sweep(ctx context.Context, known func(ctx context.Context, ids []string) ([]string, error)) (int, error) {
	dir, err := f.root.Open(".")
	if err != nil {
		return 0, fmt.Errorf("open artifacts folder: %w", err)
	}
	defer func() { _ = dir.Close() }() // it was only read
	removed := 0
	for {
		entries, err := dir.ReadDir(sweepBatch)
		if errors.Is(err, io.EOF) {
			return removed, nil
		}
		if err != nil {
			return removed, fmt.Errorf("read artifacts folder: %w", err)
		}
		n, err := f.sweep(ctx, entries, known)
		if removed += n; err != nil {
			return removed, err
		}
	}
}

func (f *Files) sweep(ctx context.Context, entries []fs.DirEntry,
	known func(context.Context, []string) ([]string, error),
) (removed int, err error) {
	garbage := make(map[string]bool, len(entries))
	var ids []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			_ = f.root.Chmod(e.Name(), 0o600) // another user's, if that fails: the folder keeps others out
		}
		garbage[e.Name()] = true
		if valid(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	kept, err := known(ctx, ids)
	if err != nil {
		return 0, fmt.Errorf("ask whose files these are: %w", err)
	}
	for _, id := range kept {
		delete(garbage, id)
	}
	for name := range garbage {
		if err := f.root.RemoveAll(name); err != nil {
			return removed, fmt.Errorf("remove garbage: %w", err)
		}
		removed++
	}
	return removed, nil
}

// valid reports whether id can be a name that Create chose.
func valid(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
