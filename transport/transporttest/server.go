package transporttest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

// Server is a booted program over one data folder. Its methods fail the test
// when they cannot do what they say.
type Server interface {
	// Dial connects to the running process. It fails while there is none.
	Dial(ctx context.Context) (net.Conn, error)
	// Jobs is how a scenario writes: the job service of the running process.
	Jobs() *jobs.Service
	// Key makes a key of a client, and the client if it is new.
	Key(client string, o auth.KeyOptions, scopes ...auth.Scope) (id, secret string)
	// Revoke revokes a key.
	Revoke(id string)
	// Live returns how many live streams a key holds.
	Live(key string) int
	// Owned returns how many connections were taken over from the HTTP server.
	Owned() int
	// Prune deletes every job that has ended, as if its retention were over.
	Prune()

	// Stop drains the process and returns when it has ended.
	Stop() error
	// Start begins a new process on the same folder. Dial reaches it from then on.
	Start()
	// Crash ends the process without draining; it does not start a new one.
	Crash()
	// Keep makes a copy of the folder. No process may be running.
	Keep()
	// Restore puts the copy back. No process may be running.
	Restore()
}

// Options is what a scenario asks of the server it wants.
type Options struct {
	Memory         bool          // listen in memory (see Pipe), for fake time; otherwise on TCP
	MaxConnections int           // live streams per key; 0: 1,000, so that only scenarios about it meet it
	PongTimeout    time.Duration // how long a peer may answer nothing; 0: the default
	Grace          time.Duration // how long a drain waits for running jobs; 0: 1 s
	Offset         string        // how offsets of Socket.IO travel; empty: the default
}

// Boot starts a server over an empty folder and stops it when the test ends.
type Boot func(t *testing.T, o Options) Server
