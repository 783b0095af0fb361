package cmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// starved is the program with few file descriptors, and a key for it.
type starved struct {
	*process
	t   *testing.T
	key string
}

// starve starts the program with a limit on its file descriptors.
func starve(t *testing.T, descriptors int) *starved {
	t.Helper()
	bin, dir := binary(t), t.TempDir()
	key := mustKeys(t, "", "create", "--client", "acme", "--data", dir)
	script := filepath.Join(t.TempDir(), "starved")
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", descriptors, bin)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return &starved{process: serve(t, script, dir), t: t, key: strings.TrimSpace(key.out)}
}

// client is one that has a connection of its own.
func (s *starved) client() *http.Client {
	tr := &http.Transport{}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// ask makes a request and returns its status and body.
func (s *starved) ask(hc *http.Client, method, path, body string, headers ...string) (int, string) {
	s.t.Helper()
	res, err := s.request(context.Background(), hc, method, path, body, headers...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, string(data)
}

func (s *starved) request(ctx context.Context, hc *http.Client, method, path, body string, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return hc.Do(req)
}

// submit makes a job, and fails the test if that does not work.
func (s *starved) submit(hc *http.Client) {
	s.t.Helper()
	if status, answer := s.ask(hc, "POST", "/v1/jobs", `{"queue":"q","payload":1}`); status != http.StatusAccepted {
		s.t.Errorf("submit: %d %s", status, answer)
	}
}

// watch opens a stream of the client's events, of which next returns one at a time.
func (s *starved) watch() (next func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	res, err := s.request(ctx, &http.Client{Transport: &http.Transport{}}, "GET", "/v1/events", "", "Accept: application/x-ndjson")
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("watch: %v, %v", res, err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	events := make(chan string)
	go func() {
		defer close(events)
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"job.created"`) {
				select {
				case events <- lines.Text():
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return func() {
		s.t.Helper()
		select {
		case e, ok := <-events:
			if !ok || e == "" {
				s.t.Errorf("the stream ended: %v", lines.Err())
			}
		case <-time.After(time.Minute):
			s.t.Error("no event on the stream")
		}
	}
}

// idle opens connections on which nothing is said.
func (s *starved) idle(n int) (all []net.Conn) {
	s.t.Helper()
	for range n {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
	}
	return all
}

// TestFewDescriptors: a hundred strangers who connect and say nothing neither end
// the program that has 64 file descriptors nor keep anybody out of it.
func TestFewDescriptors(t *testing.T) {
	s := starve(t, 64)
	before := s.client()
	s.submit(before)
	next := s.watch()
	strangers := s.idle(100)
	for _, who := range []*http.Client{before, s.client(), s.client()} {
		s.submit(who)
		next()
	}
	s.watch()
	for _, c := range strangers {
		_ = c.Close()
	}
	s.submit(s.client())
	next()
	s.stop()
	if strings.Contains(s.stderr.String(), "cannot be accepted") { // room was made before the reserve was used up
		t.Errorf("accept ran out of descriptors: %s", &s.stderr)
	}
}

// TestNoDescriptors: with not one file descriptor to be had what is open goes on,
// commits included, and once there are some again, so does all else.
func TestNoDescriptors(t *testing.T) {
	s := starve(t, 1024)
	inside := s.client()
	s.submit(inside)
	next := s.watch()
	given := struct{ id, lease string }{}
	_, claimed := s.ask(inside, "POST", "/v1/workers/claim", `{"queues":["q"]}`)
	_, rest, _ := strings.Cut(claimed, `{"jobs":[{"id":"`)
	given.id, _, _ = strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(claimed, `"lease":{"token":"`)
	given.lease, _, _ = strings.Cut(rest, `"`)
	upload := s.client()
	s.submit(upload)
	next()

	var limit unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 3, Max: limit.Max}
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	s.idle(3) // wait in the kernel's queue
	for range 100 {
		s.submit(inside)
		next()
	}
	path := "/v1/jobs/" + given.id + "/artifacts/a.txt"
	if status, answer := s.ask(upload, "PUT", path, "text", "X-Lease-Token: "+given.lease); status != http.StatusServiceUnavailable {
		t.Errorf("an artifact that cannot be opened: %d %s", status, answer)
	}
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	s.submit(s.client())
	if status, answer := s.ask(inside, "PUT", path, "text", "X-Lease-Token: "+given.lease); status != http.StatusCreated {
		t.Errorf("the artifact, again: %d %s", status, answer)
	}
	s.stop()
	if n := strings.Count(s.stderr.String(), "cannot be accepted"); n != 1 {
		t.Errorf("said %d times: %s", n, &s.stderr)
	}
}

// stop ends the program as a supervisor does.
func (s *starved) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.drain.Wait()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("after SIGTERM: %v; %s", err, &s.stderr)
	}
}
