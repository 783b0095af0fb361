package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/e2e/program"
)

// passed matches the summary of node's TAP reporter when tests ran, all of
// them, and none failed.
var passed = regexp.MustCompile(`(?m)^# tests ([1-9]\d*)\n# suites \d+\n# pass ([1-9]\d*)\n# fail 0\n# cancelled 0\n# skipped 0\n# todo 0$`)

// TestClients runs each *.test.mjs against one real server. What they need is
// never optional: without it the test fails and says how to get it.
func TestClients(t *testing.T) {
	node := require(t, "node")
	chromium := require(t, "chromium")
	if _, err := os.Stat("node_modules/.package-lock.json"); err != nil {
		t.Fatal("the npm packages are not installed: run `make tools` (or `npm ci` in e2e/)")
	}
	binary := program.Build(t)
	server := program.Start(t, binary)
	files, err := filepath.Glob("*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			if strings.HasPrefix(file, "socketio") || strings.HasPrefix(file, "client") || strings.HasPrefix(file, "dashboard") { // they start servers of their own, or mostly wait
				t.Parallel()
			}
			cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=tap", file)
			cmd.Env = append(os.Environ(),
				"JOBCAST_URL="+server.URL, "JOBCAST_KEY="+server.Key, "JOBCAST_BINARY="+binary,
				"CHROMIUM="+chromium, "SCRATCH="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil || !passed.Match(out) {
				t.Errorf("node: %v\n%s", err, out)
			}
		})
	}
}

func require(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make tools` as root on Debian, or install it: %v", name, err)
	}
	return path
}
