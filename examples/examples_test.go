// Package examples_test runs the examples against the real server and looks at
// them from outside.
package examples_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/client"
	"github.com/jobcast/jobcast/e2e/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is what one test works with: a server that all share, and a queue of
// its own.
type stage struct {
	*program.Server
	client *client.Client
	queue  string
	worker example // the one under test
	other  example // takes over from it
}

// TestExamples: every worker does what its head says, and every one takes over
// from another.
func TestExamples(t *testing.T) {
	examples := []example{
		{"worker.py", require(t, "python3")},
		{"worker.mjs", require(t, "node")},
		{"worker.sh", require(t, "bash")},
	}
	require(t, "curl")
	require(t, "jq")
	server := program.Start(t, program.Build(t), "--max-connections-per-key=100", "--allow-private-addresses")
	cl, err := client.New(client.Options{URL: server.URL, Key: server.Key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	for i, e := range examples {
		t.Run(e.file, func(t *testing.T) {
			t.Parallel()
			for name, test := range map[string]func(*testing.T, stage){
				"completes": completes, "fails": fails, "cancelled": cancelled, "idle": idle, "finishes": finishes,
				"hands-back": handsBack, "killed": killed, "refused": refused, "invalid": invalid,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					queue := strings.ReplaceAll(e.file, "worker.", "") + "." + name
					test(t, stage{server, cl, queue, e, examples[(i+1)%len(examples)]})
				})
			}
		})
	}
	t.Run("recordings", func(t *testing.T) {
		t.Parallel()
		recordings(t, stage{Server: server, client: cl})
	})
	t.Run("key-is-no-argument", func(t *testing.T) {
		t.Parallel()
		keyIsNoArgument(t, stage{server, cl, "arguments", examples[2], examples[2]})
	})
}

// completes: the server is not there at first, then refuses a claim, and answers
// get lost; the job ends as it should all the same.
func completes(t *testing.T, s stage) {
	road := newRoad(t, s.URL, "claim refused", "progress cut", "greeting.txt cut", "complete cut")
	worker := start(t, s.worker, s.queue, road.URL, s.Key)
	worker.says(t, "trying again")
	road.open(t)

	name := "\"wörld\" & $(co) \\ `'@/etc/passwd"
	w := s.submit(t, client.Submission{Payload: map[string]any{"name": name, "seconds": 0.1}})
	w.until("the end", func(e client.Event) bool { return e.Type.Terminal() })
	job := s.job(t, w.id)
	greeting := "Hello, " + name + "!"
	if got, want := result(t, job), (outcome{greeting, 1}); job.Status != client.Completed || got != want {
		t.Errorf("the job is %s with %+v, want %+v", job.Status, got, want)
	}
	var percents []float64
	for _, e := range w.of(client.EventProgress) {
		var p client.Progress
		if err := e.Decode(&p); err != nil {
			t.Fatal(err)
		}
		percents = append(percents, p.Progress)
	}
	if want := []float64{33, 33, 66, 100}; !slices.Equal(percents, want) { // the first was told twice
		t.Errorf("progress %v, want %v", percents, want)
	}
	if diff := cmp.Diff(greeting+"\n", s.get(t, "/v1/jobs/"+w.id+"/artifacts/greeting.txt")); diff != "" {
		t.Errorf("artifact: -want +got\n%s", diff)
	}
	worker.says(t, "completed")
	if _, left := road.state(); len(left) > 0 {
		t.Errorf("did not happen: %v", left)
	}
	worker.stop(t)
}

// fails: a failure is tried again, or is the end, as the worker says.
func fails(t *testing.T, s stage) {
	worker := start(t, s.worker, s.queue, s.URL, s.Key)
	for _, c := range []struct {
		payload string
		attempt int
	}{
		{`{"fail":true,"steps":1,"seconds":0}`, 2},
		{`{"fail":true,"steps":1,"seconds":0,"retry":false}`, 1},
	} {
		w := s.submit(t, client.Submission{Payload: json.RawMessage(c.payload), MaxAttempts: 2})
		w.until("the end", func(e client.Event) bool { return e.Type.Terminal() })
		job := s.job(t, w.id)
		if job.Status != client.Failed || job.Attempt != c.attempt || len(w.of(client.EventRetrying)) != c.attempt-1 {
			t.Errorf("%s: %s after %d attempts, events %v", c.payload, job.Status, job.Attempt, w.types())
		}
		if job.Error != "BadPayload" || job.ErrorMessage != "the payload asks for a failure" {
			t.Errorf("%s: failed with %s", c.payload, job.Raw())
		}
	}
	worker.stop(t)
}

// cancelled: the worker leaves a job that was cancelled, and goes on.
func cancelled(t *testing.T, s stage) {
	worker := start(t, s.worker, s.queue, s.URL, s.Key)
	w := s.submit(t, client.Submission{Payload: json.RawMessage(`{"steps":10000,"seconds":0.1}`)})
	w.until("progress", ofType(client.EventProgress))
	if _, err := s.client.Cancel(t.Context(), w.id); err != nil {
		t.Fatal(err)
	}
	worker.says(t, "cancelled")
	s.submit(t, quick).completed(1)
	worker.stop(t)
}

// idle: a worker that waits for a job leaves at once, and takes none with it.
func idle(t *testing.T, s stage) {
	road := newRoad(t, s.URL)
	road.open(t)
	worker := start(t, s.worker, s.queue, road.URL, s.Key)
	select {
	case <-road.claims:
	case <-time.After(patience):
		t.Fatal("the worker claims nothing")
	}
	worker.stop(t)
	w := s.submit(t, quick)
	other := start(t, s.other, s.queue, s.URL, s.Key)
	w.completed(1)
	other.says(t, "completed")
	other.stop(t)
}

// finishes: on Ctrl-C the job at hand is finished, undisturbed, and no other is
// begun.
func finishes(t *testing.T, s stage) {
	worker := start(t, s.worker, s.queue, s.URL, s.Key)
	first := s.submit(t, client.Submission{Payload: json.RawMessage(`{"steps":2,"seconds":1}`)})
	second := s.submit(t, quick)
	half := first.until("progress", ofType(client.EventProgress))
	worker.signal(t, syscall.SIGINT, true)
	worker.ends(t, 0)
	whole := first.until("more progress", ofType(client.EventProgress))
	// A step is a second long, less what timers are fast.
	if took := whole.Time.Sub(half.Time); took < 950*time.Millisecond {
		t.Errorf("the second step was cut short: %s", took)
	}
	if strings.Contains(worker.text.String(), "trying again") {
		t.Error("a call was disturbed")
	}
	if job := s.job(t, first.id); job.Status != client.Completed || job.Attempt != 1 {
		t.Errorf("the job at hand is %s after %d attempts", job.Status, job.Attempt)
	}
	if job := s.job(t, second.id); job.Status != client.Pending {
		t.Errorf("the next job is %s", job.Status)
	}
	other := start(t, s.other, s.queue, s.URL, s.Key)
	second.completed(1)
	other.says(t, "completed")
	other.stop(t)
}

// handsBack: on SIGTERM a job that would take too long is handed back, and
// another worker finishes it.
func handsBack(t *testing.T, s stage) {
	worker := start(t, s.worker, s.queue, s.URL, s.Key, "JOBCAST_GRACE=0")
	w := s.submit(t, client.Submission{Payload: json.RawMessage(`{"steps":5,"seconds":0.3}`)})
	w.until("progress", ofType(client.EventProgress))
	worker.signal(t, syscall.SIGTERM, false)
	worker.ends(t, 0)
	retrying := w.until("being handed back", ofType(client.EventRetrying))
	if !strings.Contains(string(retrying.Data), `"error":"Interrupted"`) {
		t.Errorf("handed back with %s", retrying.Data)
	}
	other := start(t, s.other, s.queue, s.URL, s.Key)
	w.completed(2)
	other.says(t, "completed")
	other.stop(t)
}

// killed: when a worker is killed, another finishes its job, and what the dead
// one still had to say is refused.
func killed(t *testing.T, s stage) {
	road := newRoad(t, s.URL)
	road.open(t)
	worker := start(t, s.worker, s.queue, road.URL, s.Key)
	w := s.submit(t, client.Submission{Payload: json.RawMessage(`{"steps":5,"seconds":0.3}`)})
	w.until("progress", ofType(client.EventProgress))
	worker.kill(t)
	lease, _ := road.state()

	other := start(t, s.other, s.queue, s.URL, s.Key)
	w.until("the second attempt", func(e client.Event) bool {
		return e.Type == client.EventStarted && strings.Contains(string(e.Data), `"attempt":2`)
	})
	s.late(t, w.id, lease, client.Processing)
	w.completed(2)
	s.late(t, w.id, lease, client.Completed)
	other.says(t, "completed")
	other.stop(t)
}

// late completes a job with a lease that is lost.
func (s stage) late(t *testing.T, id, lease string, at client.Status) {
	t.Helper()
	req := s.request(t, http.MethodPost, "/v1/jobs/"+id+"/complete", `{"result":{"from":"the dead"}}`)
	req.Header.Set("X-Lease-Token", lease)
	status, text := do(t, req)
	var problem struct {
		Code      string
		JobStatus client.Status
	}
	if err := json.Unmarshal([]byte(text), &problem); err != nil {
		t.Fatalf("late complete: %s: %v", text, err)
	}
	if status != http.StatusConflict || problem.Code != "lease_lost" || problem.JobStatus != at {
		t.Errorf("late complete: %d %s, want 409 lease_lost of a job that is %s", status, text, at)
	}
}

// refused: what cannot work ends the worker at once, and says why.
func refused(t *testing.T, s stage) {
	wrong := start(t, s.worker, s.queue, s.URL, "jc_wrong_key")
	wrong.says(t, "the server refuses: 401")
	wrong.ends(t, 1)
	nameless := start(t, s.worker, "No Queue", s.URL, s.Key)
	nameless.says(t, "the server refuses: 422")
	nameless.ends(t, 1)
	keyless := start(t, s.worker, s.queue, s.URL, s.Key, "JOBCAST_KEY=")
	keyless.says(t, "usage: ")
	keyless.ends(t, 2)
}

// invalid: a result that the server refuses fails the attempt at once and for
// good, and the worker goes on.
func invalid(t *testing.T, s stage) {
	worker := start(t, s.worker, s.queue, s.URL, s.Key)
	w := s.submit(t, client.Submission{Payload: map[string]any{"name": strings.Repeat("x", 70_000), "steps": 0}})
	w.until("the end", func(e client.Event) bool { return e.Type.Terminal() })
	job := s.job(t, w.id)
	if job.Status != client.Failed || job.Attempt != 1 || job.Error != "InvalidResult" ||
		!strings.Contains(job.ErrorMessage, "422") {
		t.Errorf("the job is %s", job.Raw())
	}
	s.submit(t, quick).completed(1)
	worker.stop(t)
}

// keyIsNoArgument: every user of a machine sees the arguments of its processes.
func keyIsNoArgument(t *testing.T, s stage) {
	bin, seen := t.TempDir(), filepath.Join(t.TempDir(), "arguments")
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$*\" >>'%s'\nexec '%s' \"$@\"\n", seen, require(t, "curl"))
	if err := os.WriteFile(filepath.Join(bin, "curl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	worker := start(t, s.worker, s.queue, s.URL, s.Key, "PATH="+bin+":"+os.Getenv("PATH"))
	s.submit(t, quick).completed(1)
	worker.says(t, "completed")
	worker.stop(t)
	arguments, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if calls := strings.Count(string(arguments), "\n"); calls < 4 || strings.Contains(string(arguments), s.Key) {
		t.Errorf("%d calls, want 4 or more, and none with the key", calls)
	}
}

// TestMissingTool: a shell script that lacks a program says which.
func TestMissingTool(t *testing.T) {
	bash := example{"worker.sh", require(t, "bash")}
	bin := t.TempDir()
	if err := os.Symlink(require(t, "curl"), filepath.Join(bin, "curl")); err != nil {
		t.Fatal(err)
	}
	worker := start(t, bash, "any", "http://127.0.0.1:1", "jc_any_key", "PATH="+bin)
	worker.says(t, "jq is not installed")
	worker.ends(t, 1)
}

// quick is a job without steps.
var quick = client.Submission{Payload: json.RawMessage(`{"steps":0}`)}

// submit makes a job of the stage's queue and watches it.
func (s stage) submit(t *testing.T, what client.Submission) *watch {
	t.Helper()
	what.Queue = s.queue
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	job, err := s.client.Submit(ctx, what)
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{t: t, id: job.ID}
	var stop func()
	w.next, stop = iter.Pull2(s.client.Watch(ctx, job.ID, client.WatchOptions{}))
	t.Cleanup(func() {
		cancel()
		stop()
	})
	return w
}

// watch follows one job.
type watch struct {
	t    *testing.T
	id   string
	next func() (client.Event, error, bool)
	seen []client.Event
}

// until waits for an event.
func (w *watch) until(what string, is func(client.Event) bool) client.Event {
	w.t.Helper()
	for {
		e, err, more := w.next()
		if err != nil || !more {
			w.t.Fatalf("waiting for %s: %v after %v", what, err, w.types())
		}
		w.seen = append(w.seen, e)
		if is(e) {
			return e
		}
	}
}

// completed waits until the job has completed at that attempt.
func (w *watch) completed(attempt int) {
	w.t.Helper()
	e := w.until("the end", func(e client.Event) bool { return e.Type.Terminal() })
	if want := fmt.Sprintf(`"attempt":%d`, attempt); e.Type != client.EventCompleted || !strings.Contains(string(e.Data), want) {
		w.t.Errorf("the end is %s %s, want %s", e.Type, e.Data, want)
	}
}

func (w *watch) of(kind client.EventType) (some []client.Event) {
	for _, e := range w.seen {
		if e.Type == kind {
			some = append(some, e)
		}
	}
	return some
}

func (w *watch) types() (all []client.EventType) {
	for _, e := range w.seen {
		all = append(all, e.Type)
	}
	return all
}

func ofType(kind client.EventType) func(client.Event) bool {
	return func(e client.Event) bool { return e.Type == kind }
}

// outcome is the result of an example.
type outcome struct {
	Greeting string
	Attempt  int
}

func result(t *testing.T, job *client.Job) (o outcome) {
	t.Helper()
	if err := json.Unmarshal(job.Result, &o); err != nil {
		t.Errorf("result: %v", err)
	}
	return o
}

func (s stage) job(t *testing.T, id string) *client.Job {
	t.Helper()
	job, err := s.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func (s stage) get(t *testing.T, path string) string {
	t.Helper()
	status, text := do(t, s.request(t, http.MethodGet, path, ""))
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, status, text)
	}
	return text
}

func (s stage) request(t *testing.T, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // no connection is kept beyond the test
	return req
}

func do(t *testing.T, req *http.Request) (status int, text string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func require(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make tools` as root on Debian, or install it: %v", name, err)
	}
	return path
}
