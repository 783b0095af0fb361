package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrConnectionLimit: the key or the client holds as many as it may.
var ErrConnectionLimit = errors.New("too many live connections")

// BeatEvery is how often a node beats. One that was silent for three times as long counts
// as dead.
const BeatEvery = 2 * time.Second

// Slots count live streams, those of all nodes of a store together. Each node has its
// own, and what it takes stays counted as long as it beats. All methods are safe for
// concurrent use; package authtest tests what they promise.
type Slots interface {
	// Take counts s, unless that makes more than s.OfCredential or s.OfClient:
	// ErrConnectionLimit. However many nodes take at once, never more get in. Other
	// errors are the store's; after an error nothing is counted. s is not taken already.
	//
	// instead, unless it is nil, is a seat of this node whose place s takes. As long as
	// it is taken too, it does not count against s; both are counted until one of them
	// is released.
	Take(ctx context.Context, s, instead *Seat) error

	// Release counts s no more; one that is not taken changes nothing. It neither fails
	// nor waits for a store: what a store cannot be told now it hears later, at the
	// latest with the next beat.
	Release(s *Seat)

	// Beat says that this node lives and counts what it has taken. The other nodes no
	// longer count what one has that is silent for three beats. If it beats again all
	// the same, then what it still has counts again, be it more than the limits: open
	// streams are not ended for that, but nobody else gets in until enough are released.
	// An error says that the store could not be told.
	Beat(ctx context.Context) error
}

// Seat is what one live stream takes. Whoever takes it changes it no more.
type Seat struct {
	Client       string
	Credential   string // Identity.Credential
	OfCredential int    // how many its credential may have, with this one
	OfClient     int    // how many its client may have, with this one

	ofCredential, ofClient *count // if LocalSlots have it: where they count it; guarded by their mu
}

// LocalSlots are the Slots of the only node of a store. They count in memory, so a beat
// has nothing to do. The zero value is ready for use.
type LocalSlots struct {
	mu          sync.Mutex // guards what follows, and the marked fields of Seat
	credentials tally
	clients     tally
}

// tally counts by name; who has nothing has no entry.
type tally map[string]*count

// count is how many seats of one name are taken.
type count struct {
	name  string
	taken int
}

func (t *tally) of(name string) *count {
	if c := (*t)[name]; c != nil {
		return c
	}
	return &count{name: name}
}

func (t *tally) add(c *count) {
	if c.taken == 0 {
		if *t == nil {
			*t = make(tally)
		}
		(*t)[c.name] = c
	}
	c.taken++
}

func (t *tally) remove(c *count) {
	if c.taken--; c.taken == 0 {
		delete(*t, c.name)
	}
}

// Take implements Slots.
func (l *LocalSlots) Take(_ context.Context, s, instead *Seat) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	credential, client := l.credentials.of(s.Credential), l.clients.of(s.Client)
	ofCredential, ofClient := credential.taken, client.taken
	if instead != nil && instead.ofClient == client {
		ofClient--
		if instead.ofCredential == credential {
			ofCredential--
		}
	}
	if ofCredential >= s.OfCredential {
		return fmt.Errorf("%w: this credential has %d of at most %d", ErrConnectionLimit, credential.taken, s.OfCredential)
	}
	if ofClient >= s.OfClient {
		return fmt.Errorf("%w: this client has %d of at most %d", ErrConnectionLimit, client.taken, s.OfClient)
	}
	s.ofCredential, s.ofClient = credential, client
	l.credentials.add(credential)
	l.clients.add(client)
	return nil
}

// Release implements Slots.
func (l *LocalSlots) Release(s *Seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ofClient == nil {
		return
	}
	l.credentials.remove(s.ofCredential)
	l.clients.remove(s.ofClient)
	s.ofCredential, s.ofClient = nil, nil
}

// Beat implements Slots.
func (l *LocalSlots) Beat(context.Context) error { return nil }
