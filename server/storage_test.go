package server_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/e2e/program"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestStorageFull: when the folder is full, what adds is refused, what ends is not,
// and when retention has deleted what ended there is room again.
func TestStorageFull(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t, transporttest.Options{}, "--max-storage=64MiB")
	dir := b.Dir
	_, acmeKey := b.Key("acme", auth.KeyOptions{}, auth.Submit, auth.Work, auth.Admin)
	_, umbraKey := b.Key("umbra", auth.KeyOptions{})
	acme, umbra := program.Caller{T: t, Addr: b.Addr(), Key: acmeKey}, program.Caller{T: t, Addr: b.Addr(), Key: umbraKey}
	umbra.Submit("1")
	id, lease := umbra.Claim()
	big := `"` + strings.Repeat("x", 250<<10) + `"`
	var no atomic.Int64
	var made sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				r := acme.Submit(big)
				switch r.Status {
				case 202:
					made.Store(r.Body.ID, true)
					continue
				case 507:
					no.Add(1)
				default:
					t.Errorf("submit: %d %s", r.Status, r.Text)
				}
				return
			}
		})
	}
	all.Wait()
	r := acme.Submit(big)
	if r.Status != 507 || r.Body.Code != "storage_full" || r.Body.Limit == nil || *r.Body.Limit != 60<<20 || *r.Body.Used+*r.Body.Asked <= *r.Body.Limit ||
		r.Header.Get("Retry-After") == "" || no.Load() != 8 {
		t.Fatalf("submit: %d %.300s, %d were refused", r.Status, r.Text, no.Load())
	}
	for _, size := range []int{30 << 10, 3 << 10, 1} { // the room that is left for smaller ones
		for r.Status = 202; r.Status == 202; {
			r = acme.Submit(`"` + strings.Repeat("x", size) + `"`)
		}
	}
	if r := acme.Call("GET", "/readyz", nil); r.Status != 503 {
		t.Errorf("readyz while submits are refused: %d %s", r.Status, r.Text)
	}
	acme.Full("a key", acme.Call("POST", "/v1/keys", strings.NewReader(`{"name":"more"}`)))
	umbra.Full("a report", umbra.Call("POST", "/v1/jobs/"+id+"/progress", strings.NewReader(`{"log":{"line":"`+strings.Repeat("x", 8<<10)+`"}}`), lease))
	umbra.Full("an upload", umbra.Call("PUT", "/v1/jobs/"+id+"/artifacts/f", bytes.NewReader(make([]byte, 1<<20)), lease))
	if _, size := program.FolderSize(t, dir); size > 64<<20 {
		t.Errorf("the folder has %d bytes", size)
	}
	if r := umbra.Call("POST", "/v1/jobs/"+id+"/complete", strings.NewReader(`{"result":{"x":"`+strings.Repeat("x", 10<<10)+`"}}`), lease); r.Status != 200 {
		t.Errorf("complete: %d %s", r.Status, r.Text)
	}
	made.Range(func(id, _ any) bool {
		if r := acme.Call("POST", fmt.Sprint("/v1/jobs/", id, "/cancel"), nil); r.Status != 200 {
			t.Errorf("cancel: %d %s", r.Status, r.Text)
		}
		return true
	})
	b.Prune()
	if r := acme.Submit(big); r.Status != 202 {
		t.Errorf("after retention: %d %s", r.Status, r.Text)
	}
	if r := acme.Call("GET", "/readyz", nil); r.Status != 200 {
		t.Errorf("readyz after retention: %d %s", r.Status, r.Text)
	}
}
