package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// tenant is a client with two running jobs that hold its words.
type tenant struct {
	log        *transporttest.Log
	job, spare *transporttest.Work
	key, token string
	called     string // the job that the call to repeat made
}

// A call that says nothing of its caller, so that others can repeat it.
const (
	sameKey  = "order-7"
	sameBody = `{"queue":"called"}`
)

// The words of a tenant that stand in its jobs, and (mark) in its events.
func (n *tenant) payload() string  { return "payload of " + n.log.Client }
func (n *tenant) metadata() string { return "metadata of " + n.log.Client }
func (n *tenant) mark() string     { return n.log.Client + "/" }

func (n *tenant) words() []string { return []string{n.payload(), n.metadata(), n.mark()} }

// epoch is how the cursors of the tenant's log begin.
func (n *tenant) epoch() string {
	epoch, _, _ := strings.Cut(n.log.Head(), "-")
	return epoch + "-"
}

// isolationFixture is a server with two tenants; acme is the one that others try to
// read.
type isolationFixture struct {
	*testing.T
	server      *servertest.Server
	tr          transporttest.Transport
	acme, umbra *tenant
	cells       int
}

func newIsolationFixture(t *testing.T, tr transporttest.Transport) *isolationFixture {
	server := servertest.Start(t, transporttest.Options{})
	f := &isolationFixture{T: t, server: server, tr: tr}
	f.acme, f.umbra = f.tenant("acme-5d1c"), f.tenant("umbra-77e0")
	a := f.ask(transporttest.Caller{Dial: server.Dial, Secret: f.acme.key}, "/v1/jobs", sameBody, "*/*", sameKey)
	f.acme.called = f.adopt(f.acme, a).Job
	return f
}

func (c *isolationFixture) tenant(name string) *tenant {
	many := 1000 // a stream that was left counts until the server has noticed
	_, key := c.server.Key(name, auth.KeyOptions{MaxConnections: &many})
	n := &tenant{log: transporttest.NewLog(c.server, name), key: key}
	body := `{"queue":"watched","payload":"` + n.payload() + `","metadata":{"a":"` + n.metadata() + `"}}`
	n.job = c.adopt(n, c.ask(transporttest.Caller{Dial: c.server.Dial, Secret: key}, "/v1/jobs", body, "*/*", ""))
	n.job.Claim(c)
	n.spare = n.log.Begin(c)
	n.job.Emit(c, 4, 2)
	n.spare.Emit(c, 2, 2)
	n.token = c.mint(key, "{}")
	return n
}

// adopt takes note of the job that an answer says was made.
func (c *isolationFixture) adopt(n *tenant, a answer) *transporttest.Work {
	c.Helper()
	j, err := c.server.Jobs().Get(c.Context(), n.log.Client, path.Base(a.header.Get("Location")))
	if err != nil {
		c.Fatalf("the job of %d %s: %v", a.status, a.body, err)
	}
	return n.log.Adopt(c, j)
}

func (c *isolationFixture) mint(key, body string) string {
	c.Helper()
	a := c.ask(transporttest.Caller{Dial: c.server.Dial, Secret: key}, "/v1/tokens", body, "*/*", "")
	var made struct{ Token string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusCreated {
		c.Fatalf("%d %s", a.status, a.body)
	}
	return made.Token
}

// answer is the answer to a POST; of a stream it is what came until `live`.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes a POST.
func (c *isolationFixture) ask(caller transporttest.Caller, target, body, accept, idem string) answer {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), readTime)
	defer cancel()
	req, err := caller.Request(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	if idem != "" {
		req.Header.Set("Idempotency-Key", idem)
	}
	hc := caller.Client()
	defer hc.CloseIdleConnections()
	resp, err := hc.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	buf := make([]byte, 4096)
	for !strings.Contains(string(a.body), `"live"`) && !strings.Contains(string(a.body), "event: live\n") {
		n, err := resp.Body.Read(buf)
		a.body = append(a.body, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.Fatalf("after %q: %v", a.body, err)
		}
	}
	return a
}

// untilRefused waits until the server has seen that a key was revoked.
func (c *isolationFixture) untilRefused(key string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute) // that a second is enough is proved in fake time
	defer cancel()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		r, err := c.tr.Open(ctx, transporttest.Caller{Dial: c.server.Dial, Secret: key}, transporttest.Opening{})
		var refusal *transporttest.Refusal
		if errors.As(err, &refusal) {
			return
		}
		switch {
		case err == nil:
			leave(r)
		case ctx.Err() != nil: // others are of streams that ended while they were opened
			c.Fatalf("a revoked key: %v", err)
		}
		<-look.C
	}
}
