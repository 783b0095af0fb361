package cmd

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptsTime bounds all scripts together, so that one that hangs is told apart.
const scriptsTime = 2 * time.Minute

// TestScripts runs testdata/script/*.txtar. Each script has a client of its own
// on one real server, its key in JOBCAST_KEY; those that must kill their server
// start one themselves.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, binary(t), dir, "--max-connections-per-key=1000")
	bin := filepath.Dir(binary(t))
	// Where the tests run under nohup, commands would heed no SIGHUP either. Those that
	// a process handles are as ever for its children.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) }) // the scripts run when this function has returned
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Deadline: time.Now().Add(scriptsTime),
		Setup: func(env *testscript.Env) error {
			name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			key := mustKeys(t, "", "create", "--client", name, "--data", dir).out
			reader := mustKeys(t, "", "create", "--client", name, "--scope", "watch", "--data", dir).out
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("JOBCAST_URL", "http://"+server.addr)
			env.Setenv("JOBCAST_KEY", strings.TrimSpace(key))
			env.Setenv("CLIENT", name)
			env.Setenv("DATA", dir)
			env.Setenv("READER", strings.TrimSpace(reader))
			env.Setenv("TOMORROW", time.Now().UTC().AddDate(0, 0, 1).Format(time.RFC3339))
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			return os.MkdirAll(filepath.Join(env.WorkDir, "tmp"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "keep": keep, "freeport": freeport,
		},
	})
}

// exits runs a command and wants an exit code: exits CODE COMMAND…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// keep puts the last command's output, which must be one line, into a variable:
// keep NAME
func keep(ts *testscript.TestScript, _ bool, args []string) {
	text, ok := strings.CutSuffix(ts.ReadFile("stdout"), "\n")
	if !ok || text == "" || strings.Contains(text, "\n") {
		ts.Fatalf("not one line: %q", text)
	}
	ts.Setenv(args[0], text)
}

// freeport puts the address of a free port into a variable: freeport NAME
func freeport(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], ln.Addr().String())
	ts.Check(ln.Close())
}
