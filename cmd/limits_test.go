package cmd

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jobcast/jobcast/e2e/program"
)

// fillers starts a server with bounds and makes two clients of it.
func fillers(t *testing.T, flags ...string) (p *process, bin, dir string, acme, umbra program.Caller) {
	bin, dir = binary(t), t.TempDir()
	keys := []string{}
	for _, client := range []string{"acme", "umbra"} {
		keys = append(keys, strings.TrimSpace(mustKeys(t, "", "create", "--client", client, "--scope", "submit,watch,work,admin", "--data", dir).out))
	}
	p = serve(t, bin, dir, flags...)
	return p, bin, dir, program.Caller{T: t, Addr: p.addr, Key: keys[0]}, program.Caller{T: t, Addr: p.addr, Key: keys[1]}
}

// TestTenantAtItsJobLimit: one more job is refused in every way in which a job is
// made, and nobody else notices.
func TestTenantAtItsJobLimit(t *testing.T) {
	_, _, _, acme, umbra := fillers(t, "--max-jobs-per-client=3")
	first := acme.Submit("1", "Idempotency-Key: k")
	old := acme.Submit("2")
	acme.Call("POST", "/v1/jobs/"+old.Body.ID+"/cancel", nil)
	acme.Submit("3")
	acme.Submit("4")
	for what, r := range map[string]program.Reply{
		"submit":      acme.Submit("5"),
		"with a key":  acme.Submit("5", "Idempotency-Key: other"),
		"and wait":    acme.Submit("5", "Prefer: wait=10"),
		"over SSE":    acme.Submit("5", "Accept: text/event-stream"),
		"over NDJSON": acme.Submit("5", "Accept: application/x-ndjson"),
		"retry":       acme.Call("POST", "/v1/jobs/"+old.Body.ID+"/retry", nil),
	} {
		acme.Refused(what, r, 429, "job_limit", 3, 3, 1)
	}
	acme.Refused("a batch", acme.Call("POST", "/v1/jobs/batch", strings.NewReader(`{"jobs":[{"queue":"q"},{"queue":"q"}]}`)), 429, "job_limit", 3, 3, 2)
	if r := acme.Submit("1", "Idempotency-Key: k"); r.Status != 202 || r.Body.ID != first.Body.ID || r.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a repeated submit at the limit: %d %s", r.Status, r.Text)
	}
	if r := umbra.Submit("1"); r.Status != 202 {
		t.Errorf("another client: %d %s", r.Status, r.Text)
	}
	m := acme.Call("GET", "/metrics", nil).Text
	for _, line := range []string{
		"jobcast_client_jobs_max 3", "jobcast_client_jobs_limit 3", `jobcast_refusals_total{code="job_limit"} 7`, "jobcast_jobs_expired_total 0",
		"jobcast_client_artifact_limit_bytes 1.073741824e+10", "jobcast_storage_limit_bytes 0", "jobcast_artifact_bytes 0",
	} {
		if !strings.Contains(m, "\n"+line+"\n") {
			t.Errorf("no figure %s", line)
		}
	}
	id, lease := acme.Claim()
	if r := acme.Call("POST", "/v1/jobs/"+id+"/complete", nil, lease); r.Status != 200 {
		t.Fatalf("complete: %d %s", r.Status, r.Text)
	}
	if r := acme.Submit("5"); r.Status != 202 {
		t.Errorf("after one has ended: %d %s", r.Status, r.Text)
	}
}

// TestTenantAtItsArtifactLimit: uploads are refused by their headers, or cut where
// the room ends; many at the same time share it; a kill in the middle of them costs
// no room; and nobody else notices.
func TestTenantAtItsArtifactLimit(t *testing.T) {
	const limit, half = 2 << 20, 64 << 10
	p, bin, dir, acme, umbra := fillers(t, "--max-artifacts-per-client=2MiB")
	acme.Submit("1")
	umbra.Submit("1")
	id, lease := acme.Claim()
	path := "/v1/jobs/" + id + "/artifacts/"
	put := func(name string, size int, chunked bool) program.Reply {
		var body io.Reader = bytes.NewReader(make([]byte, size))
		if chunked {
			body = io.MultiReader(body)
		}
		return acme.Call("PUT", path+name, body, lease)
	}
	acme.Refused("announced", put("x", limit+1, false), 507, "artifact_limit", limit, 0, limit+1)
	if r := put("x", limit+1, true); r.Status != 507 || r.Body.Code != "artifact_limit" {
		t.Errorf("not announced: %d %s", r.Status, r.Text)
	}
	acme.Unread(path+"x", lease, limit+1)

	var made, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			switch r := put(fmt.Sprint("n", i), limit/8, i%2 == 0); r.Status {
			case 201:
				made.Add(1)
			case 507:
				refused.Add(1)
			default:
				t.Errorf("upload: %d %s", r.Status, r.Text)
			}
		})
	}
	all.Wait()
	for made.Load() < 8 { // what was held for others that were refused is there
		if r := put(fmt.Sprint("m", made.Add(1)), limit/8, false); r.Status != 201 {
			t.Fatalf("room that was given back: %d %s", r.Status, r.Text)
		}
	}
	if made.Load() != 8 {
		t.Errorf("%d of 24 uploads were kept, %d refused; there is room for 8", made.Load(), refused.Load())
	}
	acme.Refused("one byte more", put("x", 1, false), 507, "artifact_limit", limit, limit, 1)
	acme.Refused("none of it is left", put("y", 1, false), 507, "artifact_limit", limit, limit, 1)
	if r := put("n0", limit/8, false); r.Status != 201 && r.Status != 507 {
		t.Errorf("replacing: %d %s", r.Status, r.Text)
	}
	other, otherLease := umbra.Claim()
	if r := umbra.Call("PUT", "/v1/jobs/"+other+"/artifacts/f", bytes.NewReader(make([]byte, limit-5*half)), otherLease); r.Status != 201 {
		t.Errorf("another client: %d %s", r.Status, r.Text)
	}

	conns := umbra.HalfUploads(dir, "/v1/jobs/"+other+"/artifacts/", otherLease, 5, half)
	umbra.Refused("beside uploads under way", umbra.Call("PUT", "/v1/jobs/"+other+"/artifacts/g", strings.NewReader("x"), otherLease),
		507, "artifact_limit", limit, limit, 1)
	p.kill()
	for _, c := range conns {
		_ = c.Close()
	}
	p = serve(t, bin, dir, "--max-artifacts-per-client=2MiB")
	acme.Addr, umbra.Addr = p.addr, p.addr
	r := umbra.Call("PUT", "/v1/jobs/"+other+"/artifacts/g", bytes.NewReader(make([]byte, 5*half)), otherLease)
	if r.Status != 201 {
		t.Errorf("after the kill: %d %s", r.Status, r.Text)
	}
	umbra.Refused("after the kill", umbra.Call("PUT", "/v1/jobs/"+other+"/artifacts/h", strings.NewReader("x"), otherLease),
		507, "artifact_limit", limit, limit, 1)
	if n, bytes := program.FolderSize(t, filepath.Join(dir, "artifacts")); n != 10 || bytes != 2*limit {
		t.Errorf("%d files with %d bytes", n, bytes)
	}
}
