package reference

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// Clients implements auth.Store.
func (s *Store) Clients(_ context.Context, limit int) ([]string, error) {
	return read(s, func() ([]string, error) {
		names := slices.Collect(maps.Keys(s.tables.clients))
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Compare(s.tables.clients[a].row, s.tables.clients[b].row)
		})
		return names[:min(limit, len(names))], nil
	})
}

// CreateCode implements auth.Store.
func (s *Store) CreateCode(ctx context.Context, c auth.Code) error {
	return s.do(ctx, func() error {
		if _, ok := s.tables.clients[c.ClientID]; !ok {
			return auth.ErrNoClient
		}
		if err := s.room(rowBytes); err != nil {
			return err
		}
		c.Scopes, c.ExpiresAt = append([]auth.Scope{}, c.Scopes...), millis(c.ExpiresAt)
		s.tables.codes[c.Hash] = c
		return nil
	})
}

// Code implements auth.Store.
func (s *Store) Code(_ context.Context, hash [32]byte) (auth.Code, error) {
	return read(s, func() (auth.Code, error) {
		c, ok := s.tables.codes[hash]
		if !ok {
			return auth.Code{}, auth.ErrNoCode
		}
		return c, nil
	})
}

// RedeemCode implements auth.Store.
func (s *Store) RedeemCode(ctx context.Context, hash [32]byte, k auth.Stored) error {
	return s.do(ctx, func() error {
		c, ok := s.tables.codes[hash]
		if !ok || !c.ExpiresAt.After(millis(k.CreatedAt)) {
			return auth.ErrNoCode
		}
		if err := s.createKey(k); err != nil {
			return err
		}
		delete(s.tables.codes, hash)
		return nil
	})
}

// SweepSignIns implements auth.Store.
func (s *Store) SweepSignIns(ctx context.Context, now time.Time) error {
	return s.do(ctx, func() error {
		maps.DeleteFunc(s.tables.codes, func(_ [32]byte, c auth.Code) bool { return !c.ExpiresAt.After(millis(now)) })
		s.tables.keys = slices.DeleteFunc(slices.Clone(s.tables.keys), func(k auth.Stored) bool {
			return k.SignIn && !k.ExpiresAt.After(millis(now))
		})
		return nil
	})
}
