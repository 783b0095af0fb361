package cmd

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jobcast/jobcast/client"
)

// transports are those of the client, each named.
var transports = []client.Transport{client.WebSocket, client.SSE, client.NDJSON, client.Poll}

// tryClient submits a job and watches it to its end over each transport.
func tryClient(t *testing.T, url, key string) {
	t.Helper()
	for _, transport := range transports {
		c, err := client.New(client.Options{URL: url, Key: key, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		job, err := c.Submit(t.Context(), client.Submission{Actions: []any{map[string]any{"type": "wait", "ms": 1}}})
		if err != nil {
			t.Fatalf("%s: submit: %v", transport, err)
		}
		ended := false
		for e, err := range c.Watch(t.Context(), job.ID, client.WatchOptions{}) {
			if err != nil {
				t.Fatalf("%s: watch: %v", transport, err)
			}
			ended = ended || e.Type == "job.completed"
		}
		if !ended {
			t.Errorf("%s: the end did not come", transport)
		}
		c.Close()
	}
}

// TestBasePath: everything is found below the base path, and names itself so.
func TestBasePath(t *testing.T) {
	t.Parallel()
	const base = "/tools/jobcast"
	s := newSite(t, binary(t), t.TempDir(), "--base-path="+base+"/")
	host, path, _ := strings.Cut(s.addr, "/")
	if "/"+path != base {
		t.Fatalf("the first line is %q", s.first)
	}
	tryClient(t, "http://"+s.addr, s.key)
	for path, want := range map[string]int{
		"/readyz": 200, "/livez": 200, "/metrics": 200, "/": 200, "": 308, "/static/app.js": 200, "/v1/jobs": 200,
		"/socket.io/?EIO=4&transport=polling": 200, "/%76%31/jobs": 200, "/nothing": 404, "x/v1/jobs": 404, base + "/v1/jobs": 404,
	} {
		if status, _, text := s.call("GET", path, ""); status != want && (path != "" || status != 200) {
			t.Errorf("%s: %d, want %d: %.100s", path, status, want, text)
		}
	}
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, query := range []string{"", "?apiKey=a%26b&x=%20", "?"} {
		resp, err := direct.Get("http://" + s.addr + query) //nolint:noctx // on this machine
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want, got := base+"/"+strings.TrimSuffix(query, "?"), resp.Header.Get("Location")
		if _, after, found := strings.Cut(got, host); found {
			got = after
		}
		if resp.StatusCode != 308 || got != want {
			t.Errorf("%q: %d to %q, want %q", query, resp.StatusCode, got, want)
		}
	}
	for _, path := range []string{"/readyz", "/v1/jobs"} { // past the proxy, or through one that takes the base path away
		resp, err := http.Get("http://" + host + path + "?apiKey=" + s.key) //nolint:noctx // on this machine
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s without the base path: %d", path, resp.StatusCode)
		}
	}
	id, _, _ := s.submit(1)
	_, _, text := s.call("POST", "/v1/workers/claim", `{"queues":["q"]}`)
	lease := between(text, `"lease":{"token":"`, `"`)
	url := base + "/v1/jobs/" + id + "/artifacts/x"
	if status, location := s.put(strings.TrimPrefix(url, base), lease, "bytes"); status != 201 || location != url {
		t.Errorf("an upload: %d, Location %q", status, location)
	}
	if _, _, text := s.call("GET", "/v1/jobs/"+id, ""); !strings.Contains(text, `"url":"`+url+`"`) {
		t.Errorf("the artifact of a job is elsewhere: %s", text)
	}
	if _, _, text := s.call("GET", "/v1/jobs/"+id+"/events?lastEventId=", ""); !strings.Contains(text, `"url":"`+url+`"`) {
		t.Errorf("the artifact of an event is elsewhere: %s", text)
	}
	for _, bad := range []string{"jobs", "/a b", "/a//b", "/v1", "/static/x", "/../x", "/%41", "/a?b"} {
		if code := Run(context.Background(), []string{"serve", "--base-path=" + bad, "--data=" + t.TempDir()}, Stdio{Out: io.Discard, Err: io.Discard}); code != exitUsage {
			t.Errorf("--base-path=%s: exit %d", bad, code)
		}
	}
}

// TestUnixSocket: a server that is reached over a socket in the file system, by its
// clients and its command line, and leaves nothing behind.
func TestUnixSocket(t *testing.T) {
	bin, dir := binary(t), t.TempDir()
	path := filepath.Join(dir, "j.sock")
	url := "unix:" + path
	start := func(data string) *site {
		t.Helper()
		was := syscall.Umask(0)
		defer syscall.Umask(was)
		return newSite(t, bin, filepath.Join(dir, data), "--addr="+url)
	}
	s := start("a")
	if s.first != "listening on "+url+"\n" {
		t.Errorf("the first line is %q", s.first)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Fatalf("the socket: %v, %v", info, err)
	}
	tryClient(t, url, s.key)
	cli := exec.CommandContext(t.Context(), bin, "jobs", "--url="+url)
	cli.Env = append(os.Environ(), "JOBCAST_KEY="+s.key)
	if out, err := cli.CombinedOutput(); err != nil || !strings.Contains(string(out), "completed") {
		t.Errorf("jobcast jobs: %v: %s", err, out)
	}
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	resp, err := hc.Get("http://localhost/metrics") //nolint:noctx // on this machine
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("metrics from this machine: %d", resp.StatusCode)
	}
	refused := func(addr, want string) {
		t.Helper()
		second := exec.CommandContext(t.Context(), bin, "serve", "--addr="+addr, "--data="+filepath.Join(dir, "b"))
		if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s; want %q", addr, err, out, want)
		}
	}
	refused(url, "another program listens")
	s.kill()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("a killed server leaves its socket: %v", err)
	}
	s = start("a")
	tryClient(t, url, s.key)
	s.stopped()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket after the end: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(url, "is not a socket")
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file at the path: %q, %v", text, err)
	}
	refused("unix:j.sock", "absolute path")
	refused("unix:"+filepath.Join(dir, strings.Repeat("x", 200)), "too long")
}
