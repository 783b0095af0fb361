package client_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Whoever imports this package gets none of the server, and nothing that it does
// not need.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for pkg := range strings.FieldsSeq(string(out)) {
		switch {
		case pkg == "github.com/jobcast/jobcast/client":
			seen = true
		case pkg == "github.com/cenkalti/backoff/v5":
		case pkg == "github.com/coder/websocket", strings.HasPrefix(pkg, "github.com/coder/websocket/internal/"):
		default:
			t.Errorf("package client needs %s", pkg)
		}
	}
	if !seen {
		t.Errorf("package client is not in %q", out)
	}
}
