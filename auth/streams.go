package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"time"
)

// Limits bound what a client may hold open at once. Zero members mean the
// default.
type Limits struct {
	PerKey    int // live streams of one key that has no limit of its own; 10
	PerClient int // live streams of all keys of a client together; 10,000
	Waits     int // waiting calls of one key; 64
}

const (
	defaultPerKey    = 10
	defaultPerClient = 10_000
	defaultWaits     = 64
)

// ErrConnectionLimit: the key or the client holds as many as it may.
var ErrConnectionLimit = errors.New("too many live connections")

// Why a stream had to end; errors.Is(reason, ErrUnauthenticated) holds for both.
var (
	ErrRevoked error = endedError("the key was revoked")
	ErrExpired error = endedError("the key has expired")
)

type endedError string

func (e endedError) Error() string        { return string(e) }
func (e endedError) Is(target error) bool { return target == ErrUnauthenticated }

// Streams admits live streams, counts them exactly, and ends them when their
// key ends. All methods are safe for concurrent use.
type Streams struct {
	verifier *Verifier
	limits   Limits
	log      *slog.Logger

	mu      sync.Mutex         // guards everything below, and the marked fields of Slot
	holders map[string]*holder // by credential; present while it holds anything
	clients map[string]int     // live streams by client; present while not zero
	kinds   map[string]int     // live streams by kind; a kind stays, at zero
}

// holder is what one key, or one token, holds.
type holder struct {
	name    string // its place in Streams.holders
	client  string
	key     string     // id of the key, also behind a token
	expires *time.Time // of the key; nil: never, or not known yet
	live    map[*Slot]struct{}
	waits   int
}

// Slot is one admitted stream or waiting call. Whoever got it releases it.
type Slot struct {
	streams  *Streams
	holder   *holder // who has it; registered until it is released
	kind     string
	end      func(reason error) // nil: a waiting call
	ended    bool               // end was called or is about to be; guarded by Streams.mu
	released bool               // guarded by Streams.mu
}

func newStreams(v *Verifier, limits Limits, log *slog.Logger) *Streams {
	return &Streams{
		verifier: v,
		limits: Limits{
			PerKey:    orDefault(limits.PerKey, defaultPerKey),
			PerClient: orDefault(limits.PerClient, defaultPerClient),
			Waits:     orDefault(limits.Waits, defaultWaits),
		},
		log:     log,
		holders: make(map[string]*holder),
		clients: make(map[string]int),
		kinds:   make(map[string]int),
	}
}

func orDefault(n, fallback int) int {
	if n == 0 {
		return fallback
	}
	return n
}

// Open admits one live stream of p. kind names the transport, for metrics.
//
// end is called at most once, from another goroutine, when the key is revoked
// or has expired, with ErrRevoked or ErrExpired. It must not block. It may come
// before Open returns and, if it races with Release, right after that; it frees
// nothing by itself: Release does.
//
// Errors: ErrConnectionLimit; ErrUnauthenticated if the key has ended since p
// was made; what the store said if it could not be asked.
func (s *Streams) Open(ctx context.Context, p Principal, kind string, end func(reason error)) (*Slot, error) {
	return s.OpenInstead(ctx, nil, p, kind, end)
}

// OpenInstead is Open of a stream that takes the place of another, which does not
// count against it as long as it is open. The caller releases old soon, or this one:
// for that moment both are held.
func (s *Streams) OpenInstead(ctx context.Context, old *Slot, p Principal, kind string, end func(reason error)) (*Slot, error) {
	slot := &Slot{streams: s, kind: kind, end: end}
	if err := s.take(slot, p, old); err != nil {
		return nil, err
	}
	// Registered first, checked second: whatever ends the key before this check
	// is seen by it, and whatever ends the key after it finds the registration.
	key, err := s.verifier.current(ctx, p)
	if err != nil {
		slot.Release()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot.holder.expires = key.ExpiresAt
	return slot, nil
}

// OpenWait admits one waiting call of p (a claim, a `Prefer: wait`). These have
// a cap of their own, and end by their own time-out: a caller that waited asks
// Verifier.Check again before it gives something away. Error:
// ErrConnectionLimit.
func (s *Streams) OpenWait(p Principal) (*Slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holder(p)
	if h.waits >= s.limits.Waits {
		return nil, fmt.Errorf("%w: this key has %d calls waiting", ErrConnectionLimit, h.waits)
	}
	h.waits++
	s.holders[h.name] = h
	return &Slot{streams: s, holder: h}, nil
}

// Held returns how many live streams a key holds.
func (s *Streams) Held(keyID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.holders[keyID]; h != nil {
		return len(h.live)
	}
	return 0
}

// Waiting returns how many waiting calls a key holds.
func (s *Streams) Waiting(keyID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.holders[keyID]; h != nil {
		return h.waits
	}
	return 0
}

// Live returns the live streams by kind, for metrics.
func (s *Streams) Live() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.kinds)
}

// Release gives the slot back. Further calls do nothing.
func (slot *Slot) Release() {
	s := slot.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot.released {
		return
	}
	slot.released = true
	h := slot.holder
	if slot.end == nil {
		h.waits--
	} else {
		delete(h.live, slot)
		s.kinds[slot.kind]--
		if s.clients[h.client]--; s.clients[h.client] == 0 {
			delete(s.clients, h.client)
		}
	}
	if len(h.live) == 0 && h.waits == 0 {
		delete(s.holders, h.name)
	}
}

// take counts and registers a live stream, or refuses it; old (nil: none) is about to
// make room.
func (s *Streams) take(slot *Slot, p Principal, old *Slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := orDefault(p.MaxConnections, s.limits.PerKey)
	h := s.holder(p)
	ofKey, ofClient := len(h.live), s.clients[p.ClientID]
	if old != nil && !old.released && old.holder.client == p.ClientID {
		ofClient--
		if old.holder == h {
			ofKey--
		}
	}
	if ofKey >= limit {
		return fmt.Errorf("%w: this credential has %d of at most %d", ErrConnectionLimit, len(h.live), limit)
	}
	if n := ofClient; n >= s.limits.PerClient {
		return fmt.Errorf("%w: this client has %d of at most %d", ErrConnectionLimit, n, s.limits.PerClient)
	}
	slot.holder = h
	h.live[slot] = struct{}{}
	s.holders[h.name] = h
	s.clients[p.ClientID]++
	s.kinds[slot.kind]++
	return nil
}

// holder returns what p's credential holds, or an empty one that is not
// registered yet: a refusal leaves nothing behind. The caller has locked mu.
func (s *Streams) holder(p Principal) *holder {
	name := p.Credential()
	if h := s.holders[name]; h != nil {
		return h
	}
	return &holder{name: name, client: p.ClientID, key: p.KeyID, live: make(map[*Slot]struct{})}
}

// held returns the ids of all keys that have live streams, their own or of
// tokens, by client. One may stand there twice.
func (s *Streams) held() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	byClient := make(map[string][]string)
	for _, h := range s.holders {
		if len(h.live) > 0 {
			byClient[h.client] = append(byClient[h.client], h.key)
		}
	}
	return byClient
}

// expire ends the streams of every key whose time is over.
func (s *Streams) expire(now time.Time) {
	s.mu.Lock()
	var slots []*Slot
	for _, h := range s.holders {
		if h.expires != nil && !now.Before(*h.expires) {
			slots = h.unended(slots)
		}
	}
	s.mu.Unlock()
	s.callEnd(slots, ErrExpired)
}

// revoked ends the streams of one key, also those of its tokens.
func (s *Streams) revoked(keyID string) {
	s.mu.Lock()
	var slots []*Slot
	for _, h := range s.holders {
		if h.key == keyID {
			slots = h.unended(slots)
		}
	}
	s.mu.Unlock()
	s.callEnd(slots, ErrRevoked)
}

// unended marks every live stream as ended and appends those that were not.
// The caller has locked Streams.mu.
func (h *holder) unended(slots []*Slot) []*Slot {
	for slot := range h.live {
		if !slot.ended {
			slot.ended = true
			slots = append(slots, slot)
		}
	}
	return slots
}

// callEnd calls what belongs to other packages. A panic there would end the
// process and with it every other stream, so it costs only its own.
func (s *Streams) callEnd(slots []*Slot, reason error) {
	for _, slot := range slots {
		func() {
			defer func() {
				if v := recover(); v != nil {
					s.log.Error("ending a stream panicked", "keyId", slot.holder.key, "kind", slot.kind,
						"panic", v, "stack", string(debug.Stack()))
				}
			}()
			slot.end(reason)
		}()
	}
}
