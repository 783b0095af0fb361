package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimDir) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(m)
}

// openServing opens the folder as a serving process does and closes it at the end.
func openServing(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	opts.Serving = true
	s, err := Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		dir := filepath.Join(t.TempDir(), "data")
		return storetest.Harness{
			Open: func(p jobs.Publisher) storetest.Store {
				s, err := Open(t.Context(), dir, Options{Serving: true, Publisher: p})
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Save: func() func() {
				saved := t.TempDir()
				if err := os.CopyFS(filepath.Join(saved, "data"), os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				return func() {
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
					if err := os.CopyFS(dir, os.DirFS(filepath.Join(saved, "data"))); err != nil {
						t.Fatal(err)
					}
				}
			},
		}
	})
}
