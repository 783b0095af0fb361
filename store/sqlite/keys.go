package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlKeyColumns = `SELECT k.key_id, c.name, k.name, k.hash, k.scopes, k.max_connections,
	k.hosts, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.sign_in FROM api_keys k JOIN clients c ON c.id = k.client `
	sqlKeyByHash = sqlKeyColumns + `WHERE k.hash = ?`
	sqlKeys      = sqlKeyColumns + `ORDER BY k.id`
	sqlKeysOf    = sqlKeyColumns + `WHERE c.name = ? ORDER BY k.id`
	sqlKeyByID   = sqlKeyColumns + `WHERE k.key_id = ? AND c.name = ?`
	sqlKeyRow    = `SELECT k.id FROM api_keys k JOIN clients c ON c.id = k.client WHERE k.key_id = ? AND c.name = ?`
	sqlKeyPage   = sqlKeyColumns + `WHERE c.name = ? AND k.id > ? ORDER BY k.id LIMIT ?`
	sqlAddKey    = `INSERT INTO api_keys (key_id, client, name, hash, scopes, max_connections, hosts, created_at, expires_at,
	revoked_at, last_used_at, sign_in) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlHashTaken = `SELECT id FROM api_keys WHERE hash = ?`
	sqlLiveKeys  = `SELECT count(*) FROM api_keys k JOIN clients c ON c.id = k.client
	WHERE c.name = ? AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?)`
	sqlForgetKeys = `DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys
	WHERE client = ?1 AND (revoked_at IS NOT NULL OR expires_at <= ?2) ORDER BY id DESC LIMIT -1 OFFSET ?3)`
	sqlFindKey = `SELECT k.id, k.revoked_at FROM api_keys k JOIN clients c ON c.id = k.client
	WHERE k.key_id = ?1 AND (?2 = '' OR c.name = ?2)`
	sqlRevokeKey    = `UPDATE api_keys SET revoked_at = ? WHERE id = ?`
	sqlTouchKey     = `UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE key_id = ?`
	sqlBumpRevision = `UPDATE key_revision SET n = n + 1`
	sqlRevision     = `SELECT n FROM key_revision`
	sqlCountClients = `SELECT count(*) FROM clients`
)

// CreateKey implements auth.Store. Times are kept in milliseconds.
func (s *Store) CreateKey(ctx context.Context, k auth.Stored) error {
	_, err := do(ctx, s.committer, 1, func(b *batch) (struct{}, error) { return struct{}{}, b.createKey(k) })
	return err
}

func (b *batch) createKey(k auth.Stored) error {
	var taken int64
	found, err := b.row(sqlHashTaken, []any{k.Hash[:]}, &taken)
	if err != nil {
		return err
	}
	if found {
		return refuse(auth.ErrExists)
	}
	var live int64
	if _, err := b.row(sqlLiveKeys, []any{k.ClientID, k.CreatedAt.UnixMilli()}, &live); err != nil {
		return err
	}
	if live >= auth.MaxKeys {
		return refuse(&auth.KeyLimitError{Max: auth.MaxKeys, Used: live})
	}
	if err := b.grow(rowBytes); err != nil {
		return err
	}
	head, err := b.ensureClient(k.ClientID)
	if err != nil {
		return err
	}
	hosts, err := hostsBlob(jobs.Hosts{Allow: k.AllowHosts, Deny: k.DenyHosts})
	if err != nil {
		return err
	}
	_, err = b.exec(sqlAddKey, k.ID, head.id, k.Name, k.Hash[:], scopeWords(k.Scopes), k.MaxConnections, hosts,
		k.CreatedAt.UnixMilli(), optMillis(k.ExpiresAt), optMillis(k.RevokedAt), optMillis(k.LastUsedAt), k.SignIn)
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	if _, err := b.exec(sqlForgetKeys, head.id, k.CreatedAt.UnixMilli(), auth.MaxEndedKeys); err != nil {
		return fmt.Errorf("forget old keys: %w", err)
	}
	_, err = b.exec(sqlBumpRevision)
	return err
}

// scopeWords is how scopes are kept; wordScopes reads them.
func scopeWords(scopes []auth.Scope) string {
	words := make([]string, len(scopes))
	for i, scope := range scopes {
		words[i] = string(scope)
	}
	return strings.Join(words, " ")
}

func wordScopes(words string) []auth.Scope {
	scopes := []auth.Scope{}
	for scope := range strings.FieldsSeq(words) {
		scopes = append(scopes, auth.Scope(scope))
	}
	return scopes
}

func optMillis(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMilli()
}

// KeyByHash implements auth.Store.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (auth.Stored, error) {
	return read(ctx, s, func(db *conn) (auth.Stored, error) {
		found, err := db.keys(sqlKeyByHash, hash[:])
		if err != nil {
			return auth.Stored{}, err
		}
		if len(found) == 0 {
			return auth.Stored{}, auth.ErrNoKey
		}
		return found[0], nil
	})
}

// Key implements auth.Store.
func (s *Store) Key(ctx context.Context, client, id string) (auth.Key, error) {
	return read(ctx, s, func(db *conn) (auth.Key, error) {
		found, err := db.keys(sqlKeyByID, id, client)
		if err == nil && len(found) == 0 {
			err = auth.ErrNoKey
		}
		if err != nil {
			return auth.Key{}, err
		}
		return found[0].Key, nil
	})
}

// KeyPage implements auth.Store.
func (s *Store) KeyPage(ctx context.Context, client, after string, limit int) ([]auth.Key, error) {
	return read(ctx, s, func(db *conn) ([]auth.Key, error) {
		var row int64
		if after != "" {
			found, err := db.row(sqlKeyRow, []any{after, client}, &row)
			if err == nil && !found {
				err = auth.ErrNoKey
			}
			if err != nil {
				return nil, err
			}
		}
		found, err := db.keys(sqlKeyPage, client, row, limit)
		return bare(found), err
	})
}

// bare returns the keys without their hashes.
func bare(found []auth.Stored) []auth.Key {
	keys := make([]auth.Key, len(found))
	for i, k := range found {
		keys[i] = k.Key
	}
	return keys
}

// Keys implements auth.Store.
func (s *Store) Keys(ctx context.Context, client string) ([]auth.Key, error) {
	query, args := sqlKeys, []any(nil)
	if client != "" {
		query, args = sqlKeysOf, []any{client}
	}
	return read(ctx, s, func(db *conn) ([]auth.Key, error) {
		found, err := db.keys(query, args...)
		return bare(found), err
	})
}

// keys runs a query that begins with sqlKeyColumns.
func (s *conn) keys(query string, args ...any) ([]auth.Stored, error) {
	var found []auth.Stored
	err := s.each(query, args, func(rows *sql.Rows) (bool, error) {
		var (
			k                      auth.Stored
			hash, hosts            []byte
			scopes                 string
			created                int64
			expires, revoked, used sql.NullInt64
		)
		err := rows.Scan(&k.ID, &k.ClientID, &k.Name, &hash, &scopes, &k.MaxConnections,
			&hosts, &created, &expires, &revoked, &used, &k.SignIn)
		if err != nil {
			return false, fmt.Errorf("read key: %w", err)
		}
		if len(hash) != len(k.Hash) {
			return false, fmt.Errorf("the hash of key %s has %d bytes", k.ID, len(hash))
		}
		copy(k.Hash[:], hash)
		reach, err := blobHosts(hosts)
		if err != nil {
			return false, err
		}
		k.AllowHosts, k.DenyHosts = reach.Allow, reach.Deny
		k.Scopes = wordScopes(scopes)
		k.CreatedAt = fromMillis(created)
		k.ExpiresAt, k.RevokedAt, k.LastUsedAt = keyTime(expires), keyTime(revoked), keyTime(used)
		found = append(found, k)
		return true, nil
	})
	return found, err
}

func keyTime(ms sql.NullInt64) *time.Time {
	if !ms.Valid {
		return nil
	}
	t := fromMillis(ms.Int64)
	return &t
}

// RevokeKey implements auth.Store.
func (s *Store) RevokeKey(ctx context.Context, client, id string, at time.Time) error {
	_, err := do(ctx, s.committer, 1, func(b *batch) (struct{}, error) {
		var row int64
		var revoked sql.NullInt64
		found, err := b.row(sqlFindKey, []any{id, client}, &row, &revoked)
		switch {
		case err != nil:
			return struct{}{}, err
		case !found:
			return struct{}{}, refuse(auth.ErrNoKey)
		case revoked.Valid: // the first revocation counts
			return struct{}{}, nil
		}
		if _, err := b.exec(sqlRevokeKey, at.UnixMilli(), row); err != nil {
			return struct{}{}, fmt.Errorf("revoke key: %w", err)
		}
		_, err = b.exec(sqlBumpRevision)
		return struct{}{}, err
	})
	return err
}

// TouchKeys implements auth.Store.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	_, err := do(ctx, s.committer, len(used), func(b *batch) (struct{}, error) {
		for id, at := range used {
			if _, err := b.exec(sqlTouchKey, at.UnixMilli(), id); err != nil {
				return struct{}{}, fmt.Errorf("touch key: %w", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// Revision implements auth.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	return read(ctx, s, func(db *conn) (n int64, err error) {
		_, err = db.row(sqlRevision, nil, &n)
		return n, err
	})
}

// CountClients implements auth.Store.
func (s *Store) CountClients(ctx context.Context) (int, error) {
	return read(ctx, s, func(db *conn) (n int, err error) {
		_, err = db.row(sqlCountClients, nil, &n)
		return n, err
	})
}
