package rest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// A claim that waits is answered by the next submit, and several by theirs.
func TestClaimWaits(t *testing.T) {
	s := newSite(t)
	const workers = 3
	got := make(chan answer, workers)
	for range workers {
		go func() {
			a, err := s.try("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"wait":30,"leaseMs":60000}`)
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
	}
	key := s.keyID(s.plain)
	s.until("the claims wait", func() bool { return s.streams.Waiting(key) == workers })
	for range workers {
		id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
		jobs := (<-got).claimed(t)
		if len(jobs) != 1 || jobs[0].ID != id || time.Until(jobs[0].Lease.ExpiresAt) < 50*time.Second {
			t.Errorf("claimed %+v, want %s", jobs, id)
		}
	}
	s.until("the calls are over", func() bool { return s.streams.Waiting(key) == 0 })
	if empty := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`); empty.body != `{"jobs":[]}`+"\n" {
		t.Errorf("%s", empty.body)
	}
}

// keyID returns the id in a secret.
func (s *site) keyID(secret string) string {
	return strings.Split(secret, "_")[1]
}

// A connection that waits for its worker's next request holds nothing of the last answer.
func TestAnsweredClaimHoldsNoJobs(t *testing.T) {
	s := newSite(t)
	const workers, size = 20, 200_000
	for range workers {
		s.call("POST", "/v1/jobs", s.plain, fmt.Sprintf(`{"queue":"q","payload":%q}`, strings.Repeat("x", size))).job(t, 202)
	}
	before := heap()
	for range workers {
		conn := s.park(0)
		t.Cleanup(func() { _ = conn.Close() })
		if a, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || a.StatusCode != 200 {
			t.Fatal(a, err)
		} else if n, err := io.Copy(io.Discard, a.Body); err != nil || n < size {
			t.Fatal(n, err)
		}
	}
	key := s.keyID(s.plain)
	s.until("the calls are over", func() bool { return s.streams.Waiting(key) == 0 })
	if grown := heap() - before; grown > workers*size/4 {
		t.Errorf("%d answers hold %d KiB", workers, grown>>10)
	}
}

func heap() int {
	for range 3 { // what lies in a sync.Pool survives the first
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Waiting calls have a limit of their own.
func TestClaimLimit(t *testing.T) {
	s := newSite(t, func(_ *Deps, l *auth.Limits) { l.Waits = 1 })
	first := s.park(30)
	defer first.Close()
	s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`).problem(t, transport.ConnectionLimit)
	_ = first.Close()
	s.until("the slot is free", func() bool { return s.streams.Waiting(s.keyID(s.plain)) == 0 })
	if a := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// park sends a claim over a socket of its own, and returns once it is parked, if it may
// wait: one that may not is answered before anybody looks.
func (s *site) park(wait int) *net.TCPConn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	body := fmt.Sprintf(`{"queues":["q"],"wait":%d}`, wait)
	_, err = fmt.Fprintf(conn, "POST /v1/workers/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.plain, len(body), body)
	if err != nil {
		s.t.Fatal(err)
	}
	if wait > 0 {
		s.until("the claim is parked", func() bool { return s.pool.Len() > 0 })
	}
	return conn.(*net.TCPConn)
}

// A worker whose socket was killed while it waited gets no job.
func TestClaimOfAGoneWorker(t *testing.T) {
	s := newSite(t)
	for range 20 {
		conn := s.park(30)
		_ = conn.SetLinger(0) // a reset, as of a killed machine's last packet
		_ = conn.Close()
		s.until("the call is over", func() bool { return s.streams.Waiting(s.keyID(s.plain)) == 0 && s.pool.Len() == 0 })
		id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
		// A command of the gone one may still be on its way and take the job for a moment, so this one waits.
		got := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"wait":60}`).claimed(t)
		if len(got) != 1 || got[0].ID != id || got[0].Attempt != 1 {
			t.Fatalf("claimed %+v, want %s at its first attempt", got, id)
		}
	}
}

func (s *site) pending(id string) bool {
	j, err := s.store.Get(s.t.Context(), "acme", id)
	return err == nil && j.Status == jobs.Pending && j.Attempt == 0
}

// late is a job service whose claims return only when their caller has gone.
type late struct {
	*jobs.Service
	claimed chan struct{} // sent to when a job was claimed
}

func (l late) Claim(ctx context.Context, client string, r jobs.ClaimRequest) ([]jobs.Claimed, error) {
	got, err := l.Service.Claim(context.WithoutCancel(ctx), client, r)
	l.claimed <- struct{}{}
	<-ctx.Done()
	return got, err
}

// A job that was claimed for a worker which is killed before the answer is
// written is handed back, and its attempt is not counted.
func TestClaimIsHandedBack(t *testing.T) {
	slow := late{claimed: make(chan struct{}, 1)}
	s := newSite(t, func(d *Deps, _ *auth.Limits) {
		slow.Service = d.Jobs.(*jobs.Service)
		d.Jobs = slow
	})
	conn := s.park(30)
	id := s.call("POST", "/v1/jobs", s.plain, someJob).job(t, 202).ID
	<-slow.claimed
	if s.pending(id) {
		t.Fatal("the job was not claimed")
	}
	_ = conn.SetLinger(0)
	_ = conn.Close()
	s.until("the job is pending", func() bool { return s.pending(id) })
	if story := s.events("acme", id); len(story) != 3 || !strings.Contains(story[2], `"error":"Interrupted"`) {
		t.Errorf("%q", story)
	}
}

// Whoever's key is revoked while it waits gets no job.
func TestClaimChecksTheKeyAgain(t *testing.T) {
	s := newSite(t)
	got := make(chan answer, 1)
	go func() {
		a, err := s.try("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"wait":30}`)
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	key := s.keyID(s.plain)
	s.until("the claim waits", func() bool { return s.streams.Waiting(key) == 1 })
	if err := s.store.RevokeKey(t.Context(), "acme", key, time.Now()); err != nil {
		t.Fatal(err)
	}
	id := s.call("POST", "/v1/jobs", s.admin, someJob).job(t, 202).ID
	(<-got).problem(t, transport.Unauthenticated)
	if j, err := s.store.Get(t.Context(), "acme", id); err != nil || j.Status != jobs.Pending || j.Attempt != 0 {
		t.Errorf("%+v, %v", j, err)
	}
}

// A server that goes down answers the claims that wait.
func TestClaimDrains(t *testing.T) {
	s := newSite(t)
	conn := s.park(30)
	defer conn.Close()
	s.door.Drain()
	s.service.StopClaims()
	if err := s.pool.Drain(t.Context(), func() time.Duration { return time.Second }); err != nil {
		t.Fatal(err)
	}
	var b [4096]byte
	n, err := conn.Read(b[:])
	if text := string(b[:n]); err != nil || !strings.HasPrefix(text, "HTTP/1.1 200") || !strings.HasSuffix(text, `{"jobs":[]}`+"\n") {
		t.Errorf("%q, %v", text, err)
	}
	s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"]}`).problem(t, transport.Draining)
}

// A worker that closes its socket as soon as it has the answer keeps its job.
func TestClaimOfAHastyWorker(t *testing.T) {
	s := newSite(t)
	hasty := func(n int) {
		for range n {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			const body = `{"queues":["q"]}`
			fmt.Fprintf(conn, "POST /v1/workers/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
				"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.plain, len(body), body)
			var got []byte
			for buf := make([]byte, 4096); !strings.HasSuffix(string(got), "]}\n"); {
				n, err := conn.Read(buf)
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, buf[:n]...)
			}
			_ = conn.Close()
		}
	}
	const workers, each = 8, 25
	ids := s.fill(workers * each)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { hasty(each) })
	}
	all.Wait()
	s.until("the calls are over", func() bool { return s.streams.Waiting(s.keyID(s.plain)) == 0 })
	for _, id := range ids {
		if story := s.events("acme", id); len(story) != 2 {
			t.Fatalf("a job was taken from its worker: %q", story)
		}
	}
}
