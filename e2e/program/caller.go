package program

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Caller speaks with a server under one key. Its methods fail the test where no answer
// comes.
type Caller struct {
	*testing.T
	Addr, Key string
}

// Reply is an answer, read to its end.
type Reply struct {
	Status int
	Header http.Header
	Text   string
	Body   struct {
		ID, Code, Detail   string
		Status             any // of a job a text, of a problem a number
		Limit, Used, Asked *int64
		Jobs               []struct {
			ID    string
			Lease struct{ Token string }
		}
	}
}

// Call makes a request; headers are as in "Name: value".
func (f Caller) Call(method, path string, body io.Reader, headers ...string) Reply {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, "http://"+f.Addr+path, body)
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.Key)
	if method == http.MethodPost && body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatal(err)
	}
	r := Reply{Status: resp.StatusCode, Header: resp.Header, Text: string(text)}
	_ = json.Unmarshal(text, &r.Body) // streams and figures are no JSON
	return r
}

// Submit submits a job of the queue q.
func (f Caller) Submit(payload string, headers ...string) Reply {
	f.Helper()
	return f.Call("POST", "/v1/jobs", strings.NewReader(`{"queue":"q","payload":`+payload+`}`), headers...)
}

// Claim returns the id and the lease of a job of the queue.
func (f Caller) Claim() (id, lease string) {
	f.Helper()
	r := f.Call("POST", "/v1/workers/claim", strings.NewReader(`{"queues":["q"],"leaseMs":600000}`))
	if len(r.Body.Jobs) != 1 {
		f.Fatalf("claim: %d %s", r.Status, r.Text)
	}
	return r.Body.Jobs[0].ID, "X-Lease-Token: " + r.Body.Jobs[0].Lease.Token
}

// Refused checks a refusal by a bound, with its figures.
func (f Caller) Refused(what string, r Reply, status int, code string, limit, used, asked int64) {
	f.Helper()
	b := r.Body
	if r.Status != status || b.Code != code || r.Header.Get("Retry-After") == "" || r.Header.Get("Content-Type") != "application/problem+json" ||
		b.Limit == nil || *b.Limit != limit || b.Used == nil || *b.Used != used || b.Asked == nil || *b.Asked != asked || b.Detail == "" {
		f.Errorf("%s: %d %v %s; want %d %s with %d, %d, %d", what, r.Status, r.Header, r.Text, status, code, limit, used, asked)
	}
}

// Unread announces an upload and sends little of it: the refusal comes all the same.
func (f Caller) Unread(path, lease string, size int) {
	f.Helper()
	conn, err := net.Dial("tcp", f.Addr)
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s", path, f.Key, lease, size,
		strings.Repeat("x", 16<<10))
	_ = conn.SetReadDeadline(time.Now().Add(8 * time.Second)) // before the server gives the body up
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 507 {
		f.Errorf("a refusal by the headers: %v, %v", resp, err)
	}
}

// HalfUploads begins uploads of size bytes and sends half of each.
func (f Caller) HalfUploads(dir, path, lease string, n, size int) (conns []net.Conn) {
	f.Helper()
	for i := range n {
		conn, err := net.Dial("tcp", f.Addr)
		if err != nil {
			f.Fatal(err)
		}
		conns = append(conns, conn)
		fmt.Fprintf(conn, "PUT %shalf%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
			path, i, f.Key, lease, size, strings.Repeat("x", size/2))
	}
	for deadline := time.Now().Add(9 * time.Second); ; { // until all of them have begun
		drafts, err := filepath.Glob(filepath.Join(dir, "artifacts", "*.part"))
		if err != nil {
			f.Fatal(err)
		}
		switch {
		case len(drafts) == n:
			return conns
		case time.Now().After(deadline): // soon the server gives up those that wait
			f.Fatalf("%d of %d uploads have begun", len(drafts), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// FolderSize counts the files of a folder and their bytes.
func FolderSize(t *testing.T, dir string) (n int, bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return len(entries), bytes
}

// Full checks a refusal because the folder is full.
func (f Caller) Full(what string, r Reply) {
	f.Helper()
	b := r.Body
	if r.Status != 507 || b.Code != "storage_full" || b.Limit == nil || b.Used == nil || b.Asked == nil || *b.Used+*b.Asked <= *b.Limit {
		f.Errorf("%s: %d %s, want storage_full", what, r.Status, r.Text)
	}
}
