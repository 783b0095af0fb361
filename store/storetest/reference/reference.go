// Package reference is a store in memory that is plain enough to be right: maps, one
// mutex, and a look at everything there is. It passes the whole suite of package
// storetest, also the part for several nodes, and is the model that the suite's property
// test holds other stores against. No server offers it: it forgets all with the process,
// and its commands take the longer the more there is.
package reference

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// Data is what a database would hold. The stores that are open on it see the same.
type Data struct {
	mu     sync.Mutex // guards what is below
	tables tables
	epoch  string            // of this incarnation: a restart keeps it, a restore begins another
	nodes  map[string]*Store // those that are open, by name
	holds  map[string]hold   // room for artifacts on their way, by id
	broken bool
}

// tables is what a copy has. Values of maps are replaced, never changed, so that a copy
// need not go deeper.
type tables struct {
	clients  map[string]client // by name
	jobs     map[string]job    // by id
	batches  map[batchKey]batch
	garbage  map[string]int64 // file -> bytes
	sessions map[sessionKey]savedSession
	keys     []auth.Stored // oldest first
	codes    map[[32]byte]auth.Code
	revision int64
	secret   []byte // what is signed with; nil: nobody has asked for it
	sealed   map[sealedKey]jobs.Sealed

	rows    int               // clients and jobs that there ever were
	served  map[string]string // queues claimed from for all clients -> client served last
	expired string            // client whose job was the last to expire
}

// client is a client with its log.
type client struct {
	row    int              // the order in which clients came
	log    []eventlog.Event // those that are kept
	head   uint64
	pruned uint64
	epochs []epoch // oldest first
}

// epoch is the name of the part of a log that begins with the event numbered from.
type epoch struct {
	from uint64
	name string
}

// NewData returns data without anything in them.
func NewData() *Data {
	return &Data{
		tables: tables{
			clients: make(map[string]client), jobs: make(map[string]job), batches: make(map[batchKey]batch), garbage: make(map[string]int64),
			sessions: make(map[sessionKey]savedSession), served: make(map[string]string), sealed: make(map[sealedKey]jobs.Sealed),
			codes: make(map[[32]byte]auth.Code),
		},
		epoch: newEpoch(), nodes: make(map[string]*Store), holds: make(map[string]hold),
	}
}

// newEpoch draws a name, because two futures of one copy are two incarnations.
func newEpoch() string { return strings.ToLower(rand.Text()[:8]) }

func (t tables) clone() tables {
	t.clients, t.jobs, t.garbage = maps.Clone(t.clients), maps.Clone(t.jobs), maps.Clone(t.garbage)
	t.sealed, t.codes = maps.Clone(t.sealed), maps.Clone(t.codes)
	t.sessions, t.served, t.keys, t.batches = maps.Clone(t.sessions), maps.Clone(t.served), slices.Clone(t.keys), maps.Clone(t.batches)
	return t
}

// Copy copies the data and returns what puts the copy in their place.
func (d *Data) Copy() (restore func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	saved := d.tables.clone()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.tables, d.epoch = saved.clone(), newEpoch()
	}
}

// Break lets every call fail until heal is called.
func (d *Data) Break() (heal func()) {
	set := func(broken bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.broken = broken
	}
	set(true)
	return func() { set(false) }
}

// Options of Open.
type Options struct {
	Node            string // the name of the node that serves; empty: none does, keys are managed
	Publisher       eventlog.Publisher
	Now             func() time.Time    // the clock on the wall; nil: time.Now
	DefaultLeaseTTL time.Duration       // of a claim that names none; 0: 30 s
	OnChanges       func([]jobs.Change) // is told of the changes of each command; nil: nobody is
	Limits          jobs.Limits
}

// Store is data that a node has open.
type Store struct {
	*Data
	opts Options
	turn chan struct{} // holds one while a command of this store is at work

	closed  bool             // guarded by Data.mu
	events  []eventlog.Event // of the command at work
	changes []jobs.Change    // likewise
}

// Open opens data. A node ends the leases that it held itself under this name. If no
// other node was there to take renewals, every other lease gets one full TTL.
func Open(d *Data, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DefaultLeaseTTL <= 0 {
		o.DefaultLeaseTTL = jobs.DefaultLeaseTTL
	}
	s := &Store{Data: d, opts: o, turn: make(chan struct{}, 1)}
	if o.Node != "" {
		_, _ = write(context.Background(), s, func() (struct{}, error) { // nothing refuses it
			s.begin()
			return struct{}{}, nil
		})
	}
	return s
}

func (s *Store) begin() {
	alone := len(s.nodes) == 0
	s.nodes[s.opts.Node] = s
	for _, j := range s.leased() {
		if alone {
			j.lease.worker = ""
			s.tables.jobs[j.ID] = j
		}
		switch {
		case j.lease.node == s.opts.Node:
			s.fail(j, leaseExpired, false)
		case alone:
			j.lease.deadline = time.Now().Add(j.lease.ttl)
			s.tables.jobs[j.ID] = j
		}
	}
}

// Close ends the store, and the holds that were made by it.
func (s *Store) Close() error {
	s.turn <- struct{}{} // whoever is at work is answered
	defer func() { <-s.turn }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.nodes[s.opts.Node] == s {
		delete(s.nodes, s.opts.Node)
	}
	maps.DeleteFunc(s.holds, func(_ string, h hold) bool { return h.by == s })
	return nil
}

// usable returns why calls fail; the caller holds mu.
func (s *Store) usable() error {
	switch {
	case s.closed:
		return jobs.ErrClosed
	case s.broken:
		return fmt.Errorf("%w: its disk does not answer", jobs.ErrUnavailable)
	}
	return nil
}

// read runs fn on what is there.
func read[T any](s *Store, fn func() (T, error)) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		var zero T
		return zero, err
	}
	return fn()
}

// write runs a command, which changes nothing before it is sure to succeed, publishes
// its events and returns what it returned.
func write[T any](ctx context.Context, s *Store, fn func() (T, error)) (T, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		var zero T
		return zero, fmt.Errorf("%w: %w", jobs.ErrNotTried, ctx.Err())
	}
	defer func() { <-s.turn }()
	s.events, s.changes = nil, nil
	value, err := read(s, fn)
	if len(s.events) > 0 && s.opts.Publisher != nil {
		if answered := s.opts.Publisher.Publish(s.events); answered != nil {
			answered() // as good as answered: nothing keeps the caller
		}
	}
	if len(s.changes) > 0 && s.opts.OnChanges != nil {
		s.opts.OnChanges(s.changes)
	}
	return value, err
}

// do is write for a command that returns nothing.
func (s *Store) do(ctx context.Context, fn func() error) error {
	_, err := write(ctx, s, func() (struct{}, error) { return struct{}{}, fn() })
	return err
}

// now is the wall's time, in the precision that is kept.
func (s *Store) now() time.Time { return millis(s.opts.Now()) }

func millis(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// client returns a client, which is known from now on.
func (s *Store) client(name string) client {
	c, ok := s.tables.clients[name]
	if !ok {
		s.tables.rows++
		c.row = s.tables.rows
		s.tables.clients[name] = c
	}
	return c
}

// inTurn returns the names of clients, those after one first.
func (s *Store) inTurn(after string) []string {
	order := func(x, y string) int { return s.tables.clients[x].row - s.tables.clients[y].row }
	names := slices.SortedFunc(maps.Keys(s.tables.clients), order)
	next := slices.Index(names, after) + 1
	return slices.Concat(names[next:], names[:next])
}

// Ready returns why commands would fail now.
func (s *Store) Ready(context.Context) error {
	_, err := read(s, func() (struct{}, error) { return struct{}{}, nil })
	return err
}
