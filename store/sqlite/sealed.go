package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/jobcast/jobcast/jobs"
)

const (
	sqlSealedOf   = ` FROM sealed s JOIN clients c ON c.id = s.client WHERE s.kind = ? AND c.name = ?`
	sqlSealed     = `SELECT s.name, s.places, s.size, s.created_at, s.updated_at, s.key_id, s.data` + sqlSealedOf + ` AND s.name = ?`
	sqlSealedPage = `SELECT s.name, s.places, s.size, s.created_at, s.updated_at, NULL, NULL` + sqlSealedOf + ` AND s.name > ? ORDER BY s.name LIMIT ?`
	sqlSealedRow  = `SELECT id, length(data), created_at FROM sealed WHERE client = ? AND kind = ? AND name = ?`
	sqlSealedMany = `SELECT count(*) FROM sealed WHERE client = ? AND kind = ?`
	sqlAddSealed  = `INSERT INTO sealed (client, kind, name, places, size, key_id, data, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlSetSealed  = `UPDATE sealed SET places = ?, size = ?, key_id = ?, data = ?, updated_at = ? WHERE id = ?`
	sqlDelSealed  = `DELETE FROM sealed WHERE kind = ? AND name = ? AND client = (SELECT id FROM clients WHERE name = ?)`
	sqlOtherwise  = `SELECT count(*) FROM sealed WHERE key_id <> ?`
)

// keptSealed is what PutSealed returns.
type keptSealed struct {
	sealed  jobs.Sealed
	created bool
}

// PutSealed implements vault.Store.
func (s *Store) PutSealed(ctx context.Context, x jobs.Sealed) (jobs.Sealed, bool, error) {
	out, err := write(ctx, s, 1, func(b *batch) (keptSealed, error) { return b.putSealed(x) })
	return out.sealed, out.created, err
}

// putSealed keeps x, unless there is no room.
func (b *batch) putSealed(x jobs.Sealed) (out keptSealed, err error) {
	head, err := b.client(x.Client)
	if err != nil {
		return out, err
	}
	now := b.now()
	x.CreatedAt, x.UpdatedAt = fromMillis(now.UnixMilli()), fromMillis(now.UnixMilli())
	var id, before, created, n int64
	if head != nil {
		if _, err = b.row(sqlSealedRow, []any{head.id, x.Kind, x.Name}, &id, &before, &created); err == nil {
			_, err = b.row(sqlSealedMany, []any{head.id, x.Kind}, &n)
		}
		if err != nil {
			return out, err
		}
	}
	if limit, what := x.Kind.Max(); id == 0 && n >= limit {
		return out, refuse(&jobs.LimitError{What: what, Max: limit, Used: n, Asked: 1})
	}
	if err := b.grow(rowBytes + max(0, int64(len(x.Data))-before)); err != nil {
		return out, err
	}
	if head, err = b.ensureClient(x.Client); err != nil {
		return out, err
	}
	places, err := placesBlob(x.Places)
	if err != nil {
		return out, err
	}
	if id == 0 {
		_, err = b.exec(sqlAddSealed, head.id, x.Kind, x.Name, places, x.Size, x.KeyID, x.Data, now.UnixMilli(), now.UnixMilli())
	} else {
		x.CreatedAt = fromMillis(created)
		_, err = b.exec(sqlSetSealed, places, x.Size, x.KeyID, x.Data, now.UnixMilli(), id)
	}
	if err != nil {
		return out, fmt.Errorf("keep %s of client %s: %w", x.Kind, x.Client, err)
	}
	x.Data = nil
	return keptSealed{x, id == 0}, nil
}

// placesBlob binds a list of places; none is NULL.
func placesBlob(places []string) (any, error) {
	if len(places) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(places)
	if err != nil {
		return nil, fmt.Errorf("encode places: %w", err)
	}
	return raw, nil
}

// Sealed implements vault.Store.
func (s *Store) Sealed(ctx context.Context, kind jobs.SealedKind, client, name string) (jobs.Sealed, error) {
	return readOnce(ctx, s, func(db *conn) (jobs.Sealed, error) {
		found, err := db.sealed(kind, client, sqlSealed, name)
		if err == nil && len(found) == 0 {
			err = jobs.ErrNotSealed
		}
		if err != nil {
			return jobs.Sealed{}, err
		}
		return found[0], nil
	})
}

// SealedPage implements vault.Store.
func (s *Store) SealedPage(ctx context.Context, kind jobs.SealedKind, client, after string, limit int) ([]jobs.Sealed, error) {
	return readOnce(ctx, s, func(db *conn) ([]jobs.Sealed, error) {
		return db.sealed(kind, client, sqlSealedPage, after, limit)
	})
}

// sealed runs a query that has the columns of sqlSealed.
func (s *conn) sealed(kind jobs.SealedKind, client, query string, args ...any) (found []jobs.Sealed, err error) {
	err = s.each(query, append([]any{kind, client}, args...), func(rows *sql.Rows) (bool, error) {
		x := jobs.Sealed{Kind: kind, Client: client}
		var places []byte
		var created, updated int64
		if err := rows.Scan(&x.Name, &places, &x.Size, &created, &updated, &x.KeyID, &x.Data); err != nil {
			return false, fmt.Errorf("read %s: %w", kind, err)
		}
		if places != nil {
			if err := json.Unmarshal(places, &x.Places); err != nil {
				return false, fmt.Errorf("decode places: %w", err)
			}
		}
		x.CreatedAt, x.UpdatedAt = fromMillis(created), fromMillis(updated)
		found = append(found, x)
		return true, nil
	})
	return found, err
}

// DeleteSealed implements vault.Store.
func (s *Store) DeleteSealed(ctx context.Context, kind jobs.SealedKind, client, name string) error {
	_, err := write(ctx, s, 1, func(b *batch) (struct{}, error) {
		n, err := b.changed(sqlDelSealed, kind, name, client)
		if err == nil && n == 0 {
			err = refuse(jobs.ErrNotSealed)
		}
		return struct{}{}, err
	})
	return err
}

// SealedOtherwise implements vault.Store.
func (s *Store) SealedOtherwise(ctx context.Context, keyID []byte) (int64, error) {
	return readOnce(ctx, s, func(db *conn) (n int64, err error) {
		_, err = db.row(sqlOtherwise, []any{keyID}, &n)
		return n, err
	})
}
