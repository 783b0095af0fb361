package server

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
	"github.com/jobcast/jobcast/transport/transporttest"
	"github.com/jobcast/jobcast/transport/wire"
)

func TestMain(m *testing.M) {
	transporttest.KeepDateOutside()
	if err := flag.Set("rapid.checks", strconv.Itoa(rapidChecks*transporttest.Chaos())); err != nil { // the command line still wins
		panic(err)
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // sees its end only after a nap: see transporttest.NapTime
}

// rapidChecks is how many stories each property test tells. Every run tells others,
// and `make chaos` tells five times as many.
const rapidChecks = 30

// booted is the real program over a data folder, in this process.
type booted struct {
	t     *testing.T
	o     transporttest.Options
	dir   string
	flags []string     // of the command line, beside those of o
	out   lockedBuffer // the program's log

	mu  sync.Mutex // guards the fields below: readers dial while a scenario restarts
	srv *server    // the newest; it stays known when it has ended, as to its clients
	up  bool       // srv runs
	ln  net.Listener
}

// boot is a transporttest.Boot.
func boot(t *testing.T, o transporttest.Options) transporttest.Server { return bootWith(t, o) }

// bootWith is boot with further flags.
func bootWith(t *testing.T, o transporttest.Options, flags ...string) *booted {
	if o.MaxConnections == 0 {
		o.MaxConnections = 1000
	}
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	b := &booted{t: t, o: o, dir: sqlitetest.Folder(t), flags: flags}
	b.Start()
	t.Cleanup(func() {
		if b.up {
			if err := b.Stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		if o.Memory {
			<-time.After(transporttest.NapTime) // fake time
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", b.out.String())
		}
	})
	return b
}

// settings parses a command line, so that the defaults are those of the program.
func (b *booted) settings() *Config {
	var set Config
	args := []string{
		"--addr=127.0.0.1:0", "--data=" + b.dir, "--log-level=warn",
		fmt.Sprintf("--max-connections-per-key=%d", b.o.MaxConnections), "--shutdown-grace=" + b.o.Grace.String(),
	}
	if b.o.PongTimeout > 0 {
		args = append(args, "--pong-timeout="+b.o.PongTimeout.String(), "--ping-interval="+b.o.PongTimeout.String())
	}
	if b.o.Offset != "" {
		args = append(args, "--socketio-offset="+b.o.Offset)
	}
	parser, err := kong.New(&set)
	if err == nil {
		_, err = parser.Parse(append(args, b.flags...))
	}
	if err == nil {
		err = set.Check()
	}
	if err != nil {
		b.t.Fatalf("settings: %v", err)
	}
	return &set
}

func (b *booted) Start() {
	b.t.Helper()
	set := b.settings()
	srv, err := newServer(context.Background(), set, set.Logger(&b.out))
	if err != nil {
		b.t.Fatalf("start: %v", err)
	}
	var ln net.Listener = transporttest.NewPipe()
	if !b.o.Memory {
		if ln, err = wire.Listen(context.Background(), set.Addr); err != nil {
			b.t.Fatalf("listen: %v", err)
		}
	}
	srv.start(ln)
	b.mu.Lock()
	b.srv, b.up, b.ln = srv, true, ln
	b.mu.Unlock()
}

func (b *booted) running() *server {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.srv
}

func (b *booted) ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = false
}

func (b *booted) Stop() error {
	defer b.ended()
	return b.running().stop()
}

// Crash ends everything without a word to anybody. What a crash does to the
// folder is another test's affair (see crash_test.go).
func (b *booted) Crash() {
	defer b.ended()
	srv := b.running()
	_ = srv.ln.Close()
	srv.pool.Close()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = srv.processor.Stop(over)
	short, done := context.WithTimeout(context.Background(), requestsTime)
	defer done()
	_ = srv.app.ShutdownWithContext(short)
	srv.discard()
}

func (b *booted) Dial(ctx context.Context) (net.Conn, error) {
	b.mu.Lock()
	ln := b.ln
	b.mu.Unlock()
	if p, ok := ln.(*transporttest.Pipe); ok {
		return p.Dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", ln.Addr().String())
}

func (b *booted) Jobs() *jobs.Service { return b.running().service }

func (b *booted) Key(client string, o auth.KeyOptions, scopes ...auth.Scope) (id, secret string) {
	b.t.Helper()
	key, secret, err := auth.NewKey(client, "test", scopes, o)
	if err == nil {
		err = b.running().store.CreateKey(context.Background(), key)
	}
	if err != nil {
		b.t.Fatalf("make key: %v", err)
	}
	return key.ID, secret
}

func (b *booted) Revoke(id string) {
	b.t.Helper()
	if err := b.running().store.RevokeKey(context.Background(), "", id, time.Now()); err != nil {
		b.t.Fatalf("revoke key: %v", err)
	}
}

func (b *booted) Live(key string) int { return b.running().verifier.Streams().Held(key) }

func (b *booted) Owned() int { return b.running().pool.Len() }

func (b *booted) Prune() {
	b.t.Helper()
	for more := true; more; {
		var err error
		if _, more, err = b.running().store.Prune(context.Background(), time.Now().Add(time.Hour)); err != nil {
			b.t.Fatalf("prune: %v", err)
		}
	}
}

func (b *booted) Keep() {
	b.t.Helper()
	if err := os.CopyFS(b.dir+".kept", os.DirFS(b.dir)); err != nil {
		b.t.Fatalf("copy folder: %v", err)
	}
}

func (b *booted) Restore() {
	b.t.Helper()
	if err := os.RemoveAll(b.dir); err != nil {
		b.t.Fatalf("remove folder: %v", err)
	}
	if err := os.Rename(b.dir+".kept", b.dir); err != nil {
		b.t.Fatalf("restore folder: %v", err)
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
