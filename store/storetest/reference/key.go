package reference

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// CreateKey implements auth.Store.
func (s *Store) CreateKey(ctx context.Context, k auth.Stored) error {
	return s.do(ctx, func() error { return s.createKey(k) })
}

func (s *Store) createKey(k auth.Stored) error {
	var live int64
	for _, other := range s.tables.keys {
		if other.Hash == k.Hash {
			return auth.ErrExists
		}
		if other.ClientID == k.ClientID && !ended(other, k.CreatedAt) {
			live++
		}
	}
	if live >= auth.MaxKeys {
		return &auth.KeyLimitError{Max: auth.MaxKeys, Used: live}
	}
	if err := s.room(rowBytes); err != nil {
		return err
	}
	s.client(k.ClientID)
	k.Scopes = append([]auth.Scope{}, k.Scopes...)
	k.CreatedAt, k.ExpiresAt = millis(k.CreatedAt), optional(k.ExpiresAt)
	k.RevokedAt, k.LastUsedAt = optional(k.RevokedAt), optional(k.LastUsedAt)
	s.tables.keys = append(s.tables.keys, k)
	s.forgetKeys(k.ClientID, k.CreatedAt)
	s.tables.revision++
	return nil
}

// forgetKeys drops the oldest of a client's keys that have ended, beyond those that are kept.
func (s *Store) forgetKeys(client string, now time.Time) {
	of := func(k auth.Stored) bool { return k.ClientID == client && ended(k, now) }
	beyond := -auth.MaxEndedKeys
	for _, k := range s.tables.keys {
		if of(k) {
			beyond++
		}
	}
	s.tables.keys = slices.DeleteFunc(slices.Clone(s.tables.keys), func(k auth.Stored) bool {
		if !of(k) || beyond <= 0 {
			return false
		}
		beyond--
		return true
	})
}

// ended reports whether a key is revoked, or expired by now.
func ended(k auth.Stored, now time.Time) bool {
	return k.RevokedAt != nil || k.ExpiresAt != nil && !k.ExpiresAt.After(now)
}

// optional is a time in the precision that is kept.
func optional(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	kept := millis(*t)
	return &kept
}

// keysOf returns a client's keys, oldest first; all for client "".
func (s *Store) keysOf(client string) []auth.Key {
	keys := []auth.Key{}
	for _, k := range s.tables.keys {
		if client == "" || k.ClientID == client {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// keyIndex returns where a key of a client stands; client "" matches any.
func (s *Store) keyIndex(client, id string) (int, error) {
	i := slices.IndexFunc(s.tables.keys, func(k auth.Stored) bool {
		return k.ID == id && (client == "" || k.ClientID == client)
	})
	if i < 0 {
		return i, auth.ErrNoKey
	}
	return i, nil
}

// KeyByHash implements auth.Store.
func (s *Store) KeyByHash(_ context.Context, hash [32]byte) (auth.Stored, error) {
	return read(s, func() (auth.Stored, error) {
		for _, k := range s.tables.keys {
			if k.Hash == hash {
				return k, nil
			}
		}
		return auth.Stored{}, auth.ErrNoKey
	})
}

// Key implements auth.Store.
func (s *Store) Key(_ context.Context, client, id string) (auth.Key, error) {
	return read(s, func() (auth.Key, error) {
		for _, k := range s.tables.keys {
			if k.ID == id && k.ClientID == client {
				return k.Key, nil
			}
		}
		return auth.Key{}, auth.ErrNoKey
	})
}

// Keys implements auth.Store.
func (s *Store) Keys(_ context.Context, client string) ([]auth.Key, error) {
	return read(s, func() ([]auth.Key, error) { return s.keysOf(client), nil })
}

// KeyPage implements auth.Store.
func (s *Store) KeyPage(_ context.Context, client, after string, limit int) ([]auth.Key, error) {
	return read(s, func() ([]auth.Key, error) {
		keys := s.keysOf(client)
		if after != "" {
			i := slices.IndexFunc(keys, func(k auth.Key) bool { return k.ID == after })
			if i < 0 {
				return nil, auth.ErrNoKey
			}
			keys = keys[i+1:]
		}
		return keys[:min(limit, len(keys))], nil
	})
}

// RevokeKey implements auth.Store.
func (s *Store) RevokeKey(ctx context.Context, client, id string, at time.Time) error {
	return s.do(ctx, func() error {
		i, err := s.keyIndex(client, id)
		if err == nil && s.tables.keys[i].RevokedAt == nil { // the first revocation counts
			s.tables.keys[i].RevokedAt = optional(&at)
			s.tables.revision++
		}
		return err
	})
}

// TouchKeys implements auth.Store.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	return s.do(ctx, func() error {
		for i, k := range s.tables.keys {
			if at, ok := used[k.ID]; ok && (k.LastUsedAt == nil || at.After(*k.LastUsedAt)) {
				s.tables.keys[i].LastUsedAt = optional(&at)
			}
		}
		return nil
	})
}

// SigningSecret implements auth.Secrets.
func (s *Store) SigningSecret(ctx context.Context) ([]byte, error) {
	return write(ctx, s, func() ([]byte, error) {
		if s.tables.secret == nil {
			s.tables.secret = make([]byte, auth.SecretBytes)
			_, _ = rand.Read(s.tables.secret) // never fails: crypto/rand ends the program instead
		}
		return slices.Clone(s.tables.secret), nil
	})
}

// Revision implements auth.Store.
func (s *Store) Revision(context.Context) (int64, error) {
	return read(s, func() (int64, error) { return s.tables.revision, nil })
}

// CountClients implements auth.Store.
func (s *Store) CountClients(context.Context) (int, error) {
	return read(s, func() (int, error) { return len(s.tables.clients), nil })
}
