package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A code signs a person in: whoever shows it first, in time, gets a key.
const (
	CodeTTL     = 5 * time.Minute
	SignedInFor = 12 * time.Hour // how long the key of a code is good

	codePrefix = "jcl_"
	codeChars  = secretBytes * 8 / 5
	signInName = "signed in" // of the key
)

// Refusals of codes.
var (
	// ErrNoCode: it was used, is too old, or there never was one. Nobody learns which.
	ErrNoCode = errors.New("unknown, used or expired sign-in code")
	// ErrNoClient: there is no client of this id.
	ErrNoClient = errors.New("no such client")
)

// Code is a sign-in code as the store holds it.
type Code struct {
	Hash      [32]byte // of its text
	ClientID  string
	Scopes    []Scope // of the key that it is exchanged for
	ExpiresAt time.Time
}

// NewCode makes a code that is not stored yet, and its text, which nobody can read again
// later. No scopes means DefaultScopes. The error is always an *InvalidError.
func NewCode(client string, scopes []Scope) (Code, string, error) {
	key, err := describe(client, signInName, scopes, KeyOptions{TTL: CodeTTL})
	if err != nil {
		return Code{}, "", err
	}
	text := codePrefix + randomText(secretBytes)
	return Code{Hash: Hash(text), ClientID: client, Scopes: key.Scopes, ExpiresAt: *key.ExpiresAt}, text, nil
}

// parseCode reports whether a text can be a code.
func parseCode(text string) bool {
	secret, ok := strings.CutPrefix(text, codePrefix)
	return ok && len(secret) == codeChars && only(secret, isLower)
}

// SignIn exchanges a code for a key, which ends by itself after SignedInFor. Errors:
// ErrNoCode, for whatever is no code now, or a *LoginLimitError, as Login has it;
// *KeyLimitError, and then the code is still good; what the store said.
func (v *Verifier) SignIn(ctx context.Context, text string, addr netip.Addr) (IssuedKey, error) {
	key, err := v.redeem(ctx, text)
	if errors.Is(err, ErrNoCode) {
		if limit := v.throttle.failed(addr, time.Now()); limit != nil {
			return IssuedKey{}, limit
		}
	}
	return key, err
}

// redeem reads the code before it writes anything, so that who guesses makes the store
// write nothing.
func (v *Verifier) redeem(ctx context.Context, text string) (IssuedKey, error) {
	if !parseCode(text) { // its shape is public, so saying no early tells nothing
		return IssuedKey{}, ErrNoCode
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	hash := Hash(text)
	code, err := v.store.Code(ctx, hash)
	switch {
	case err != nil && !errors.Is(err, ErrNoCode):
		return IssuedKey{}, fmt.Errorf("looking a sign-in code up: %w", err)
	case subtle.ConstantTimeCompare(code.Hash[:], hash[:]) != 1, !time.Now().Before(code.ExpiresAt):
		return IssuedKey{}, ErrNoCode
	}
	key, secret, err := NewKey(code.ClientID, signInName, code.Scopes, KeyOptions{TTL: SignedInFor})
	if err != nil {
		return IssuedKey{}, err
	}
	key.SignIn = true
	if err := v.store.RedeemCode(ctx, hash, key); err != nil {
		return IssuedKey{}, fmt.Errorf("exchanging a sign-in code: %w", err)
	}
	return IssuedKey{Key: key.Key, Secret: secret}, nil
}

// sweepEvery is how often codes and keys of sign-ins that have expired are removed.
const sweepEvery = 10 * time.Minute

func (v *Verifier) sweepSignIns(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, touchWithin)
	defer cancel()
	if err := v.store.SweepSignIns(ctx, time.Now()); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		v.log.Warn("sign-ins that have expired were not removed", "error", err)
	}
}
