package server

import (
	"context"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/store"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/wire"
)

// Parts are what a program that runs a Server in its own process may look into, as
// tests do.
type Parts struct {
	Store    store.Store
	Jobs     *jobs.Service
	Signer   *auth.Signer
	Verifier *auth.Verifier
	Door     *transport.Door
	Pool     *wire.Pool
	Engine   *engineio.Server
}

// Parts returns the parts of a server that New has made.
func (s *Server) Parts() Parts {
	return Parts{
		Store: s.store, Jobs: s.service, Signer: s.signer, Verifier: s.verifier,
		Door: s.door, Pool: s.pool, Engine: s.engine,
	}
}

// Crash ends everything without a word to anybody, as nearly as one process can do
// that to itself.
func (s *Server) Crash() {
	_ = s.ln.Close()
	s.pool.Close()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.processor.Stop(over)
	short, done := context.WithTimeout(context.Background(), requestsTime)
	defer done()
	_ = s.app.ShutdownWithContext(short)
	_ = s.discard() // it is what a crash leaves
}
