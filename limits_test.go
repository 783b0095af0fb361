package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// filler is a client that fills what it may.
type filler struct {
	*testing.T
	addr, key string
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	text   string
	body   struct {
		ID, Code, Detail   string
		Status             any // of a job a text, of a problem a number
		Limit, Used, Asked *int64
		Jobs               []struct {
			ID    string
			Lease struct{ Token string }
		}
	}
}

func (f filler) call(method, path string, body io.Reader, headers ...string) reply {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, "http://"+f.addr+path, body)
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.key)
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
	r := reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	_ = json.Unmarshal(text, &r.body) // streams and figures are no JSON
	return r
}

func (f filler) submit(payload string, headers ...string) reply {
	f.Helper()
	return f.call("POST", "/v1/jobs", strings.NewReader(`{"queue":"q","payload":`+payload+`}`), headers...)
}

// claim returns the id and the lease of a job of the queue.
func (f filler) claim() (id, lease string) {
	f.Helper()
	r := f.call("POST", "/v1/workers/claim", strings.NewReader(`{"queues":["q"],"leaseMs":600000}`))
	if len(r.body.Jobs) != 1 {
		f.Fatalf("claim: %d %s", r.status, r.text)
	}
	return r.body.Jobs[0].ID, "X-Lease-Token: " + r.body.Jobs[0].Lease.Token
}

// refused checks a refusal by a bound, with its figures.
func (f filler) refused(what string, r reply, status int, code string, limit, used, asked int64) {
	f.Helper()
	b := r.body
	if r.status != status || b.Code != code || r.header.Get("Retry-After") == "" || r.header.Get("Content-Type") != "application/problem+json" ||
		b.Limit == nil || *b.Limit != limit || b.Used == nil || *b.Used != used || b.Asked == nil || *b.Asked != asked || b.Detail == "" {
		f.Errorf("%s: %d %v %s; want %d %s with %d, %d, %d", what, r.status, r.header, r.text, status, code, limit, used, asked)
	}
}

// fillers starts a server with bounds and makes two clients of it.
func fillers(t *testing.T, flags ...string) (p *process, bin, dir string, acme, umbra filler) {
	bin, dir = binary(t), t.TempDir()
	keys := []string{}
	for _, client := range []string{"acme", "umbra"} {
		keys = append(keys, strings.TrimSpace(mustKeys(t, "", "create", "--client", client, "--scope", "submit,watch,work,admin", "--data", dir).out))
	}
	p = serve(t, bin, dir, flags...)
	return p, bin, dir, filler{t, p.addr, keys[0]}, filler{t, p.addr, keys[1]}
}

// TestTenantAtItsJobLimit: one more job is refused in every way in which a job is
// made, and nobody else notices.
func TestTenantAtItsJobLimit(t *testing.T) {
	_, _, _, acme, umbra := fillers(t, "--max-jobs-per-client=3")
	first := acme.submit("1", "Idempotency-Key: k")
	old := acme.submit("2")
	acme.call("POST", "/v1/jobs/"+old.body.ID+"/cancel", nil)
	acme.submit("3")
	acme.submit("4")
	for what, r := range map[string]reply{
		"submit":      acme.submit("5"),
		"with a key":  acme.submit("5", "Idempotency-Key: other"),
		"and wait":    acme.submit("5", "Prefer: wait=10"),
		"over SSE":    acme.submit("5", "Accept: text/event-stream"),
		"over NDJSON": acme.submit("5", "Accept: application/x-ndjson"),
		"retry":       acme.call("POST", "/v1/jobs/"+old.body.ID+"/retry", nil),
	} {
		acme.refused(what, r, 429, "job_limit", 3, 3, 1)
	}
	if r := acme.submit("1", "Idempotency-Key: k"); r.status != 202 || r.body.ID != first.body.ID || r.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a repeated submit at the limit: %d %s", r.status, r.text)
	}
	if r := umbra.submit("1"); r.status != 202 {
		t.Errorf("another client: %d %s", r.status, r.text)
	}
	m := acme.call("GET", "/metrics", nil).text
	for _, line := range []string{
		"jobcast_client_jobs_max 3", "jobcast_client_jobs_limit 3", `jobcast_refusals_total{code="job_limit"} 6`, "jobcast_jobs_expired_total 0",
		"jobcast_client_artifact_limit_bytes 1.073741824e+10", "jobcast_storage_limit_bytes 0", "jobcast_artifact_bytes 0",
	} {
		if !strings.Contains(m, "\n"+line+"\n") {
			t.Errorf("no figure %s", line)
		}
	}
	id, lease := acme.claim()
	if r := acme.call("POST", "/v1/jobs/"+id+"/complete", nil, lease); r.status != 200 {
		t.Fatalf("complete: %d %s", r.status, r.text)
	}
	if r := acme.submit("5"); r.status != 202 {
		t.Errorf("after one has ended: %d %s", r.status, r.text)
	}
}

// TestTenantAtItsArtifactLimit: uploads are refused by their headers, or cut where
// the room ends; many at the same time share it; a kill in the middle of them costs
// no room; and nobody else notices.
func TestTenantAtItsArtifactLimit(t *testing.T) {
	const limit, half = 2 << 20, 64 << 10
	p, bin, dir, acme, umbra := fillers(t, "--max-artifacts-per-client=2MiB")
	acme.submit("1")
	umbra.submit("1")
	id, lease := acme.claim()
	path := "/v1/jobs/" + id + "/artifacts/"
	put := func(name string, size int, chunked bool) reply {
		var body io.Reader = bytes.NewReader(make([]byte, size))
		if chunked {
			body = io.MultiReader(body)
		}
		return acme.call("PUT", path+name, body, lease)
	}
	acme.refused("announced", put("x", limit+1, false), 507, "artifact_limit", limit, 0, limit+1)
	if r := put("x", limit+1, true); r.status != 507 || r.body.Code != "artifact_limit" {
		t.Errorf("not announced: %d %s", r.status, r.text)
	}
	acme.unread(path+"x", lease, limit+1)

	var made, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			switch r := put(fmt.Sprint("n", i), limit/8, i%2 == 0); r.status {
			case 201:
				made.Add(1)
			case 507:
				refused.Add(1)
			default:
				t.Errorf("upload: %d %s", r.status, r.text)
			}
		})
	}
	all.Wait()
	for made.Load() < 8 { // what was held for others that were refused is there
		if r := put(fmt.Sprint("m", made.Add(1)), limit/8, false); r.status != 201 {
			t.Fatalf("room that was given back: %d %s", r.status, r.text)
		}
	}
	if made.Load() != 8 {
		t.Errorf("%d of 24 uploads were kept, %d refused; there is room for 8", made.Load(), refused.Load())
	}
	acme.refused("one byte more", put("x", 1, false), 507, "artifact_limit", limit, limit, 1)
	acme.refused("none of it is left", put("y", 1, false), 507, "artifact_limit", limit, limit, 1)
	if r := put("n0", limit/8, false); r.status != 201 && r.status != 507 {
		t.Errorf("replacing: %d %s", r.status, r.text)
	}
	other, otherLease := umbra.claim()
	if r := umbra.call("PUT", "/v1/jobs/"+other+"/artifacts/f", bytes.NewReader(make([]byte, limit-5*half)), otherLease); r.status != 201 {
		t.Errorf("another client: %d %s", r.status, r.text)
	}

	conns := umbra.halfUploads(dir, "/v1/jobs/"+other+"/artifacts/", otherLease, 5, half)
	umbra.refused("beside uploads under way", umbra.call("PUT", "/v1/jobs/"+other+"/artifacts/g", strings.NewReader("x"), otherLease),
		507, "artifact_limit", limit, limit, 1)
	p.kill()
	for _, c := range conns {
		_ = c.Close()
	}
	p = serve(t, bin, dir, "--max-artifacts-per-client=2MiB")
	acme.addr, umbra.addr = p.addr, p.addr
	r := umbra.call("PUT", "/v1/jobs/"+other+"/artifacts/g", bytes.NewReader(make([]byte, 5*half)), otherLease)
	if r.status != 201 {
		t.Errorf("after the kill: %d %s", r.status, r.text)
	}
	umbra.refused("after the kill", umbra.call("PUT", "/v1/jobs/"+other+"/artifacts/h", strings.NewReader("x"), otherLease),
		507, "artifact_limit", limit, limit, 1)
	if n, bytes := folderSize(t, filepath.Join(dir, "artifacts")); n != 10 || bytes != 2*limit {
		t.Errorf("%d files with %d bytes", n, bytes)
	}
}

// unread announces an upload and sends little of it: the refusal comes all the same.
func (f filler) unread(path, lease string, size int) {
	f.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s", path, f.key, lease, size,
		strings.Repeat("x", 16<<10))
	_ = conn.SetReadDeadline(time.Now().Add(8 * time.Second)) // before the server gives the body up
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 507 {
		f.Errorf("a refusal by the headers: %v, %v", resp, err)
	}
}

// halfUploads begins uploads of size bytes and sends half of each.
func (f filler) halfUploads(dir, path, lease string, n, size int) (conns []net.Conn) {
	f.Helper()
	for i := range n {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			f.Fatal(err)
		}
		conns = append(conns, conn)
		fmt.Fprintf(conn, "PUT %shalf%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
			path, i, f.key, lease, size, strings.Repeat("x", size/2))
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

// folderSize counts the files of a folder and their bytes.
func folderSize(t *testing.T, dir string) (n int, bytes int64) {
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

// TestStorageFull: when the folder is full, what adds is refused, what ends is not,
// and when retention has deleted what ended there is room again.
func TestStorageFull(t *testing.T) {
	t.Parallel()
	b := bootWith(t, transporttest.Options{}, "--max-storage=64MiB")
	dir := b.dir
	_, acmeKey := b.Key("acme", auth.KeyOptions{}, auth.Submit, auth.Work, auth.Admin)
	_, umbraKey := b.Key("umbra", auth.KeyOptions{})
	acme, umbra := filler{t, b.ln.Addr().String(), acmeKey}, filler{t, b.ln.Addr().String(), umbraKey}
	umbra.submit("1")
	id, lease := umbra.claim()
	big := `"` + strings.Repeat("x", 250<<10) + `"`
	var no atomic.Int64
	var made sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				r := acme.submit(big)
				switch r.status {
				case 202:
					made.Store(r.body.ID, true)
					continue
				case 507:
					no.Add(1)
				default:
					t.Errorf("submit: %d %s", r.status, r.text)
				}
				return
			}
		})
	}
	all.Wait()
	r := acme.submit(big)
	if r.status != 507 || r.body.Code != "storage_full" || r.body.Limit == nil || *r.body.Limit != 60<<20 || *r.body.Used+*r.body.Asked <= *r.body.Limit ||
		r.header.Get("Retry-After") == "" || no.Load() != 8 {
		t.Fatalf("submit: %d %.300s, %d were refused", r.status, r.text, no.Load())
	}
	for _, size := range []int{30 << 10, 3 << 10, 1} { // the room that is left for smaller ones
		for r.status = 202; r.status == 202; {
			r = acme.submit(`"` + strings.Repeat("x", size) + `"`)
		}
	}
	if r := acme.call("GET", "/readyz", nil); r.status != 503 {
		t.Errorf("readyz while submits are refused: %d %s", r.status, r.text)
	}
	acme.full("a key", acme.call("POST", "/v1/keys", strings.NewReader(`{"name":"more"}`)))
	umbra.full("a report", umbra.call("POST", "/v1/jobs/"+id+"/progress", strings.NewReader(`{"log":{"line":"`+strings.Repeat("x", 8<<10)+`"}}`), lease))
	umbra.full("an upload", umbra.call("PUT", "/v1/jobs/"+id+"/artifacts/f", bytes.NewReader(make([]byte, 1<<20)), lease))
	if _, size := folderSize(t, dir); size > 64<<20 {
		t.Errorf("the folder has %d bytes", size)
	}
	if r := umbra.call("POST", "/v1/jobs/"+id+"/complete", strings.NewReader(`{"result":{"x":"`+strings.Repeat("x", 10<<10)+`"}}`), lease); r.status != 200 {
		t.Errorf("complete: %d %s", r.status, r.text)
	}
	made.Range(func(id, _ any) bool {
		if r := acme.call("POST", fmt.Sprint("/v1/jobs/", id, "/cancel"), nil); r.status != 200 {
			t.Errorf("cancel: %d %s", r.status, r.text)
		}
		return true
	})
	b.Prune()
	if r := acme.submit(big); r.status != 202 {
		t.Errorf("after retention: %d %s", r.status, r.text)
	}
	if r := acme.call("GET", "/readyz", nil); r.status != 200 {
		t.Errorf("readyz after retention: %d %s", r.status, r.text)
	}
}

// full checks a refusal because the folder is full.
func (f filler) full(what string, r reply) {
	f.Helper()
	b := r.body
	if r.status != 507 || b.Code != "storage_full" || b.Limit == nil || b.Used == nil || b.Asked == nil || *b.Used+*b.Asked <= *b.Limit {
		f.Errorf("%s: %d %s, want storage_full", what, r.status, r.text)
	}
}
