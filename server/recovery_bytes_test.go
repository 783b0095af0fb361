package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestRecoveryFromCutsAtEveryByte cuts a connection after every fifth byte, from one
// that chance picks, or with `make chaos` after each, that the server sends from the
// subscribe on, comes back, and compares: there is no gap, events are
// in order, and none comes twice, except that with offsets as packets of their own a
// cut of a WebSocket inside a write repeats events of that write.
func TestRecoveryFromCutsAtEveryByte(t *testing.T) {
	for _, mode := range offsets {
		for _, via := range []transporttest.Via{transporttest.ViaWebSocket, transporttest.ViaPolling} {
			t.Run(fmt.Sprintf("%s over %s", mode, via), func(t *testing.T) {
				t.Parallel()
				c := &byteCuts{T: t, via: via, trails: mode == trailing}
				c.server = servertest.Start(t, transporttest.Options{Offset: mode})
				c.run()
			})
		}
	}
}

// byteCuts tries all cuts of one kind of connection.
type byteCuts struct {
	*testing.T
	server  transporttest.Server
	via     transporttest.Via
	trails  bool
	next    atomic.Int64 // the cut to try
	total   atomic.Int64 // bytes of a connection that nobody cuts; 0: not known yet
	repeats sync.Map     // how many cuts repeated n events, by n: *atomic.Int64
}

// noCut is further than any connection goes.
const noCut = 1 << 20

func (c *byteCuts) run() {
	step := int64(1)
	switch {
	case c.via == transporttest.ViaPolling: // an answer is whole or nothing, whichever of its bytes is missing
		step = 31
	case c.trails: // each frame is for itself
		step = 7
	case transporttest.Chaos() == 1:
		step = 5
	}
	c.next.Store(rand.Int64N(step))
	c.Logf("a cut every %d bytes from byte %d on", step, c.next.Load())
	c.try(c.viewer("client-0"), noCut)
	var all sync.WaitGroup
	for i := range 8 {
		v := c.viewer(fmt.Sprintf("client-%d", i+1))
		all.Go(func() {
			for at := c.next.Add(step) - step; at <= c.total.Load() && !c.Failed(); at = c.next.Add(step) - step {
				c.try(v, at)
			}
		})
	}
	all.Wait()
	cuts := c.next.Load() / step
	c.repeats.Range(func(n, times any) bool {
		c.Logf("of some %d cuts %d repeated %d events", cuts, times.(*atomic.Int64).Load(), n)
		return true
	})
	once := c.trails || c.via == transporttest.ViaPolling
	if _, repeated := c.repeats.Load(1); repeated == once {
		c.Errorf("events were repeated: %v", repeated)
	}
}

// byteViewer is one client of the server, whose log no other one writes.
type byteViewer struct {
	log      *transporttest.Log
	secret   string
	sentinel *transporttest.Work // its events come behind all that is owed
}

func (c *byteCuts) viewer(client string) *byteViewer {
	_, secret := c.server.Key(client, auth.KeyOptions{})
	log := transporttest.NewLog(c.server, client)
	return &byteViewer{log: log, secret: secret, sentinel: log.Begin(c)}
}

// byteCut is one connection that is cut, and the one after it.
type byteCut struct {
	*byteCuts
	*byteViewer
	ctx  context.Context
	work *transporttest.Work
	todo []func() // what is still to be written, one write each
	size []int    // events of each write, and of the history before them
	got  []string
	back transporttest.Recovery
	left atomic.Int64
	read atomic.Int64
}

// try cuts a connection after some bytes.
func (c *byteCuts) try(v *byteViewer, at int64) {
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	w := v.log.Begin(c)
	b := &byteCut{byteCuts: c, byteViewer: v, ctx: ctx, work: w, size: []int{2, 2, 1, 1}}
	b.todo = []func(){func() { w.Emit(c, 2, 2) }, func() { w.Emit(c, 1, 1) }, func() { w.Finish(c) }}
	subscribed := b.first(at)
	for len(b.todo) > 1 {
		b.write()
	}
	before := len(b.got)
	b.second(subscribed)
	b.check(before, at)
}

// write does the next of what is to be written.
func (b *byteCut) write() {
	b.todo[0]()
	b.todo = b.todo[1:]
}

func (b *byteCut) dial(ctx context.Context) (net.Conn, error) {
	nc, err := b.server.Dial(ctx)
	return &countedConn{nc, b}, err
}

// countedConn ends when the cut's bytes are read.
type countedConn struct {
	net.Conn
	b *byteCut
}

func (c *countedConn) Read(p []byte) (int, error) {
	left := c.b.left.Load()
	if left <= 0 {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.b.left.Add(int64(-n))
	c.b.read.Add(int64(n))
	return n, err
}

func (b *byteCut) connect() *transporttest.IO {
	b.left.Store(noCut)
	io, err := transporttest.DialIO(b.ctx, transporttest.Caller{Dial: b.dial, Secret: b.secret, Trails: b.trails}, b.via, b.back)
	if err != nil {
		b.Fatalf("connect: %v", err)
	}
	if it, err := io.Next(); err != nil || it.Name != "connected" {
		b.Fatalf("it begins with %s %s, %v", it.Name, it.Data, err)
	}
	return io
}

// first reads until the cut, and has one thing written after the other.
func (b *byteCut) first(at int64) (subscribed bool) {
	io := b.connect()
	defer func() {
		b.back = io.Recovery()
		io.Close()
	}()
	b.left.Store(at)
	b.read.Store(0)
	if io.Say("subscribe", map[string]string{"jobId": b.work.Job, "from": "start"}) != nil {
		return false
	}
	owed := b.size[0]
	for {
		it, err := io.Next()
		switch {
		case err != nil:
			return subscribed
		case it.Event != nil:
			b.got = append(b.got, it.ID)
			owed--
		case it.Name == "subscribed":
			subscribed = true
		case it.Name == "end": // what follows it of its write comes before an answer
			if io.Say("hello", nil) != nil {
				return subscribed
			}
		case it.Name == "problem":
			b.total.Store(b.read.Load() + 8) // numbers grow
			return subscribed
		}
		if owed == 0 && it.Name != "subscribed" && len(b.todo) > 0 && (len(b.got) > b.size[0] || it.Name == "live") {
			owed = b.size[len(b.size)-len(b.todo)]
			b.write()
		}
	}
}

// second reads all that the session still owes.
func (b *byteCut) second(subscribed bool) {
	io := b.connect()
	defer io.Close()
	if !io.Recovered() {
		b.Fatalf("not recovered from %q", b.back.Offset)
	}
	rooms := []map[string]string{{"jobId": b.work.Job, "from": "start"}, {"jobId": b.sentinel.Job, "lastEventId": b.log.Head()}}
	if subscribed {
		rooms = rooms[1:]
	}
	for _, room := range rooms {
		if err := io.Say("subscribe", room); err != nil {
			b.Fatalf("subscribe: %v", err)
		}
	}
	for last := ""; ; {
		it, err := io.Next()
		switch {
		case err != nil || it.Name == "problem":
			b.Fatalf("%s, %v", it.Data, err)
		case it.Event != nil && it.ID == last:
			return
		case it.Event != nil:
			b.got = append(b.got, it.ID)
		case it.Name == "live" && strings.Contains(string(it.Data), b.sentinel.Job): // whatever is asked for is joined
			for len(b.todo) > 0 {
				b.write()
			}
			b.sentinel.Emit(b, 1, 1)
			last = b.log.Head()
		}
	}
}

// check compares what was got, the first of it before the cut.
func (b *byteCut) check(before int, at int64) {
	all := b.log.Entries(b.work.Job)
	again := len(b.got) - len(all)
	if again < 0 || again > before {
		b.Fatalf("cut after %d bytes: got %q, of which %d before it, of %v", at, b.got, before, all)
	}
	for i, e := range all {
		if i < before && b.got[i] != e.ID || i >= before-again && b.got[i+again] != e.ID {
			b.Fatalf("cut after %d bytes: got %q, of which %d before it, of %v", at, b.got, before, all)
		}
	}
	write := 0 // where the last write before the cut began
	for _, n := range b.size {
		if write+n >= before {
			break
		}
		write += n
	}
	if before-again < write {
		b.Fatalf("cut after %d bytes: %d events came again, and the write had %d", at, again, before-write)
	}
	times, _ := b.repeats.LoadOrStore(again, new(atomic.Int64))
	times.(*atomic.Int64).Add(1)
}
