package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// Limits bound what a client may hold open at once. Zero members mean the
// default.
type Limits struct {
	PerKey    int // live streams of one key that has no limit of its own; 10
	PerClient int // live streams of all keys of a client together; 10,000
	Waits     int // waiting calls of one key, of this node alone; 64
}

const (
	defaultPerKey    = 10
	defaultPerClient = 10_000
	defaultWaits     = 64
)

// Why a stream had to end, beside ErrSentAway; errors.Is(reason, ErrUnauthenticated) holds
// for both.
var (
	ErrRevoked error = endedError("the key was revoked")
	ErrExpired error = endedError("the key has expired")
)

type endedError string

func (e endedError) Error() string        { return string(e) }
func (e endedError) Is(target error) bool { return target == ErrUnauthenticated }

// Streams admits live streams, as far as Slots count there is room, and ends them
// when their key ends. All methods are safe for concurrent use.
type Streams struct {
	verifier *Verifier
	slots    Slots
	limits   Limits
	log      *slog.Logger
	silent   bool // the last beat failed, and that was logged; of Run's beats alone

	mu      sync.Mutex         // guards everything below, and the marked fields of Slot
	holders map[string]*holder // by credential; present while it holds anything
	kinds   map[string]*int    // live streams by kind; a kind stays, at zero
	opened  uint64             // number of the newest slot of a live stream
}

// holder is what one key, or one token, holds of this node. Streams.mu guards it.
type holder struct {
	name    string // its place in Streams.holders
	client  string
	key     string     // id of the key, also behind a token
	keyName string     // empty: it has none, or it is not known yet
	expires *time.Time // of the key; nil: never, or not known yet
	live    map[*Slot]struct{}
	waits   int
}

// Slot is one admitted stream or waiting call. Whoever got it releases it.
type Slot struct {
	streams  *Streams
	seat     Seat    // of a stream: what Slots count
	holder   *holder // who has it; registered until it is released
	kind     string
	number   uint64     // of a stream: grows with each
	since    int64      // when it was opened, in Unix milliseconds
	addr     netip.Addr // where it was opened from
	agent    Agent
	shown    Shown              // nil: it is none of Connections yet; guarded by Streams.mu
	end      func(reason error) // nil: a waiting call
	ended    bool               // end was called or is about to be; guarded by Streams.mu
	released bool               // guarded by Streams.mu
}

func newStreams(v *Verifier, slots Slots, limits Limits, log *slog.Logger) *Streams {
	return &Streams{
		verifier: v,
		slots:    slots,
		limits: Limits{
			PerKey:    orDefault(limits.PerKey, defaultPerKey),
			PerClient: orDefault(limits.PerClient, defaultPerClient),
			Waits:     orDefault(limits.Waits, defaultWaits),
		},
		log:     log,
		holders: make(map[string]*holder),
		kinds:   make(map[string]*int),
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
// or has expired, or End is called, with ErrRevoked, ErrExpired or ErrSentAway. It must not block. It may come
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
	slot := &Slot{streams: s, kind: kind, end: end, since: time.Now().UnixMilli(), addr: p.Addr, agent: p.Agent, seat: Seat{
		Client: p.ClientID, Credential: p.Credential(),
		OfCredential: s.ofCredential(p), OfClient: s.limits.PerClient,
	}}
	var instead *Seat
	if old != nil {
		instead = &old.seat
	}
	if err := s.slots.Take(ctx, &slot.seat, instead); err != nil {
		return nil, fmt.Errorf("counting a stream: %w", err)
	}
	s.register(slot, p)
	// Registered first, checked second: whatever ends the key before this check
	// is seen by it, and whatever ends the key after it finds the registration.
	key, err := s.verifier.current(ctx, p)
	if err != nil {
		slot.Release()
		return nil, err
	}
	s.mu.Lock()
	slot.holder.keyName, slot.holder.expires = key.Name, key.ExpiresAt
	s.mu.Unlock()
	return slot, nil
}

// OpenWait admits one waiting call of p (a claim, a `Prefer: wait`). These have
// a cap of their own, and end by their own time-out: a caller that waited asks
// Verifier.Check again before it gives something away. Error:
// ErrConnectionLimit.
func (s *Streams) OpenWait(p Principal) (*Slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holder(p, p.Credential())
	if h.waits >= s.limits.Waits {
		return nil, fmt.Errorf("%w: this key has %d calls waiting", ErrConnectionLimit, h.waits)
	}
	h.waits++
	return &Slot{streams: s, holder: h}, nil
}

// Held returns how many live streams of this node a credential holds.
func (s *Streams) Held(credential string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.holders[credential]; h != nil {
		return len(h.live)
	}
	return 0
}

// Waiting returns how many waiting calls of this node a credential holds.
func (s *Streams) Waiting(credential string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.holders[credential]; h != nil {
		return h.waits
	}
	return 0
}

// Most returns how many live streams and waiting calls p's credential may hold.
func (s *Streams) Most(p Principal) (streams, waits int) { return s.ofCredential(p), s.limits.Waits }

// ofCredential is how many live streams p's credential may have.
func (s *Streams) ofCredential(p Principal) int { return orDefault(p.MaxConnections, s.limits.PerKey) }

// Live returns the live streams of this node by kind, for metrics.
func (s *Streams) Live() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := make(map[string]int, len(s.kinds))
	for kind, n := range s.kinds {
		live[kind] = *n
	}
	return live
}

// Release gives the slot back. Further calls do nothing.
func (slot *Slot) Release() {
	slot.streams.unregister(slot)
	if slot.end != nil {
		slot.streams.slots.Release(&slot.seat)
	}
}

// register makes a live stream known to whoever ends those of a key.
func (s *Streams) register(slot *Slot, p Principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holder(p, slot.seat.Credential)
	slot.holder = h
	s.opened++
	slot.number = s.opened
	h.live[slot] = struct{}{}
	if n := s.kinds[slot.kind]; n != nil {
		*n++
		return
	}
	one := 1
	s.kinds[slot.kind] = &one
}

func (s *Streams) unregister(slot *Slot) {
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
		*s.kinds[slot.kind]--
	}
	if len(h.live) == 0 && h.waits == 0 {
		delete(s.holders, h.name)
	}
}

// beat keeps what this node has taken counted.
func (s *Streams) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, BeatEvery)
	defer cancel()
	err := s.slots.Beat(ctx)
	switch {
	case err != nil && !s.silent && !errors.Is(ctx.Err(), context.Canceled): // the end of Run is no failure
		s.silent = true
		s.log.Error("the store cannot be told that this server's connections are alive", "error", err)
	case err == nil && s.silent:
		s.silent = false
		s.log.Info("the store can be told again that this server's connections are alive")
	}
}

// holder returns what p's credential holds, which is about to be more. The caller has
// locked mu.
func (s *Streams) holder(p Principal, credential string) *holder {
	h := s.holders[credential]
	if h == nil {
		h = &holder{name: credential, client: p.ClientID, key: p.KeyID, live: make(map[*Slot]struct{})}
		s.holders[credential] = h
	}
	return h
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
