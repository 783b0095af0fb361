package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jobcast/jobcast/auth"
)

const (
	sqlClients   = `SELECT name FROM clients ORDER BY id LIMIT ?`
	sqlClientRow = `SELECT id FROM clients WHERE name = ?`
	sqlAddCode   = `INSERT INTO sign_in_codes (hash, client, scopes, expires_at) VALUES (?, ?, ?, ?)`
	sqlCode      = `SELECT c.name, s.scopes, s.expires_at FROM sign_in_codes s JOIN clients c ON c.id = s.client WHERE s.hash = ?`
	sqlGoodCode  = `SELECT expires_at FROM sign_in_codes WHERE hash = ? AND expires_at > ?`
	sqlDelCode   = `DELETE FROM sign_in_codes WHERE hash = ?`
	sqlOldCodes  = `DELETE FROM sign_in_codes WHERE expires_at <= ?`
	sqlOldKeys   = `DELETE FROM api_keys WHERE sign_in = 1 AND expires_at <= ?`
	sqlAnyOld    = `SELECT EXISTS (SELECT 1 FROM sign_in_codes WHERE expires_at <= ?1) OR
	EXISTS (SELECT 1 FROM api_keys WHERE sign_in = 1 AND expires_at <= ?1)`
)

// Clients implements auth.Store.
func (s *Store) Clients(ctx context.Context, limit int) ([]string, error) {
	return read(ctx, s, func(db *conn) (names []string, err error) {
		err = db.each(sqlClients, []any{limit}, func(rows *sql.Rows) (bool, error) {
			var name string
			err := rows.Scan(&name)
			names = append(names, name)
			return true, err
		})
		return names, err
	})
}

// CreateCode implements auth.Store.
func (s *Store) CreateCode(ctx context.Context, c auth.Code) error {
	_, err := do(ctx, s.committer, 1, func(b *batch) (struct{}, error) {
		var client int64
		found, err := b.row(sqlClientRow, []any{c.ClientID}, &client)
		if err != nil {
			return struct{}{}, err
		}
		if !found {
			return struct{}{}, refuse(auth.ErrNoClient)
		}
		if err := b.grow(rowBytes); err != nil {
			return struct{}{}, err
		}
		if _, err := b.exec(sqlAddCode, c.Hash[:], client, scopeWords(c.Scopes), c.ExpiresAt.UnixMilli()); err != nil {
			return struct{}{}, fmt.Errorf("insert sign-in code: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// Code implements auth.Store.
func (s *Store) Code(ctx context.Context, hash [32]byte) (auth.Code, error) {
	return read(ctx, s, func(db *conn) (auth.Code, error) {
		c := auth.Code{Hash: hash}
		var scopes string
		var expires int64
		found, err := db.row(sqlCode, []any{hash[:]}, &c.ClientID, &scopes, &expires)
		if err == nil && !found {
			err = auth.ErrNoCode
		}
		if err != nil {
			return auth.Code{}, err
		}
		c.Scopes, c.ExpiresAt = wordScopes(scopes), fromMillis(expires)
		return c, nil
	})
}

// RedeemCode implements auth.Store.
func (s *Store) RedeemCode(ctx context.Context, hash [32]byte, k auth.Stored) error {
	_, err := do(ctx, s.committer, 1, func(b *batch) (struct{}, error) {
		var expires int64
		good, err := b.row(sqlGoodCode, []any{hash[:], k.CreatedAt.UnixMilli()}, &expires)
		if err == nil && !good {
			err = refuse(auth.ErrNoCode)
		}
		if err == nil {
			err = b.createKey(k)
		}
		if err != nil {
			return struct{}{}, err
		}
		if _, err := b.exec(sqlDelCode, hash[:]); err != nil {
			return struct{}{}, fmt.Errorf("delete sign-in code: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// SweepSignIns implements auth.Store. It commits nothing if there is nothing to delete.
func (s *Store) SweepSignIns(ctx context.Context, now time.Time) error {
	old, err := read(ctx, s, func(db *conn) (old bool, err error) {
		_, err = db.row(sqlAnyOld, []any{now.UnixMilli()}, &old)
		return old, err
	})
	if err != nil || !old {
		return err
	}
	_, err = do(ctx, s.committer, 1, func(b *batch) (struct{}, error) {
		for _, sweep := range []string{sqlOldCodes, sqlOldKeys} {
			if _, err := b.exec(sweep, now.UnixMilli()); err != nil {
				return struct{}{}, fmt.Errorf("delete sign-ins that have expired: %w", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}
