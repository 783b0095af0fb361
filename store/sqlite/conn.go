package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// Settings of the connections. See autoCheckpoint for how the WAL is kept short.
const (
	busyTimeoutMs     = 5000     // how long a lock of another process is waited for
	besideTimeoutMs   = 30_000   // the same beside a server, which may take the lock again before SQLite tries the next time
	cachePagesKiB     = 4_000    // page cache of the writer: the ends of the trees and the jobs at work
	readerPagesKiB    = 1_000    // page cache of each reader: beyond the inner pages of the trees the system's is as good
	journalSizeLimit  = 64 << 20 // bytes that the WAL file keeps after a checkpoint
	readers           = 4        // read-only connections
	databaseFile      = "jobcast.db"
	writerTransaction = "BEGIN IMMEDIATE"
)

// connector opens connections to one database file.
type connector struct {
	dsn  string
	hook func(*sqlite3.SQLiteConn) error // runs on each new connection; may be nil
}

func (c connector) Connect(context.Context) (driver.Conn, error) {
	return (&sqlite3.SQLiteDriver{ConnectHook: c.hook}).Open(c.dsn)
}

func (c connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

func dsn(dir, query string) string {
	u := url.URL{Path: filepath.Join(dir, databaseFile)}
	return "file:" + u.EscapedPath() + "?" + query
}

func writerConnector(dir string, timeoutMs int) connector {
	return connector{
		dsn: dsn(dir, fmt.Sprintf("_busy_timeout=%d&_journal_mode=WAL&_synchronous=FULL"+
			"&_txlock=immediate&_mutex=no&_foreign_keys=on&_cache_size=-%d", timeoutMs, cachePagesKiB)),
		hook: func(c *sqlite3.SQLiteConn) error {
			_, err := c.Exec(fmt.Sprintf("PRAGMA wal_autocheckpoint=%d; PRAGMA journal_size_limit=%d",
				autoCheckpoint, journalSizeLimit), nil)
			return err
		},
	}
}

func readerConnector(dir string) connector {
	return connector{dsn: dsn(dir, fmt.Sprintf("mode=ro&_mutex=no&_busy_timeout=%d&_query_only=1&_cache_size=-%d",
		busyTimeoutMs, readerPagesKiB))}
}

// conn is one pinned connection with its prepared statements. One goroutine
// at a time uses it. No SQL takes a cancellable context: the driver would start
// a goroutine for each statement, and an interrupt would tear a transaction.
type conn struct {
	raw   *sql.Conn
	base  string               // Options.BasePath
	stmts map[string]*sql.Stmt // by SQL text
}

func newSession(ctx context.Context, db *sql.DB, base string) (*conn, error) {
	raw, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, base: base, stmts: make(map[string]*sql.Stmt)}, nil
}

// renewed makes a new connection in the place of old, which ends. On an error
// old stays as it is.
func renewed(db *sql.DB, old *conn) (*conn, error) {
	fresh, err := newSession(context.Background(), db, old.base)
	if err != nil {
		return old, err
	}
	_ = old.raw.Raw(func(any) error { return driver.ErrBadConn }) // keeps it from being used again
	_ = old.close()
	return fresh, nil
}

func (s *conn) close() error {
	for _, st := range s.stmts {
		_ = st.Close() // the connection goes right after it
	}
	return s.raw.Close()
}

// hideParameters keeps statements compiled. SQLite marks one whose plan might
// depend on what is bound (an equality with a bare parameter, or a LIMIT), and
// when the driver clears the bindings after each use, it compiles a marked one
// anew: that takes longer than running it. Behind a unary plus, which changes
// nothing else, the planner does not see the parameter.
var hideParameters = strings.NewReplacer("= ?", "= +?", "LIMIT ?", "LIMIT +?")

func (s *conn) prepare(query string) (*sql.Stmt, error) {
	if st := s.stmts[query]; st != nil {
		return st, nil
	}
	st, err := s.raw.PrepareContext(context.Background(), hideParameters.Replace(query))
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	s.stmts[query] = st
	return st, nil
}

func (s *conn) exec(query string, args ...any) (sql.Result, error) {
	st, err := s.prepare(query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(context.Background(), args...)
}

// changed runs a statement and returns how many rows it changed.
func (s *conn) changed(query string, args ...any) (int64, error) {
	res, err := s.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// inserted runs an INSERT and returns the new row's id.
func (s *conn) inserted(query string, args ...any) (int64, error) {
	res, err := s.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

func (s *conn) query(query string, args ...any) (*sql.Rows, error) {
	st, err := s.prepare(query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(context.Background(), args...)
}

// row reads the first row into dest; found is false if there is none.
func (s *conn) row(query string, args []any, dest ...any) (found bool, err error) {
	err = s.each(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		return false, rows.Scan(dest...)
	})
	return found, err
}

// each calls f for every row until f returns false or an error.
func (s *conn) each(query string, args []any, f func(*sql.Rows) (more bool, err error)) error {
	rows, err := s.query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if more, err := f(rows); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}
