package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/store"
)

// TestOpen: the URL says which store it is, and a path is a folder of SQLite whatever
// is in its name.
func TestOpen(t *testing.T) {
	for _, name := range []string{"plain", "sqlite:named", "with:colon", "a.b:c"} {
		dir := filepath.Join(t.TempDir(), strings.TrimPrefix(name, "sqlite:"))
		url := dir
		if strings.HasPrefix(name, "sqlite:") {
			url = "sqlite:" + dir
		}
		s, err := store.Open(t.Context(), url, store.Options{})
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "jobcast.db")); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"postgres://localhost/x", "mysql:x"} {
		if s, err := store.Open(t.Context(), url, store.Options{}); err == nil || s != nil || !strings.Contains(err.Error(), "sqlite:") {
			t.Errorf("%s: %v, %v", url, s, err)
		}
	}
}
