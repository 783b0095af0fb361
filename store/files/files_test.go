package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/jobcast/jobcast/jobs"
)

func open(t *testing.T, dir string) *Files {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func keep(t *testing.T, f *Files, text string) string {
	t.Helper()
	d, err := f.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, text); err != nil {
		t.Fatal(err)
	}
	id, err := d.Keep()
	if err != nil {
		t.Fatal(err)
	}
	d.Discard() // does nothing any more
	return id
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestKeepOpenRemove(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	id := keep(t, f, "text")
	file, err := f.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(id); !errors.Is(err, jobs.ErrInUse) {
		t.Fatalf("removed while it was read: %v", err)
	}
	if data, err := io.ReadAll(file); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_ = file.Close() // counts once
	if err := f.Remove(id); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(id); !os.IsNotExist(err) && err == nil {
		t.Errorf("opened a removed file: %v", err)
	}
	if err := f.Remove(id); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	d, err := f.Create()
	if err != nil {
		t.Fatal(err)
	}
	d.Discard()
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	info, err := os.Stat(filepath.Join(dir, "artifacts"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", info.Mode(), err)
	}
}

// A file is either read or removed, whoever comes first: the bytes of one that is gone
// and is read still fill the disk.
func TestReadOrRemoved(t *testing.T) {
	f := open(t, t.TempDir())
	for range 100 {
		id := keep(t, f, "text")
		var both sync.WaitGroup
		var file jobs.File
		var opened, removed error
		both.Go(func() { file, opened = f.Open(id) })
		both.Go(func() { removed = f.Remove(id) })
		both.Wait()
		switch {
		case opened == nil && errors.Is(removed, jobs.ErrInUse):
			_ = file.Close()
			removed = f.Remove(id)
		case opened == nil:
			_ = file.Close()
			t.Fatalf("a file that was read was removed: %v", removed)
		case !errors.Is(opened, fs.ErrNotExist):
			t.Fatalf("open: %v", opened)
		}
		if removed != nil {
			t.Fatalf("remove: %v", removed)
		}
	}
	if len(f.readers) != 0 {
		t.Errorf("files read still: %v", f.readers)
	}
}

// Nothing outside the folder can be named, not even through a link in it.
func TestNothingOutside(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "artifacts", "link")); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"../secret", "link", "", ".", "..", "a/../../secret", filepath.Join(dir, "secret")} {
		if file, err := f.Open(id); err == nil {
			_ = file.Close()
			t.Errorf("opened %q", id)
		}
		if id != "link" && f.Remove(id) == nil {
			t.Errorf("removed %q", id)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "secret")); err != nil {
		t.Error(err)
	}
}

// What a crash left, and what nothing refers to, goes; the rest stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	var kept []string
	for i := range 540 { // more than one batch
		if id := keep(t, f, "x"); i%3 == 0 {
			kept = append(kept, id)
		}
	}
	draft, err := f.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Discard()
	known := func(_ context.Context, ids []string) ([]string, error) {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(kept, id) }), nil
	}
	n, err := f.Sweep(t.Context(), known)
	left := names(t, dir)
	slices.Sort(kept)
	if err != nil || n != 361 || !slices.Equal(left, kept) {
		t.Errorf("removed %d, %v; %d of %d are left", n, err, len(left), len(kept))
	}
}
