package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// ended is the answer to a call that ends an attempt and claims.
type ended struct {
	Job  given
	Jobs []given
}

func (a answer) ended(t *testing.T) ended {
	t.Helper()
	var got ended
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 || got.Jobs == nil {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return got
}

const claimsNext = `"claim":{"queues":["p","q"],"leaseMs":60000}}`

// An attempt's end claims the next job with it, and the same call again is answered with
// the same lease and claims no other.
func TestEndAndClaim(t *testing.T) {
	s := newSite(t)
	ids := s.fill(3)
	first := s.claim()
	a := s.as(first, "complete", `{"result":{"n":1},`+claimsNext)
	got := a.ended(t)
	if got.Job.ID != first.ID || got.Job.Status != jobs.Completed || len(got.Jobs) != 1 || !strings.Contains(a.body, `"result":{"n":1}`) {
		t.Fatalf("%s", a.body)
	}
	second := got.Jobs[0]
	if left := time.Until(second.Lease.ExpiresAt); second.Status != jobs.Processing || second.Attempt != 1 || left < 50*time.Second || left > time.Minute {
		t.Errorf("%+v", second)
	}
	if !strings.Contains(a.body, `"payload":null`) || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	again := s.as(first, "complete", `{"result":{"n":1},`+claimsNext).ended(t)
	if len(again.Jobs) != 1 || again.Jobs[0].ID != second.ID || again.Jobs[0].Lease.Token != second.Lease.Token || again.Job.Cursor != got.Job.Cursor {
		t.Errorf("again: %+v", again)
	}
	if plain := s.as(first, "complete", `{"result":{"n":1}}`).job(t, 200); plain.Cursor != got.Job.Cursor {
		t.Errorf("again without a claim: %+v", plain)
	}
	third := s.as(second, "fail", `{"errorMessage":"x","retry":false,`+claimsNext).ended(t)
	if third.Job.Status != jobs.Failed || len(third.Jobs) != 1 {
		t.Fatalf("%+v", third)
	}
	last := s.as(third.Jobs[0], "fail", `{"errorMessage":"x",`+claimsNext)
	if got := last.ended(t); got.Job.Status != jobs.Pending || len(got.Jobs) != 0 {
		t.Errorf("%s", last.body)
	}
	s.as(third.Jobs[0], "complete", `{`+claimsNext).problem(t, transport.LeaseLost)
	s.fill(1)
	if again := s.as(third.Jobs[0], "fail", `{"errorMessage":"x",`+claimsNext).ended(t); len(again.Jobs) != 0 {
		t.Errorf("what claimed none claims %+v", again.Jobs)
	}
	for _, id := range ids {
		if story := s.events("acme", id); len(story) != 3 {
			t.Errorf("%q", story)
		}
	}
}

// What is wrong with the claim ends nothing, and what is wrong with the end claims nothing.
func TestEndAndClaimRefused(t *testing.T) {
	s := newSite(t)
	s.fill(2)
	g := s.claim()
	for _, tt := range [][3]string{
		{"complete", `{"claim":{}}`, "/claim/queues"},
		{"complete", `{"claim":{"queues":["Q"]}}`, "/claim/queues/0"},
		{"complete", `{"claim":{"queues":["q"],"leaseMs":4999}}`, "/claim/leaseMs"},
		{"complete", `{"claim":{"queues":["q"],"max":2}}`, "/claim/max"},
		{"complete", `{"claim":{"queues":["q"],"max":-1}}`, "/claim/max"},
		{"complete", `{"claim":true}`, "/claim"},
		{"complete", `{"result":[],"claim":{"queues":["q"]}}`, "/result"},
		{"fail", `{"claim":{"queues":["q"]}}`, "/errorMessage"},
		{"fail", `{"errorMessage":"x","claim":{"queues":[]}}`, "/claim/queues"},
	} {
		p := s.as(g, tt[0], tt[1]).problem(t, transport.Invalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != tt[2] {
			t.Errorf("%s %s: %v, want %s", tt[0], tt[1], p.Errors, tt[2])
		}
	}
	lost := g
	lost.Lease.Token += "x"
	a := s.as(lost, "complete", `{"claim":{"queues":["q"]}}`)
	if a.problem(t, transport.LeaseLost); !strings.Contains(a.body, `"jobStatus":"processing"`) {
		t.Errorf("%s", a.body)
	}
	if got := s.as(g, "complete", `{"claim":null}`).job(t, 200); got.Status != jobs.Completed {
		t.Errorf("%+v", got)
	}
	if left := s.call("POST", "/v1/workers/claim", s.plain, `{"queues":["q"],"max":9}`).claimed(t); len(left) != 1 || left[0].Attempt != 1 {
		t.Errorf("left are %+v", left)
	}
}

// While claims are stopped an end is taken and claims nothing, but what it had claimed is
// answered again.
func TestEndWhileClaimsAreStopped(t *testing.T) {
	s := newSite(t)
	s.fill(3)
	first := s.claim()
	next := s.as(first, "complete", `{`+claimsNext).ended(t).Jobs[0]
	s.service.StopClaims()
	if again := s.as(first, "complete", `{`+claimsNext).ended(t); len(again.Jobs) != 1 || again.Jobs[0].Lease.Token != next.Lease.Token {
		t.Errorf("%+v", again)
	}
	if got := s.as(next, "complete", `{`+claimsNext).ended(t); got.Job.Status != jobs.Completed || len(got.Jobs) != 0 {
		t.Errorf("%+v", got)
	}
}

// A key has so many ends that claim as it may have claims. One beyond them is taken and
// claims nothing; what it has claimed before it is told once there is room.
func TestEndAndClaimLimit(t *testing.T) {
	s := newSite(t, func(_ *Deps, l *auth.Limits) { l.Waits = 1 })
	s.fill(3)
	p, err := s.door.Login(s.plain, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	none := func() bool { return s.streams.Waiting(p.KeyID) == 0 }
	full := func() *auth.Slot {
		t.Helper()
		s.until("the call before is over", none)
		slot, err := s.streams.OpenWait(p)
		if err != nil {
			t.Fatal(err)
		}
		return slot
	}
	first := s.claim()
	s.until("the claim is over", none)
	next := s.as(first, "complete", `{`+claimsNext).ended(t).Jobs[0]
	slot := full()
	s.as(first, "complete", `{`+claimsNext).problem(t, transport.ConnectionLimit)
	s.as(first, "fail", `{"errorMessage":"x",`+claimsNext).problem(t, transport.LeaseLost)
	slot.Release()
	if again := s.as(first, "complete", `{`+claimsNext).ended(t); len(again.Jobs) != 1 || again.Jobs[0].Lease.Token != next.Lease.Token {
		t.Errorf("once there is room: %+v", again)
	}
	slot = full()
	for range 2 {
		if got := s.as(next, "complete", `{`+claimsNext).ended(t); got.Job.Status != jobs.Completed || len(got.Jobs) != 0 {
			t.Errorf("without room: %+v", got)
		}
	}
	slot.Release()
	if got := s.as(next, "complete", `{`+claimsNext).ended(t); len(got.Jobs) != 0 || !none() {
		t.Errorf("what claimed none without room, with it: %+v, and %d calls wait", got, s.streams.Waiting(p.KeyID))
	}
}

// An end that claims counts as a waiting call of its key until its answer is written.
func TestEndAndClaimIsCounted(t *testing.T) {
	s, w, g := slowSite(t, times{})
	conn := s.endOn(g)
	defer conn.Close()
	<-w.claimed
	key := s.keyID(s.plain)
	if n := s.streams.Waiting(key); n != 1 {
		t.Errorf("%d calls wait", n)
	}
	close(w.leave)
	s.until("the answer is written", func() bool { return s.streams.Waiting(key) == 0 })
}

// slow is a job service whose first end that claims is answered only when it is let go.
type slow struct {
	*jobs.Service
	asked   atomic.Bool
	claimed chan string   // gets the id of the job that was claimed
	leave   chan struct{} // closed: let it go
	back    chan error    // gets what became of each claim that was handed back
}

// slowSite is a site with a slow service, and the lease of a job that is followed by another.
func slowSite(t *testing.T, last times) (*site, *slow, given) {
	t.Helper()
	w := &slow{claimed: make(chan string, 1), leave: make(chan struct{}), back: make(chan error, 9)}
	s := newSiteWithTimes(t, last, func(d *Deps, _ *auth.Limits) {
		w.Service = d.Jobs.(*jobs.Service)
		d.Jobs = w
	})
	s.fill(2)
	return s, w, s.claim()
}

func (w *slow) End(ctx context.Context, e jobs.End, next *jobs.NextClaim) (jobs.Job, []jobs.Claimed, error) {
	j, claimed, err := w.Service.End(ctx, e, next)
	if err == nil && len(claimed) > 0 {
		if w.asked.CompareAndSwap(false, true) {
			w.claimed <- claimed[0].Job.ID
			<-w.leave
		}
	}
	return j, claimed, err
}

func (w *slow) HandBack(ctx context.Context, l jobs.Leased) error {
	err := w.Service.HandBack(ctx, l)
	w.back <- err
	return err
}

// endOn completes an attempt and claims, over a socket of its own.
func (s *site) endOn(g given) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	const body = `{` + claimsNext
	_, err = fmt.Fprintf(conn, "POST /v1/jobs/%s/complete HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Lease-Token: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", g.ID, s.plain, g.Lease.Token, len(body), body)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// goneAfter ends an attempt, claims, and is gone before the answer. It returns the id of
// the job that was claimed.
func (w *slow) goneAfter(s *site, g given) string {
	s.t.Helper()
	conn := s.endOn(g)
	id := <-w.claimed
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	return id
}

// A job that was claimed with an end, for a worker that is gone before the answer is
// written, is handed back, and its attempt is not counted. The end stands.
func TestEndAndClaimIsHandedBack(t *testing.T) {
	s, w, g := slowSite(t, times{})
	id := w.goneAfter(s, g)
	if s.pending(id) {
		t.Fatal("the job was not claimed")
	}
	close(w.leave)
	if err := <-w.back; err != nil || !s.pending(id) {
		t.Errorf("handed back: %v", err)
	}
	if again := s.as(g, "complete", `{`+claimsNext).ended(t); again.Job.Status != jobs.Completed || len(again.Jobs) != 0 {
		t.Errorf("the same call again: %+v", again)
	}
	if next := s.claim(); next.ID != id || next.Attempt != 1 {
		t.Errorf("claimed %+v", next)
	}
}

// What a repeated call was answered with is not taken back because the first one's answer
// could not be written.
func TestEndAndClaimAgainKeepsTheJob(t *testing.T) {
	s, w, g := slowSite(t, times{})
	id := w.goneAfter(s, g)
	again := s.as(g, "complete", `{`+claimsNext).ended(t)
	if len(again.Jobs) != 1 || again.Jobs[0].ID != id {
		t.Fatalf("the same call again: %+v", again)
	}
	close(w.leave)
	if err := <-w.back; err != nil {
		t.Error(err)
	}
	if a := s.as(again.Jobs[0], "complete", ""); a.job(t, 200).Status != jobs.Completed {
		t.Errorf("%s", a.body)
	}
	if story := s.events("acme", id); len(story) != 3 {
		t.Errorf("%q", story)
	}
}

// A worker that wants no more jobs hands back what its end has claimed by the same call,
// whatever became of the answers before, and the attempt is not counted.
func TestEndAndClaimNoMore(t *testing.T) {
	const none = `"claim":{"queues":["q"],"max":0}}`
	s := newSite(t)
	s.fill(2)
	first := s.claim()
	next := s.as(first, "complete", `{`+claimsNext).ended(t).Jobs[0]
	s.as(first, "complete", `{`+claimsNext).ended(t) // the lease is renewed
	for range 2 {
		if again := s.as(first, "complete", `{`+none).ended(t); again.Job.Status != jobs.Completed || len(again.Jobs) != 0 {
			t.Errorf("%+v", again)
		}
		if !s.pending(next.ID) {
			t.Error("the job was not handed back")
		}
	}
	s.as(next, "complete", "").problem(t, transport.LeaseLost)
	next = s.claim()
	if next.Attempt != 1 {
		t.Errorf("the attempt that was handed back counts: %+v", next)
	}
	s.as(first, "complete", `{`+none).ended(t) // it is another's now
	s.fill(1)
	if last := s.as(next, "complete", `{`+none).ended(t); last.Job.Status != jobs.Completed || len(last.Jobs) != 0 {
		t.Errorf("a first call that wants no job: %+v", last)
	}
}

// A worker that closes its socket as soon as it has the answer keeps the job that it claimed
// with an end.
func TestEndAndClaimOfAHastyWorker(t *testing.T) {
	s := newSite(t)
	const rounds = 40
	ids := s.fill(rounds + 1)
	g := s.claim()
	for range rounds {
		conn := s.endOn(g)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		g = answer{res, string(body)}.ended(t).Jobs[0]
	}
	for i, id := range ids {
		if story := s.events("acme", id); len(story) > 3 || strings.Contains(fmt.Sprint(story), "retrying") {
			t.Fatalf("job %d was taken from its worker: %q", i, story)
		}
	}
}

// Whoever waits too long for an end and its claim is told that its fate is unknown, and the
// job is handed back when it is known.
func TestEndAndClaimTakesLong(t *testing.T) {
	s, w, g := slowSite(t, times{command: time.Second / 4})
	a := s.as(g, "complete", `{`+claimsNext)
	a.problem(t, transport.Unavailable)
	id := <-w.claimed
	close(w.leave)
	if err := <-w.back; err != nil || !s.pending(id) {
		t.Errorf("handed back: %v", err)
	}
}
