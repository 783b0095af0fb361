package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
)

// orphanMode makes this program one that has a browser and waits to be killed: in a jail, or
// without one ("bare").
const orphanMode = "JOBCAST_TEST_ORPHAN"

func orphan(how string) {
	b := New(Options{Path: Auto, Contexts: 1, NoJail: how == "bare", Guard: action.NewGuard(action.Options{}), Logger: slog.New(slog.DiscardHandler)})
	var scope jobs.Scope
	_, err := action.New(b.Actions()...).Run(context.Background(), json.RawMessage(`{"type":"navigate","url":"about:blank"}`), jobs.Env{JobID: "1", Scope: &scope})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(pidsOf(b.now.pid)) // the parent sees that there is none
	select {}
}

// TestTidy: when a server is killed its browser ends, and the next server removes what it has left,
// and nothing else: what a server that lives has, what has no lock, links, and what is not its own.
func TestTidy(t *testing.T) {
	dir, err := os.MkdirTemp("", "tidy")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // the browser's user must come through
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, how := range []string{"jailed", "bare"} {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), orphanMode+"="+how, "TMPDIR="+dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var some []int
		if err := json.NewDecoder(out).Decode(&some); err != nil || len(some) < 2 {
			t.Errorf("%s: %v, %v", how, some, err)
		}
		pids = append(pids, some...)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	until(t, "the browsers' processes end", func() bool { return !slices.ContainsFunc(pids, lives) })
	left := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if names := left(); len(names) != 2 {
		t.Fatalf("they have left %v", names)
	}

	elsewhere := t.TempDir()
	t.Setenv("TMPDIR", dir)
	alive, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	decoy := func(name string, lock bool) string {
		path := filepath.Join(dir, folderPrefix+name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if lock {
			if err := os.WriteFile(filepath.Join(path, lockName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	gone := decoy("gone", true)
	kept := []string{
		filepath.Base(alive.path), filepath.Base(decoy("bare", false)), filepath.Base(decoy("linked", false)), folderPrefix + "link", folderPrefix + "file", "other",
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(elsewhere, lockName), nil, 0o600), os.Symlink(elsewhere, filepath.Join(dir, folderPrefix+"link")),
		os.Symlink(filepath.Join(elsewhere, lockName), filepath.Join(dir, folderPrefix+"linked", lockName)), os.Symlink(elsewhere, filepath.Join(gone, "out")),
		os.WriteFile(filepath.Join(dir, folderPrefix+"file"), nil, 0o600), os.Mkdir(filepath.Join(dir, "other"), 0o700),
		os.WriteFile(filepath.Join(dir, "other", lockName), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		kept = append(kept, filepath.Base(decoy("others", true)))
		if err := os.Chown(filepath.Join(dir, folderPrefix+"others"), browserUser, browserUser); err != nil {
			t.Fatal(err)
		}
	}
	Tidy(slog.New(slog.NewTextHandler(t.Output(), nil)))
	slices.Sort(kept)
	if names := left(); !slices.Equal(names, kept) {
		t.Errorf("left are\n%v, want\n%v", names, kept)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, lockName)); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	if err := alive.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(alive.path); err == nil {
		t.Error("it is still there")
	}
}
