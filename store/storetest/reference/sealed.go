package reference

import (
	"context"
	"slices"
	"strings"

	"github.com/jobcast/jobcast/jobs"
)

// sealedKey is what a sealed thing is known by.
type sealedKey struct {
	kind         jobs.SealedKind
	client, name string
}

// keptSealed is what PutSealed returns.
type keptSealed struct {
	sealed  jobs.Sealed
	created bool
}

// PutSealed implements vault.Store.
func (s *Store) PutSealed(ctx context.Context, x jobs.Sealed) (jobs.Sealed, bool, error) {
	out, err := write(ctx, s, func() (keptSealed, error) {
		if err := s.mayKeep(x); err != nil {
			return keptSealed{}, err
		}
		return s.keep(x), nil
	})
	return out.sealed, out.created, err
}

// mayKeep returns why there is no room for x.
func (s *Store) mayKeep(x jobs.Sealed) error {
	old, found := s.tables.sealed[sealedKey{x.Kind, x.Client, x.Name}]
	limit, what := x.Kind.Max()
	n := int64(0)
	for key := range s.tables.sealed {
		if key.kind == x.Kind && key.client == x.Client {
			n++
		}
	}
	if !found && n >= limit {
		return &jobs.LimitError{What: what, Max: limit, Used: n, Asked: 1}
	}
	return s.room(rowBytes + max(0, int64(len(x.Data)-len(old.Data))))
}

// keep keeps x, which there is room for.
func (s *Store) keep(x jobs.Sealed) keptSealed {
	key := sealedKey{x.Kind, x.Client, x.Name}
	old, found := s.tables.sealed[key]
	s.client(x.Client)
	x.Places, x.KeyID, x.Data = slices.Clone(x.Places), slices.Clone(x.KeyID), slices.Clone(x.Data)
	x.CreatedAt, x.UpdatedAt = s.now(), s.now()
	if found {
		x.CreatedAt = old.CreatedAt
	}
	s.tables.sealed[key] = x
	x.Data = nil
	return keptSealed{x, !found}
}

// sealedOf returns what a client has of a kind, by name.
func (s *Store) sealedOf(kind jobs.SealedKind, client string) (found []jobs.Sealed) {
	for key, x := range s.tables.sealed {
		if key.kind == kind && key.client == client {
			x.KeyID, x.Data = nil, nil
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(x, y jobs.Sealed) int { return strings.Compare(x.Name, y.Name) })
	return found
}

// Sealed implements vault.Store.
func (s *Store) Sealed(_ context.Context, kind jobs.SealedKind, client, name string) (jobs.Sealed, error) {
	return read(s, func() (jobs.Sealed, error) {
		x, ok := s.tables.sealed[sealedKey{kind, client, name}]
		if !ok {
			return x, jobs.ErrNotSealed
		}
		return x, nil
	})
}

// SealedPage implements vault.Store.
func (s *Store) SealedPage(_ context.Context, kind jobs.SealedKind, client, after string, limit int) ([]jobs.Sealed, error) {
	return read(s, func() ([]jobs.Sealed, error) {
		found := slices.DeleteFunc(s.sealedOf(kind, client), func(x jobs.Sealed) bool { return x.Name <= after })
		return found[:min(limit, len(found))], nil
	})
}

// DeleteSealed implements vault.Store.
func (s *Store) DeleteSealed(ctx context.Context, kind jobs.SealedKind, client, name string) error {
	return s.do(ctx, func() error {
		key := sealedKey{kind, client, name}
		if _, ok := s.tables.sealed[key]; !ok {
			return jobs.ErrNotSealed
		}
		delete(s.tables.sealed, key)
		return nil
	})
}

// SealedOtherwise implements vault.Store.
func (s *Store) SealedOtherwise(_ context.Context, keyID []byte) (int64, error) {
	return read(s, func() (n int64, err error) {
		for _, x := range s.tables.sealed {
			if string(x.KeyID) != string(keyID) {
				n++
			}
		}
		return n, nil
	})
}
