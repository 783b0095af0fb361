package server_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

var churned = flag.Int("churned-connections", 400, "how many connections TestChurn opens and drops, 200 a second")

const (
	churnRate = 200                  // connections a second
	churnPace = 5 * time.Millisecond // between two events of a tenant
	crowdSize = 4                    // tenants
)

// crowd is several tenants whose readers come and go.
type crowd struct {
	t          *testing.T
	dial       func(ctx context.Context) (net.Conn, error)
	transports []transporttest.Transport
	secrets    []string // by tenant
	rooms      func(tenant int) []transporttest.Opening
	strict     bool // a reader that fails is a fault

	visits, served, foreign atomic.Int64 // connections; those with events of their own tenant; of another
}

// nameOf is a tenant's name, and the tag of its events: see Entry.Mark.
func nameOf(tenant int) string { return fmt.Sprintf("tenant-%d", tenant) }

// others are the tags of all tenants but one.
func others(tenant int) []string {
	var tags []string
	for n := range crowdSize {
		if n != tenant {
			tags = append(tags, nameOf(n)+"/")
		}
	}
	return tags
}

// run makes n visits.
func (c *crowd) run(n int) {
	pace := rate.NewLimiter(churnRate, churnRate) // it catches up after a stall
	places := make(chan struct{}, 64)             // visits at the same time
	var visits sync.WaitGroup
	for range n {
		if err := pace.Wait(c.t.Context()); err != nil {
			c.t.Error(err)
			break
		}
		places <- struct{}{}
		visits.Go(func() {
			c.visit(rand.IntN(crowdSize))
			<-places
		})
	}
	visits.Wait()
}

// visit opens a connection, reads for a moment, leaves in one of many ways, and
// looks at every byte that arrived.
func (c *crowd) visit(tenant int) {
	c.visits.Add(1)
	t := &recordingDialer{dial: c.dial, reset: rand.IntN(2) == 0}
	if rand.IntN(4) == 0 {
		t.most = 200 + rand.IntN(3000) // in the middle of a frame, most likely
	}
	c.read(t, tenant)
	if tag := t.found(others(tenant)); tag != "" {
		c.foreign.Add(1)
		if c.strict {
			c.t.Errorf("a reader of %s got an event of %s: %q", nameOf(tenant), tag, t.bytes)
		}
	}
	if t.found([]string{nameOf(tenant) + "/"}) != "" {
		c.served.Add(1)
	}
}

func (c *crowd) read(t *recordingDialer, tenant int) {
	ctx, cancel := context.WithTimeout(c.t.Context(), readTime)
	defer cancel()
	rooms := c.rooms(tenant)
	tr := c.transports[rand.IntN(len(c.transports))]
	caller := transporttest.Caller{Dial: t.Dial, Secret: c.secrets[tenant]}
	r, err := tr.Open(ctx, caller, rooms[rand.IntN(len(rooms))])
	if err != nil {
		c.failed(t, tr, "open", err)
		return
	}
	defer r.Close()
	var gone atomic.Bool
	if rand.IntN(2) == 0 { // it leaves while it waits
		leave := time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, func() {
			gone.Store(true)
			r.Close()
		})
		defer leave.Stop()
	}
	for events := rand.IntN(5); events > 0; {
		it, err := r.Next()
		if err != nil {
			if !gone.Load() {
				c.failed(t, tr, "read", err)
			}
			return
		}
		if it.Event != nil {
			events--
		}
	}
	if s, ok := r.(interface{ Goodbye() error }); ok && rand.IntN(2) == 0 {
		_ = s.Goodbye() // the connection may be gone already
	}
}

// failed says that a reader could not go on, unless that was its way to leave.
func (c *crowd) failed(t *recordingDialer, tr transporttest.Transport, what string, err error) {
	if c.strict && t.most == 0 {
		c.t.Errorf("%s: %s: %v", tr.Name, what, err)
	}
}

// TestChurn: connections of several tenants are opened and dropped in every way
// while events flow to all of them. Nobody gets a byte of another's events, and
// those who stay get all of their own.
func TestChurn(t *testing.T) {
	server := servertest.Start(t, transporttest.Options{})
	c := &crowd{t: t, dial: server.Dial, transports: transporttest.Transports(), strict: true}
	works, residents := make([]*transporttest.Work, crowdSize), []*resident{}
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for n := range crowdSize {
		_, secret := server.Key(nameOf(n), auth.KeyOptions{})
		c.secrets = append(c.secrets, secret)
		log := transporttest.NewLog(server, nameOf(n))
		works[n] = log.Begin(t)
		residents = append(residents, c.settle(n, log)...)
		writers.Go(func() { every(stop, func() bool { return emits(t, works[n]) }) })
	}
	for _, r := range residents {
		readers.Go(r.read)
	}
	c.rooms = func(n int) []transporttest.Opening {
		return []transporttest.Opening{{From: "now"}, {Job: works[n].Job, From: "now"}}
	}
	start := time.Now()
	c.run(*churned)
	took := time.Since(start)
	close(stop)
	writers.Wait()
	for _, w := range works {
		w.Finish(t)
	}
	readers.Wait()
	for _, r := range residents {
		r.check(t)
	}
	t.Logf("%d connections in %v, %.0f a second; %d saw events of their own tenant, %d of another",
		c.visits.Load(), took.Round(time.Millisecond), float64(c.visits.Load())/took.Seconds(), c.served.Load(), c.foreign.Load())
	if c.served.Load() < c.visits.Load()/4 {
		t.Error("too few connections saw anything")
	}
}

// every calls f at the pace of a tenant's events until stop, or until f says no.
func every(stop <-chan struct{}, f func() bool) {
	tick := time.NewTicker(churnPace)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if !f() {
			return
		}
	}
}

// emits emits one event.
func emits(t *testing.T, w *transporttest.Work) bool {
	err := w.TryEmit(t, 1)
	if err != nil {
		t.Errorf("emit: %v", err)
	}
	return err == nil
}

// resident is a reader that stays.
type resident struct {
	tenant   int
	name     string
	log      *transporttest.Log
	reader   transporttest.Reader
	recorded *recordingDialer
	got      []transporttest.Item
	err      error
}

// settle opens a reader of a tenant's log over each transport.
func (c *crowd) settle(tenant int, log *transporttest.Log) []*resident {
	var all []*resident
	for _, tr := range c.transports {
		t := &recordingDialer{dial: c.dial}
		caller := transporttest.Caller{Dial: t.Dial, Secret: c.secrets[tenant]}
		r, err := tr.Open(c.t.Context(), caller, transporttest.Opening{From: "start"})
		if err != nil {
			c.t.Fatalf("%s: %v", tr.Name, err)
		}
		all = append(all, &resident{tenant: tenant, name: tr.Name + " of " + log.Client, log: log, reader: r, recorded: t})
	}
	return all
}

// read reads until the end of the tenant's job.
func (r *resident) read() {
	defer r.reader.Close()
	for {
		it, err := r.reader.Next()
		if err != nil {
			r.err = err
			return
		}
		if it.Event == nil {
			continue
		}
		r.got = append(r.got, it)
		if bytes.Contains(it.Event, []byte(`"type":"job.completed"`)) {
			return
		}
	}
}

// check compares what came with what was committed.
func (r *resident) check(t *testing.T) {
	if r.err != nil {
		t.Errorf("%s: after %d events: %v", r.name, len(r.got), r.err)
		return
	}
	transporttest.Same(t, r.got, r.log.Entries(""))
	if tag := r.recorded.found(others(r.tenant)); tag != "" {
		t.Errorf("%s got an event of %s", r.name, tag)
	}
}
