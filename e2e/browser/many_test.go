package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jobcast/jobcast/e2e/program"
)

// many is how many jobs TestManyJobs has; JOBCAST_TRAPS=all asks for more.
func many() int {
	if os.Getenv("JOBCAST_TRAPS") == "all" {
		return 200
	}
	return 20
}

// TestManyJobs: four at a time, beside another client whose page never ends, and with a
// browser that is killed halfway, all jobs complete, and leave no process, folder or descriptor;
// a cancel ends even that page within a second; and with the server all is gone.
func TestManyJobs(t *testing.T) {
	asked := make(chan struct{}, 100)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/endless":
			asked <- struct{}{}
			fmt.Fprint(w, `<h1>endless</h1><script>for (;;);</script>`)
		case "/file":
			w.Header().Set("Content-Disposition", "attachment; filename=file.txt")
			fmt.Fprint(w, "file")
		default:
			fmt.Fprint(w, `<button id=more onclick="out.textContent = 'more'">More</button><p id=out></p><a id=file href=/file>file</a><iframe src=/frame.html></iframe>`)
		}
	}))
	defer site.Close()
	binary := binary(t)
	folder, err := os.MkdirTemp("", "many-") // whose parents are open to the browser's user
	if err == nil {
		err = os.Chmod(folder, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", folder)
	var started []int  // processes that must be gone with the server
	t.Cleanup(func() { // after the server's end
		eventually(t, "the browser's processes end", func() bool { return !slices.ContainsFunc(started, lives) })
		if left, _ := filepath.Glob(filepath.Join(folder, "jobcast-browser-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		os.RemoveAll(folder)
	})
	s := program.Start(t, binary, "--allow-private-addresses", "--browsers=5", "--concurrency=12")
	other := s.MakeKey(t, "--client=other")
	body := strings.ReplaceAll(`{"maxAttempts":5,"actions":[{"type":"navigate","url":"SITE/"},{"type":"click","selector":"#more"},{"type":"extract","name":"out","selector":"#out"},`+
		`{"type":"screenshot","name":"a"},{"type":"click","selector":"#file"},{"type":"waitForNetworkIdle","idleMs":1}]}`, "SITE", site.URL)
	run := func() {
		r := callAs(t, s, s.Key, "POST", "/v1/jobs", body, "Prefer: wait=60")
		if !strings.Contains(r.Text, `"status":"completed"`) || !strings.Contains(r.Text, `"data":{"out":"more"}`) || !strings.Contains(r.Text, `"file.txt"`) {
			t.Errorf("a job: %s", r.Text)
		}
	}
	crowd := func(n int, during func(i int)) {
		var begun atomic.Int64
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				for i := int(begun.Add(1)); i <= n; i = int(begun.Add(1)) {
					during(i)
					run()
				}
			})
		}
		running.Wait()
	}
	crowd(4, func(int) {})
	resting(t, s)
	before := takes(s, folder)

	endless := callAs(t, s, other, "POST", "/v1/jobs", `{"maxAttempts":9,"actions":[{"type":"navigate","url":"`+site.URL+`/endless"}]}`)
	<-asked
	began := time.Now()
	crowd(many(), func(i int) {
		if i == many()/2 {
			started = append(started, below(s.PID)...)
			for _, pid := range below(s.PID) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	t.Logf("%d jobs took %v", many(), time.Since(began).Round(time.Millisecond))
	if r := callAs(t, s, other, "GET", "/v1/jobs/"+endless.Body.ID, ""); r.Body.Status != "processing" && r.Body.Status != "pending" {
		t.Errorf("the endless page: %s", r.Text)
	}
	began = time.Now()
	callAs(t, s, other, "POST", "/v1/jobs/"+endless.Body.ID+"/cancel", "")
	resting(t, s)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the endless page ended %v after its cancel", took)
	}
	var after taken
	eventually(t, "what jobs took is given back", func() bool {
		after = takes(s, folder)
		return after.processes <= before.processes && after.files <= before.files && after.folders == before.folders
	})
	t.Logf("before %+v, after %+v", before, after)
	started = append(started, below(s.PID)...)
}

// resting waits until no job has a browser context.
func resting(t *testing.T, s *program.Server) {
	t.Helper()
	eventually(t, "no context is open", func() bool {
		var about struct{ Browser struct{ Contexts int } }
		err := json.Unmarshal([]byte(call(t, s, "GET", "/readyz?verbose", "").Text), &about)
		return err == nil && about.Browser.Contexts == 0
	})
}

// taken is what a server has taken of the machine.
type taken struct {
	processes int // below it
	files     int // that it has open
	folders   int // of browsers, and of attempts
}

func takes(s *program.Server, folder string) taken {
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID))
	browsers, _ := filepath.Glob(filepath.Join(folder, "jobcast-browser-*"))
	attempts, _ := filepath.Glob(filepath.Join(folder, "jobcast-browser-*", "files", "*"))
	return taken{len(below(s.PID)), len(open), len(browsers) + len(attempts)}
}

// below returns the processes that a process has started, and those that they have.
func below(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		raw, _ := os.ReadFile(path) // it may be gone by now
		for text := range strings.FieldsSeq(string(raw)) {
			if child, err := strconv.Atoi(text); err == nil && lives(child) {
				all = append(append(all, child), below(child)...)
			}
		}
	}
	return all
}

// lives reports whether a process has not ended.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " Z")
}

// eventually waits for something that other processes do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("in vain: " + what)
			return
		}
	}
}
