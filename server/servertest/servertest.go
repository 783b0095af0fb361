// Package servertest runs the real program in a test's own process: over a data folder,
// with a command line, over TCP or in memory.
package servertest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/docs/contract"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/server"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
	"github.com/jobcast/jobcast/transport/transporttest"
	"github.com/jobcast/jobcast/transport/wire"
)

// Main is the TestMain of a package whose tests start servers.
func Main(m *testing.M) {
	transporttest.KeepDateOutside()
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // sees its end only after a nap: see transporttest.NapTime
}

// Server is the real program over a data folder, in this process. It is a
// transporttest.Server, and may be stopped and started again.
type Server struct {
	Dir string // the data folder

	t     *testing.T
	o     transporttest.Options
	flags []string     // of the command line, beside those of o
	out   lockedBuffer // the program's log
	watch *contract.Watch

	mu  sync.Mutex     // guards the fields below: readers dial while a scenario restarts
	srv *server.Server // the newest; it stays known when it has ended, as to its clients
	up  bool           // srv runs
	ln  net.Listener
}

// Boot is a transporttest.Boot.
func Boot(t *testing.T, o transporttest.Options) transporttest.Server { return Start(t, o) }

// Start starts the program with further flags, until the test ends.
func Start(t *testing.T, o transporttest.Options, flags ...string) *Server {
	t.Helper()
	if o.MaxConnections == 0 {
		o.MaxConnections = 1000
	}
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	b := &Server{t: t, o: o, Dir: sqlitetest.Folder(t), flags: flags, watch: contract.New(t, baseOf(flags))}
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

// baseOf is what paths begin with.
func baseOf(flags []string) string {
	for _, flag := range flags {
		if base, ok := strings.CutPrefix(flag, "--base-path="); ok {
			return base
		}
	}
	return ""
}

// parsed holds the settings that command lines make, without their data folder: parsing
// takes longer than many scenarios do.
var parsed sync.Map

// settings parses a command line, so that the defaults are those of the program.
func (b *Server) settings() *server.Config {
	args := []string{
		"--addr=127.0.0.1:0", "--log-level=warn",
		fmt.Sprintf("--max-connections-per-key=%d", b.o.MaxConnections), "--shutdown-grace=" + b.o.Grace.String(),
	}
	if b.o.PongTimeout > 0 {
		args = append(args, "--pong-timeout="+b.o.PongTimeout.String(), "--ping-interval="+b.o.PongTimeout.String())
	}
	if b.o.Offset != "" {
		args = append(args, "--socketio-offset="+b.o.Offset)
	}
	args = append(args, b.flags...)
	line := fmt.Sprintf("%q", args)
	known, ok := parsed.Load(line)
	if !ok {
		var set server.Config
		parser, err := kong.New(&set)
		if err == nil {
			_, err = parser.Parse(args)
		}
		if err != nil {
			b.t.Fatalf("settings: %v", err)
		}
		known, _ = parsed.LoadOrStore(line, set)
	}
	set := known.(server.Config)
	set.Data = b.Dir
	if err := set.Check(); err != nil {
		b.t.Fatalf("settings: %v", err)
	}
	return &set
}

// Start starts the newest server, on the same folder.
func (b *Server) Start() {
	b.t.Helper()
	set := b.settings()
	srv, err := server.New(context.Background(), set, set.Logger(&b.out))
	if err != nil {
		b.t.Fatalf("start: %v", err)
	}
	var ln net.Listener = transporttest.NewPipe()
	if !b.o.Memory {
		if ln, err = wire.Listen(context.Background(), set.Addr); err != nil {
			b.t.Fatalf("listen: %v", err)
		}
	}
	srv.Start(ln)
	b.mu.Lock()
	b.srv, b.up, b.ln = srv, true, ln
	b.mu.Unlock()
}

// Parts are those of the newest server.
func (b *Server) Parts() server.Parts { return b.newest().Parts() }

func (b *Server) newest() *server.Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.srv
}

func (b *Server) ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = false
}

// Stop stops the server as a signal does.
func (b *Server) Stop() error {
	defer b.ended()
	return b.newest().Stop()
}

// Crash ends everything without a word to anybody. What a crash does to the
// folder is another test's affair (see cmd/crash_test.go).
func (b *Server) Crash() {
	defer b.ended()
	b.newest().Crash()
}

// Dial connects to the server. What goes over the connection is held to the documents.
func (b *Server) Dial(ctx context.Context) (net.Conn, error) {
	nc, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	return b.watch.Conn(nc), nil
}

func (b *Server) dial(ctx context.Context) (net.Conn, error) {
	b.mu.Lock()
	ln := b.ln
	b.mu.Unlock()
	if p, ok := ln.(*transporttest.Pipe); ok {
		return p.Dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", ln.Addr().String())
}

// Addr returns the address of a server over TCP.
func (b *Server) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ln.Addr().String()
}

// Jobs returns the service of the newest server.
func (b *Server) Jobs() *jobs.Service { return b.Parts().Jobs }

// Key makes a key of a client.
func (b *Server) Key(client string, o auth.KeyOptions, scopes ...auth.Scope) (id, secret string) {
	b.t.Helper()
	key, secret, err := auth.NewKey(client, "test", scopes, o)
	if err == nil {
		err = b.Parts().Store.CreateKey(context.Background(), key)
	}
	if err != nil {
		b.t.Fatalf("make key: %v", err)
	}
	return key.ID, secret
}

// Revoke revokes a key.
func (b *Server) Revoke(id string) {
	b.t.Helper()
	if err := b.Parts().Store.RevokeKey(context.Background(), "", id, time.Now()); err != nil {
		b.t.Fatalf("revoke key: %v", err)
	}
}

// Live returns how many streams a key holds.
func (b *Server) Live(key string) int { return b.Parts().Verifier.Streams().Held(key) }

// Owned returns how many connections the server owns.
func (b *Server) Owned() int { return b.Parts().Pool.Len() }

// Prune removes all that retention may remove.
func (b *Server) Prune() {
	b.t.Helper()
	for more := true; more; {
		out, err := b.Parts().Store.Prune(context.Background(), time.Now().Add(time.Hour), time.Minute)
		if err != nil {
			b.t.Fatalf("prune: %v", err)
		}
		more = out.More
	}
}

// Keep copies the data folder, for Restore.
func (b *Server) Keep() {
	b.t.Helper()
	if err := os.CopyFS(b.Dir+".kept", os.DirFS(b.Dir)); err != nil {
		b.t.Fatalf("copy folder: %v", err)
	}
}

// Restore puts the copy that Keep made in the place of the folder.
func (b *Server) Restore() {
	b.t.Helper()
	if err := os.RemoveAll(b.Dir); err != nil {
		b.t.Fatalf("remove folder: %v", err)
	}
	if err := os.Rename(b.Dir+".kept", b.Dir); err != nil {
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
