package files

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/jobcast/jobcast/jobs"
)

// TestFolderGone: what would be written where nobody finds it is refused, whether the
// folder goes before the file is begun or before it is kept, until the folder is back.
func TestFolderGone(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begun, err := f.Create()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, folder)
	if err := errors.Join(f.Kept(), os.Rename(path, path+".away"), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("create: %v, want %v", err, jobs.ErrLost)
	}
	if _, err := begun.Keep(); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("keep: %v, want %v", err, jobs.ErrLost)
	}
	begun.Discard()
	if err := errors.Join(os.Remove(path), os.Rename(path+".away", path), f.Kept()); err != nil {
		t.Errorf("with the folder back: %v", err)
	}
	d, err := f.Create()
	if err == nil {
		_, err = d.Keep()
	}
	if err != nil {
		t.Errorf("with the folder back: %v", err)
	}
}

// TestNoDescriptors: too many open files is nobody's fault and passes.
func TestNoDescriptors(t *testing.T) {
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.Create()
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.Keep()
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	_, opening := f.Open(id)
	_, creating := f.Create()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{opening, creating} {
		if !errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, jobs.ErrLost) {
			t.Errorf("%v, want %v", err, jobs.ErrUnavailable)
		}
	}
	file, err := f.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
}
