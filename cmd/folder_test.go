package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wide lists what others could read, write or enter of a folder.
func wide(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			found = append(found, info.Mode().String()+" "+path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPrivateFiles: nobody else can read what the data folder holds, whatever the
// umask and whatever it was before.
func TestPrivateFiles(t *testing.T) {
	bin := binary(t)
	for _, mask := range []int{0, 0o777} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "data")
		was := syscall.Umask(mask)
		s := newSite(t, bin, dir)
		syscall.Umask(was)
		id, status, _ := s.submit(10)
		_, _, text := s.call("POST", "/v1/workers/claim", `{"queues":["q"]}`)
		lease := between(text, `"lease":{"token":"`, `"`)
		if status != http.StatusAccepted || lease == "" {
			t.Fatalf("submit: %d; claim: %s", status, text)
		}
		if status, text := s.put("/v1/jobs/"+id+"/artifacts/x", lease, "bytes"); status != http.StatusCreated {
			t.Fatalf("upload: %d %s", status, text)
		}
		if found := wide(t, dir); found != nil {
			t.Errorf("umask %03o: %q", mask, found)
		}
		s.stopped()
		if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chmod(path, 0o755))
		}); err != nil {
			t.Fatal(err)
		}
		again := newSite(t, bin, dir)
		if found := wide(t, dir); found != nil {
			t.Errorf("after an upgrade: %q", found)
		}
		again.stopped()
		// A folder that holds other things is not jobcast's to close.
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600), os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		mustKeys(t, "", "list", "--data", dir)
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("a shared folder has the mode %v, %v", info.Mode(), err)
		}
	}
}

func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}

// put uploads an artifact and returns the status and where the artifact is.
func (s *site) put(path, lease, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("X-Lease-Token", lease)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

// nobody is a user who owns nothing; root becomes him, everybody else is nobody enough.
const nobody = 65534

// TestUnusableFolder: a folder that cannot be used is named, with what was tried and
// what to do, in one line, by each command that opens it.
func TestUnusableFolder(t *testing.T) {
	bin, base := binary(t), t.TempDir()
	for _, path := range []string{filepath.Dir(bin), base} { // he has to get there
		for ; strings.HasPrefix(path, os.TempDir()) && path != os.TempDir(); path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		make func(t *testing.T, dir string) (data string)
		want []string
	}{
		"a file": {func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "f")
			return must(t, file, os.WriteFile(file, nil, 0o600))
		}, []string{"not a directory", "a part of this path is a file", "--data"}},
		"below a file": {func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "f")
			return must(t, filepath.Join(file, "data"), os.WriteFile(file, nil, 0o600))
		}, []string{"not a directory", "a part of this path is a file"}},
		"no permission to make it": {func(_ *testing.T, dir string) string {
			return filepath.Join(dir, "data")
		}, []string{"mkdir", "permission denied", "must own the folder"}},
		"no permission to write": {func(t *testing.T, dir string) string {
			return must(t, dir, os.WriteFile(filepath.Join(dir, "jobcast.db"), nil, 0o444))
		}, []string{"permission denied", "must own the folder"}},
		"a folder for the database": {func(t *testing.T, dir string) string {
			return must(t, dir, os.Mkdir(filepath.Join(dir, "jobcast.db"), 0o755), os.Chmod(dir, 0o777))
		}, []string{"jobcast.db", "is a directory", "move it away"}},
		"no database": {func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "jobcast.db")
			return must(t, dir, os.WriteFile(file, []byte(strings.Repeat("hello ", 1000)), 0o600), os.Chmod(file, 0o666), os.Chmod(dir, 0o777))
		}, []string{"jobcast.db", "not a database", "move it away"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(base, strings.ReplaceAll(name, " ", "-"))
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			data := test.make(t, dir)
			for _, args := range [][]string{{"serve", "--addr=127.0.0.1:0"}, {"keys", "list"}} {
				cmd := exec.CommandContext(t.Context(), bin, append(args, "--data="+data)...)
				cmd.Dir = base
				if os.Geteuid() == 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
				} else if strings.HasPrefix(name, "no permission") {
					if err := os.Chmod(dir, 0o555); err != nil {
						t.Fatal(err)
					}
				}
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
					t.Fatalf("%s: %v: %s", args[0], err, out)
				}
				for _, want := range append(test.want, data) {
					if !strings.Contains(string(out), want) || strings.Count(string(out), "\n") != 1 {
						t.Errorf("%s says %q, want one line with %q", args[0], out, want)
					}
				}
			}
		})
	}
}

func must(t *testing.T, path string, errs ...error) string {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSignalWhileStarting: a signal at any moment of a start ends it well, and leaves
// no key that nobody was shown.
func TestSignalWhileStarting(t *testing.T) {
	t.Parallel()
	bin := binary(t)
	began := time.Now()
	s := newSite(t, bin, t.TempDir())
	whole := time.Since(began)
	s.stopped()
	const tries = 48
	for i := range tries {
		dir := filepath.Join(t.TempDir(), "data")
		sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[i%2]
		cmd := exec.Command(bin, "serve", "--addr=127.0.0.1:0", "--data="+dir)
		var out, errOut strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(whole * time.Duration(i) / tries) // any moment will do
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		state, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		// The system ends a program that has not come to its first line yet.
		if err != nil && (!state.Signaled() || state.Signal() != sig) {
			t.Errorf("try %d, %v: %v; %s", i, sig, err, errOut.String())
		}
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if keys := listKeys(t, dir); len(keys) > 0 && !strings.Contains(out.String(), "key: jc_") {
			t.Errorf("try %d: there is a key, and it was not shown: %s", i, out.String())
		}
	}
}

// TestSignalWhileWaiting: what waits for another process at its start can be stopped.
func TestSignalWhileWaiting(t *testing.T) {
	bin, dir := binary(t), t.TempDir()
	mustKeys(t, "", "create", "--client", "acme", "--data", dir)
	lock, err := os.OpenFile(filepath.Join(dir, "migrate.lock"), os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, test := range []struct {
		code int
		args []string
	}{
		{exitOK, []string{"serve", "--addr=127.0.0.1:0"}},
		{exitInterrupted, []string{"keys", "create", "--client=acme"}},
		{exitInterrupted, []string{"keys", "import", "--client=acme"}},
	} {
		cmd := exec.Command(bin, append(test.args, "--data="+dir)...)
		in, err := cmd.StdinPipe() // of which import reads, for ever
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for !catches(t, cmd.Process.Pid) {
			time.Sleep(time.Millisecond)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != test.code {
			t.Errorf("%v exits with %d, want %d", test.args, code, test.code)
		}
		_ = in.Close()
	}
}

// catches reports whether a process handles signals itself by now: the last thing that
// it does to them at its start is to ignore SIGPIPE.
func catches(t *testing.T, pid int) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(between(string(status), "SigIgn:", "\n")), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask&(1<<(syscall.SIGPIPE-1)) != 0
}
