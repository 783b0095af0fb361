package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// VerifierOptions are the choices of a Verifier; the zero value works.
type VerifierOptions struct {
	Limits Limits
	Slots  Slots        // that count live streams; nil: a *LocalSlots of its own
	Signer *Signer      // of tokens; nil: there are none
	Logger *slog.Logger // nil: nothing is logged
}

// lookupTime is how long the store may take to look one credential up.
const lookupTime = 5 * time.Second

// Verifier says who holds a secret. Without a running Run it asks the store
// each time; with it, it answers from memory what is at most a poll old. All
// methods are safe for concurrent use.
type Verifier struct {
	store    Store
	signer   *Signer // nil: there are no tokens
	log      *slog.Logger
	cache    *cache
	streams  *Streams
	throttle throttle
	uses     uses

	// Of Run's poll alone.
	revision int64 // seen last
	polled   bool  // revision is set
	failing  bool  // the last poll failed, and that was logged
}

// NewVerifier returns a Verifier over store, and with it the Streams whose keys
// it watches.
func NewVerifier(store Store, opts VerifierOptions) *Verifier {
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{store: store, signer: opts.Signer, log: log, cache: newCache()}
	slots := opts.Slots
	if slots == nil {
		slots = &LocalSlots{}
	}
	v.streams = newStreams(v, slots, opts.Limits, log)
	return v
}

// Streams returns the admission of live streams.
func (v *Verifier) Streams() *Streams { return v.streams }

// Verify returns who holds secret. Errors: ErrUnauthenticated for whatever is
// no credential now, without saying why; else what the store said.
func (v *Verifier) Verify(ctx context.Context, secret string) (Principal, error) {
	if IsToken(secret) {
		return v.verifyToken(ctx, secret)
	}
	if checkSecret(secret) != nil { // no key can look like this: its shape is public, so saying no early tells nothing
		return Principal{}, ErrUnauthenticated
	}
	hash := Hash(secret)
	now := time.Now()
	key, err := v.find(ctx, hash, now)
	if err != nil {
		return Principal{}, err
	}
	// An unknown secret is compared too, with the zero hash, so that it costs
	// what a known one costs.
	match := subtle.ConstantTimeCompare(key.Hash[:], hash[:]) == 1
	if !match || ended(key.Key, now) != nil {
		return Principal{}, ErrUnauthenticated
	}
	v.uses.add(key.ID, now)
	return principal(key.Key), nil
}

// Login is Verify for an address. After 30 failures within a minute further
// ones give a *LoginLimitError instead of ErrUnauthenticated; a good secret
// passes whatever others behind the same address did. No secret at all is no
// attempt, and a store that cannot be asked does not count either.
func (v *Verifier) Login(ctx context.Context, secret string, addr netip.Addr) (Principal, error) {
	p, err := v.Verify(ctx, secret)
	p.Addr = addr
	if err == nil || secret == "" || !errors.Is(err, ErrUnauthenticated) {
		return p, err
	}
	if limit := v.throttle.failed(addr, time.Now()); limit != nil {
		return Principal{}, limit
	}
	return Principal{}, ErrUnauthenticated
}

// Check says whether the key behind p is still good: nil, ErrUnauthenticated,
// or what the store said. It is for principals that are kept for a while, such
// as those of calls that waited.
func (v *Verifier) Check(ctx context.Context, p Principal) error {
	_, err := v.current(ctx, p)
	return err
}

// find returns the key with this hash, or the zero Stored.
func (v *Verifier) find(ctx context.Context, hash [32]byte, now time.Time) (Stored, error) {
	key, found, generation := v.cache.key(hash, now)
	if found {
		return key, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	key, err := v.store.KeyByHash(ctx, hash)
	switch {
	case errors.Is(err, ErrNoKey):
		v.cache.putUnknown(hash, generation)
		return Stored{}, nil
	case err != nil:
		return Stored{}, fmt.Errorf("looking a key up: %w", err)
	}
	v.cache.put(key, generation)
	return key, nil
}

// current returns the key behind p as it is now, ErrUnauthenticated if it has
// ended.
func (v *Verifier) current(ctx context.Context, p Principal) (Key, error) {
	now := time.Now()
	key, found, generation := v.cache.keyByID(p.KeyID, now)
	if !found {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		var err error
		key, err = v.store.Key(ctx, p.ClientID, p.KeyID)
		if errors.Is(err, ErrNoKey) {
			return Key{}, ErrUnauthenticated
		}
		if err != nil {
			return Key{}, fmt.Errorf("checking a key again: %w", err)
		}
		v.cache.putByID(key, generation)
	}
	if key.ClientID != p.ClientID || ended(key, now) != nil {
		return Key{}, ErrUnauthenticated
	}
	return key, nil
}

// ended returns why a key is no longer good: ErrRevoked, ErrExpired or nil.
func ended(k Key, now time.Time) error {
	if k.RevokedAt != nil {
		return ErrRevoked
	}
	if k.ExpiresAt != nil && !now.Before(*k.ExpiresAt) {
		return ErrExpired
	}
	return nil
}

// principal is what holding k makes of a caller. It shares nothing with k,
// which is cached.
func principal(k Key) Principal {
	p := Principal{
		Identity: Identity{ClientID: k.ClientID, KeyID: k.ID}, Scopes: slices.Clone(k.Scopes),
		AllowHosts: slices.Clone(k.AllowHosts), DenyHosts: slices.Clone(k.DenyHosts),
	}
	if k.MaxConnections != nil {
		p.MaxConnections = *k.MaxConnections
	}
	if k.ExpiresAt != nil {
		end := *k.ExpiresAt
		p.ExpiresAt = &end
	}
	return p
}

// May reports whether p has a scope.
func (p Principal) May(s Scope) bool { return slices.Contains(p.Scopes, s) }

// Sees reports whether i may know of a job of its client. An empty job stands
// for all of them: the list, and the client's log.
func (i Identity) Sees(job string) bool { return i.JobID == "" || i.JobID == job }
