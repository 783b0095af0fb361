package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jobcast/jobcast/e2e/program"
)

var (
	folder string // of the server's program
	build  sync.Once
)

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "jobcast-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// binary returns the server's program, which is built once for all tests.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(folder, "jobcast")
	build.Do(func() {
		if err := os.Rename(program.Build(t), path); err != nil {
			t.Fatal(err)
		}
	})
	return path
}
