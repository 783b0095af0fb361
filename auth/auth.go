// Package auth says who is asking and what it may do. A key is a long-lived
// secret of a client; a token is a narrower secret of minutes; a principal is
// the outcome of checking either.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Scope is one thing a key may do, always inside its own client.
type Scope string

// The scopes. A new key has the first three.
const (
	Submit Scope = "submit" // make, cancel and retry jobs
	Watch  Scope = "watch"  // read jobs and their events
	Work   Scope = "work"   // claim jobs and report on them
	Admin  Scope = "admin"  // manage the client's keys and secrets, read metrics
)

// DefaultScopes is what a key gets when none are named.
func DefaultScopes() []Scope { return []Scope{Submit, Watch, Work} }

// Key is a key as shown to people: everything but its secret.
type Key struct {
	ID             string     `json:"id"`
	ClientID       string     `json:"clientId"`
	Name           string     `json:"name"`
	Scopes         []Scope    `json:"scopes"`
	MaxConnections *int       `json:"maxConnections"` // live streams; null: the server's setting; 1..100000
	AllowHosts     []string   `json:"allowHosts"`     // what its jobs' actions may reach; empty: as the server is set
	DenyHosts      []string   `json:"denyHosts"`      // and what not
	CreatedAt      time.Time  `json:"createdAt"`
	ExpiresAt      *time.Time `json:"expiresAt"`
	RevokedAt      *time.Time `json:"revokedAt"`
	LastUsedAt     *time.Time `json:"lastUsedAt"`
}

// Identity is who is asking, by which credential. Long streams keep it.
type Identity struct {
	ClientID string
	KeyID    string // of the key, also behind a token
	TokenID  string // empty: the key itself
	JobID    string // the only job that may be seen; empty: all of the client
}

// tokenCredential begins the credentials of tokens. No id of a key holds a colon.
const tokenCredential = "token:"

// Credential names what somebody came with.
func (i Identity) Credential() string {
	if i.TokenID == "" {
		return i.KeyID
	}
	return tokenCredential + i.TokenID
}

// Principal is who is asking and what they may do.
type Principal struct {
	Identity
	Scopes         []Scope
	MaxConnections int      // 0: the server's setting
	AllowHosts     []string // of the key; not to be changed
	DenyHosts      []string
	ExpiresAt      *time.Time // when the credential ends

	// Where it was shown, as far as that is known.
	Addr  netip.Addr
	Agent Agent
}

// Refusals.
var (
	// ErrUnauthenticated: no credential, an unknown one, or one that has ended.
	ErrUnauthenticated = errors.New("unknown, expired or revoked credential")
	// ErrNoKey: no such key in this client.
	ErrNoKey = errors.New("no such key")
	// ErrExists: a key with this secret exists already.
	ErrExists = errors.New("this key already exists")
)

// MaxKeys is how many live keys, neither revoked nor expired, a client may have. An admin
// key makes others, and without a bound it could fill the store of all.
const MaxKeys = 1000

// MaxEndedKeys is how many keys that are revoked or expired a client's list goes on
// showing. When another key is made, the oldest beyond them are forgotten.
const MaxEndedKeys = 1000

// KeyLimitError refuses a key beyond MaxKeys; nothing was stored.
type KeyLimitError struct {
	Max, Used int64 // live keys: the bound, and how many there are
}

func (e *KeyLimitError) Error() string {
	return fmt.Sprintf("This client has %d of %d live keys. Revoke some, or wait until some expire.", e.Used, e.Max)
}

// Stored is a key as the store holds it.
type Stored struct {
	Key
	Hash   [32]byte // SHA-256 of the whole secret text
	SignIn bool     // made for a code: forgotten once it has expired
}

// Store keeps keys. Every change raises the revision by at least one in the
// same transaction, so that a serving process which polls it notices changes
// made by another process.
type Store interface {
	// CreateKey inserts a key, and its client if that is new. ErrExists if the
	// hash is taken; *KeyLimitError if the client has MaxKeys that are live at
	// k.CreatedAt. Of those that are not it forgets the oldest beyond MaxEndedKeys.
	CreateKey(ctx context.Context, k Stored) error
	// KeyByHash returns the key with this hash, also a revoked or expired one;
	// ErrNoKey if there is none.
	KeyByHash(ctx context.Context, hash [32]byte) (Stored, error)
	// Key returns a client's key by its id, also a revoked or expired one; ErrNoKey
	// if there is none.
	Key(ctx context.Context, client, id string) (Key, error)
	// Keys lists a client's keys, oldest first; client "" lists all.
	Keys(ctx context.Context, client string) ([]Key, error)
	// KeyPage lists at most limit of a client's keys, oldest first, after the one
	// with the id after, or (empty) from the oldest on. ErrNoKey if the client has
	// none of that id.
	KeyPage(ctx context.Context, client, after string, limit int) ([]Key, error)
	// RevokeKey sets RevokedAt (once). client "" matches any. ErrNoKey.
	RevokeKey(ctx context.Context, client, id string, at time.Time) error
	// TouchKeys records when keys were last used; it does not raise the revision.
	TouchKeys(ctx context.Context, used map[string]time.Time) error
	// Revision returns the number that every change raises.
	Revision(ctx context.Context) (int64, error)
	// CountClients returns how many clients exist.
	CountClients(ctx context.Context) (int, error)
	// Clients returns the ids of at most limit clients, oldest first.
	Clients(ctx context.Context, limit int) ([]string, error)

	// CreateCode inserts a code; ErrNoClient if its client does not exist. It does not
	// raise the revision.
	CreateCode(ctx context.Context, c Code) error
	// Code returns the code with this hash, also an expired one; ErrNoCode if there is
	// none.
	Code(ctx context.Context, hash [32]byte) (Code, error)
	// RedeemCode deletes the code and inserts a key in its place, as CreateKey does.
	// ErrNoCode if there is none that is good at k.CreatedAt; of many at once one succeeds.
	RedeemCode(ctx context.Context, hash [32]byte, k Stored) error
	// SweepSignIns deletes the codes, and the keys with SignIn, that have expired at now.
	// It does not raise the revision.
	SweepSignIns(ctx context.Context, now time.Time) error
}
