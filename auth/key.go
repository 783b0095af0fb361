package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Prefixes by which a secret tells what it is.
const (
	keyPrefix   = "jc_"
	tokenPrefix = "jct_"
)

const (
	keyIDChars  = 10 // of base32: 50 bits, enough that ids of one installation never meet
	secretBytes = 20 // 160 bits

	// A key text keeps to these whoever made it.
	maxKeyIDChars  = 16
	minSecretChars = 27 // 160 bits in base62
	maxSecretChars = 128

	// MinSecretBytes bounds every secret that can be a credential: a shorter
	// one could be guessed.
	MinSecretBytes = 20
	// MaxSecretBytes is the longest secret: a longer one would only cost
	// hashing time.
	MaxSecretBytes = 512

	maxClientBytes = 64 // a client id is part of URLs, rooms and logs
	maxNameChars   = 100

	// MaxConnections is the highest limit of live streams that a key may have.
	// It keeps a typing error from switching the limit off.
	MaxConnections = 100_000

	minTTL = time.Second
	maxTTL = 10 * 365 * 24 * time.Hour // beyond it, a key without an end is meant
)

// KeyOptions are the choices of a new key that have a default.
type KeyOptions struct {
	MaxConnections *int          // live streams, 1..MaxConnections; nil: the server's setting
	TTL            time.Duration // 1 s..10 years from now; 0: no end

	// Hosts that actions of its jobs may reach, and may not, checked by the caller.
	AllowHosts, DenyHosts []string
}

// InvalidError says which member of a new key is wrong. Its text never holds
// the value that was given.
type InvalidError struct {
	Field  string // clientId, name, scopes, maxConnections, ttl or secret
	Detail string // one sentence for a person
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Detail }

// NewKey makes a key that is not stored yet, and the secret text
// `jc_<id>_<secret>` that nobody can read again later. No scopes means
// DefaultScopes. The error is always an *InvalidError.
func NewKey(client, name string, scopes []Scope, opts KeyOptions) (Stored, string, error) {
	key, err := describe(client, name, scopes, opts)
	if err != nil {
		return Stored{}, "", err
	}
	secret := keyPrefix + key.ID + "_" + randomText(secretBytes)
	return Stored{Key: key, Hash: Hash(secret)}, secret, nil
}

// Import makes a key, not stored yet, of a secret that exists already: 20 to
// 512 visible ASCII characters. A secret in our own form keeps the id it names.
// Otherwise it is like NewKey.
func Import(secret, client, name string, scopes []Scope, opts KeyOptions) (Stored, error) {
	key, err := describe(client, name, scopes, opts)
	if err != nil {
		return Stored{}, err
	}
	if err := checkSecret(secret); err != nil {
		return Stored{}, err
	}
	if id, ok := parseKey(secret); ok {
		key.ID = id
	}
	return Stored{Key: key, Hash: Hash(secret)}, nil
}

// Hash is how a secret is stored and looked up: SHA-256 of the whole text. A
// plain hash is enough, because a secret is random and not a password.
func Hash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// Validate checks what is asked for a new key without making one. The error is
// always an *InvalidError.
func Validate(client, name string, scopes []Scope, opts KeyOptions) error {
	if !validClient(client) {
		return &InvalidError{"clientId", "must be 1 to 64 characters of a-z, 0-9, dot, underscore and hyphen"}
	}
	if utf8.RuneCountInString(name) > maxNameChars || !printable(name) {
		return &InvalidError{"name", "must be at most 100 printable characters"}
	}
	for _, s := range scopes {
		if !slices.Contains(allScopes(), s) {
			return &InvalidError{"scopes", "must be of submit, watch, work and admin"}
		}
	}
	if n := opts.MaxConnections; n != nil && (*n < 1 || *n > MaxConnections) {
		return &InvalidError{"maxConnections", "must be 1 to 100000"}
	}
	if opts.TTL != 0 && (opts.TTL < minTTL || opts.TTL > maxTTL) {
		return &InvalidError{"ttl", "must be one second to ten years"}
	}
	return nil
}

func describe(client, name string, scopes []Scope, opts KeyOptions) (Key, error) {
	if err := Validate(client, name, scopes, opts); err != nil {
		return Key{}, err
	}
	if len(scopes) == 0 {
		scopes = DefaultScopes()
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	key := Key{
		ID:        randomText(secretBytes)[:keyIDChars],
		ClientID:  client,
		Name:      name,
		Scopes:    ordered(scopes),
		CreatedAt: now,

		AllowHosts: slices.Clone(opts.AllowHosts),
		DenyHosts:  slices.Clone(opts.DenyHosts),
	}
	if n := opts.MaxConnections; n != nil {
		limit := *n
		key.MaxConnections = &limit
	}
	if opts.TTL != 0 {
		end := now.Add(opts.TTL.Truncate(time.Millisecond))
		key.ExpiresAt = &end
	}
	return key, nil
}

func allScopes() []Scope { return []Scope{Submit, Watch, Work, Admin} }

// ordered returns each scope once, in the order in which they are documented.
func ordered(scopes []Scope) []Scope {
	return slices.DeleteFunc(allScopes(), func(s Scope) bool { return !slices.Contains(scopes, s) })
}

// randomText returns n random bytes as lower-case base32; n is a multiple of 5,
// so that nothing is padded.
func randomText(n int) string {
	raw := make([]byte, n)
	rand.Read(raw) // never fails: it ends the process rather than return weak bytes
	return strings.ToLower(base32.StdEncoding.EncodeToString(raw))
}

// parseKey reads `jc_<id>_<secret>`: id [a-z0-9]{1,16}, secret
// [A-Za-z0-9]{27,128}.
func parseKey(s string) (id string, ok bool) {
	if len(s) > MaxSecretBytes {
		return "", false
	}
	rest, ok := strings.CutPrefix(s, keyPrefix)
	if !ok {
		return "", false
	}
	id, secret, _ := strings.Cut(rest, "_")
	if len(id) < 1 || len(id) > maxKeyIDChars || len(secret) < minSecretChars || len(secret) > maxSecretChars {
		return "", false
	}
	if !only(id, isLower) || !only(secret, func(c byte) bool { return isLower(c) || c >= 'A' && c <= 'Z' }) {
		return "", false
	}
	return id, true
}

// checkSecret refuses a text that no key can have. The refusal never holds it.
func checkSecret(secret string) error {
	if n := len(secret); n < MinSecretBytes || n > MaxSecretBytes {
		return &InvalidError{"secret", fmt.Sprintf("must be %d to %d characters", MinSecretBytes, MaxSecretBytes)}
	}
	if !only(secret, func(c byte) bool { return c > ' ' && c < 0x7f }) {
		return &InvalidError{"secret", "must be visible ASCII without spaces"}
	}
	if strings.HasPrefix(secret, tokenPrefix) {
		return &InvalidError{"secret", "is a token, not a key"}
	}
	if _, ok := parseKey(secret); !ok && strings.HasPrefix(secret, keyPrefix) {
		return &InvalidError{"secret", "begins like a jobcast key but is not one; was it cut off?"}
	}
	return nil
}

func validClient(id string) bool {
	return id != "" && len(id) <= maxClientBytes &&
		only(id, func(c byte) bool { return isLower(c) || c == '.' || c == '_' || c == '-' })
}

// printable excludes control and formatting characters, which could forge a
// line of a table or turn the writing direction of a terminal.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}
