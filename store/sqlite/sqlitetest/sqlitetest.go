// Package sqlitetest makes data folders for tests.
package sqlitetest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jobcast/jobcast/store/sqlite"
)

// Folder returns a new data folder whose database has its schema and nothing else:
// what `jobcast keys` leaves behind that finds nothing to do. Making a schema takes
// longer than most tests do, so it is made once and copied; that it is made rightly
// is proved by package sqlite, and by the tests that begin with an empty folder.
func Folder(t testing.TB) string {
	t.Helper()
	files, err := schema()
	if err != nil {
		t.Fatalf("make a schema: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// schema returns the files of a folder with a schema, by name.
var schema = sync.OnceValues(func() (files map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "jobcast-schema-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the files are in memory then
	store, err := sqlite.Open(context.Background(), dir, sqlite.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files = make(map[string][]byte)
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
})
