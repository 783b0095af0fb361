package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what takes a second or two.
const patience = time.Minute

// site is a running program and a key for it.
type site struct {
	*process
	t   *testing.T
	key string
}

func newSite(t *testing.T, bin, dir string, more ...string) *site {
	t.Helper()
	key := strings.TrimSpace(mustKeys(t, "", "create", "--client", "acme", "--data", dir).out)
	return &site{serve(t, bin, dir, more...), t, key}
}

// call sends a request and returns the status and, of a problem, what it says.
func (s *site) call(method, path, body string) (status int, code, text string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return 0, "", ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(raw, &problem)
	return resp.StatusCode, problem.Code, string(raw)
}

// submit submits a job of n bytes and returns its id, or the refusal.
func (s *site) submit(n int) (id string, status int, code string) {
	s.t.Helper()
	status, code, text := s.call("POST", "/v1/jobs", fmt.Sprintf(`{"queue":"q","payload":%q}`, strings.Repeat("x", n)))
	var job struct{ ID string }
	if status == http.StatusAccepted {
		_ = json.Unmarshal([]byte(text), &job)
	}
	return job.ID, status, code
}

// becomes waits until GET path has a status.
func (s *site) becomes(path string, want int) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; {
		status, _, text := s.call("GET", path, "")
		if status == want {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s stays %d: %s", path, status, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stopped ends the program as a supervisor does and returns its log.
func (s *site) stopped() string {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.drain.Wait()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("after SIGTERM: %v", err)
	}
	return s.stderr.String()
}

// TestDataRemoved: the data folder goes under a running program that is being
// written to. From then on nothing is acknowledged; reads go on.
func TestDataRemoved(t *testing.T) {
	bin, dir := binary(t), filepath.Join(t.TempDir(), "data")
	s := newSite(t, bin, dir)
	id, status, _ := s.submit(10)
	if status != http.StatusAccepted {
		t.Fatalf("submit: %d", status)
	}
	s.becomes("/readyz", http.StatusOK)
	var gone atomic.Bool
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for n := 0; n < 5; {
				late := gone.Load()
				_, status, code := s.submit(10)
				switch {
				case status == http.StatusServiceUnavailable && code == "unavailable":
					n++
				case status != http.StatusAccepted || late:
					t.Errorf("submit answers %d %s; the folder is gone: %v", status, code, late)
					return
				}
			}
		})
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	gone.Store(true)
	if status, code, text := s.call("GET", "/readyz", ""); status != 503 || code != "unavailable" || !strings.Contains(text, "restarted") {
		t.Errorf("readyz: %d %s", status, text)
	}
	load.Wait()
	if status, _, text := s.call("GET", "/v1/jobs/"+id, ""); status != http.StatusOK {
		t.Errorf("a read: %d %s", status, text)
	}
	if status, _, _ := s.call("GET", "/livez", ""); status != http.StatusOK {
		t.Errorf("livez: %d", status)
	}
	if log := s.stopped(); strings.Count(log, "the data folder was removed") != 1 {
		t.Errorf("the log does not say it once:\n%s", log)
	}
	again := newSite(t, bin, dir)
	if _, status, _ := again.submit(10); status != http.StatusAccepted {
		t.Errorf("submit after a restart: %d", status)
	}
}

// TestDiskFull: the file system takes no more, and later does again. The limit on
// the size of files stands for it: the kernel refuses the same writes.
func TestDiskFull(t *testing.T) {
	s := newSite(t, binary(t), t.TempDir())
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: math.MaxUint64}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var acked []string
	for range 3 {
		id, status, code := s.submit(1 << 10)
		if status != http.StatusAccepted {
			t.Fatalf("submit: %d %s", status, code)
		}
		acked = append(acked, id)
	}
	limit(512 << 10)
	full := false
	for range 100 {
		id, status, code := s.submit(100 << 10)
		if full = status == http.StatusInsufficientStorage; full {
			if code != "storage_full" {
				t.Errorf("submit: %d %s", status, code)
			}
			break
		}
		if status != http.StatusAccepted {
			t.Fatalf("submit: %d %s", status, code)
		}
		acked = append(acked, id)
	}
	if !full {
		t.Fatal("the disk does not fill")
	}
	if status, code, text := s.call("GET", "/readyz", ""); status != 503 || code != "unavailable" || !strings.Contains(text, "full") {
		t.Errorf("readyz: %d %s", status, text)
	}
	limit(math.MaxUint64)
	s.becomes("/readyz", http.StatusOK)
	id, status, code := s.submit(100 << 10)
	if status != http.StatusAccepted {
		t.Errorf("submit afterwards: %d %s", status, code)
	}
	for _, id := range append(acked, id) {
		if status, _, text := s.call("GET", "/v1/jobs/"+id, ""); status != http.StatusOK {
			t.Errorf("job %s was acknowledged: %d %s", id, status, text)
		}
	}
	log := s.stopped()
	if strings.Count(log, "refuses work") != 1 {
		t.Errorf("the log does not say it once:\n%s", log)
	}
}

// TestStopOnAFullDisk: a job that runs cannot be handed back. The program says so, with
// its exit code too, and the next start takes the job up.
func TestStopOnAFullDisk(t *testing.T) {
	bin, dir := binary(t), t.TempDir()
	s := newSite(t, bin, dir, "--shutdown-grace=1s")
	status, _, text := s.call("POST", "/v1/jobs", `{"actions":[{"type":"wait","ms":3600000}]}`)
	var job struct{ ID, Status string }
	if err := json.Unmarshal([]byte(text), &job); err != nil || status != http.StatusAccepted {
		t.Fatalf("submit: %d %s", status, text)
	}
	s.runs(job.ID)
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Max: math.MaxUint64}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.drain.Wait()
	_ = s.cmd.Wait()
	if code, log := s.cmd.ProcessState.ExitCode(), s.stderr.String(); code != exitFailed || !strings.Contains(log, "jobcast: running jobs that the store did not take back, and that wait for the end of their lease: 1") {
		t.Errorf("exit code %d; %s", code, log)
	}
	newSite(t, bin, dir).runs(job.ID)
}

// runs waits until a job is processing.
func (s *site) runs(job string) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_, _, text := s.call("GET", "/v1/jobs/"+job, "")
		if strings.Contains(text, `"status":"processing"`) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("the job does not run: %s", text)
		}
	}
}
