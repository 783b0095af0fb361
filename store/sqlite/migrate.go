package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	serveLockFile   = "lock"         // held while serving
	migrateLockFile = "migrate.lock" // held while a schema is made or changed
	lockPoll        = 20 * time.Millisecond

	// applicationID marks a database as ours in SQLite's file header: "JCST".
	applicationID = 0x4a435354
)

// prepare makes the folder, takes the serve lock if asked to, and brings the
// schema up to date. Processes that start together do that one after another.
func prepare(ctx context.Context, dir string, opts Options) (lock *flock.Flock, err error) {
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	if err := usable(dir); err != nil {
		return nil, err
	}
	if opts.Serving {
		lock = flock.New(filepath.Join(dir, serveLockFile), flock.SetPermissions(fileMode))
		ok, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if !ok {
			return nil, ErrLocked
		}
	}
	schema := flock.New(filepath.Join(dir, migrateLockFile), flock.SetPermissions(fileMode))
	if _, err := schema.TryLockContext(ctx, lockPoll); err != nil {
		return lock, fmt.Errorf("wait for a migration: %w", err)
	}
	if err := migrate(ctx, dir); err != nil {
		return lock, errors.Join(err, schema.Close())
	}
	return lock, errors.Join(narrow(dir, opts.Logger), schema.Close())
}

// migrate checks that the database is ours and applies the missing migrations.
func migrate(ctx context.Context, dir string) (err error) {
	db := sql.OpenDB(writerConnector(dir, busyTimeoutMs))
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := checkOwner(ctx, db); err != nil {
		return fmt.Errorf("%s: %w", databaseFile, err)
	}
	p, err := migrator(db)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%s has schema version %d, and this program knows only up to %d: %w",
			databaseFile, current, target, errNewer)
	}
	if current == target {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

// migrator gives goose each file as one migration in a transaction of its own. SQLite
// itself tells the statements of a file apart: goose's parser takes four megabytes for that,
// and longer than all statements together.
func migrator(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]*goose.Migration, len(files))
	for i, file := range files {
		version, err := goose.NumericComponent(path.Base(file))
		if err != nil {
			return nil, err
		}
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		steps[i] = goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, string(text))
			return err
		}}, nil)
	}
	return goose.NewProvider(goose.DialectSQLite3, db, nil, goose.WithGoMigrations(steps...),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
}

// checkOwner refuses a database that another program made, and marks a new one.
func checkOwner(ctx context.Context, db *sql.DB) error {
	var tables, id int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id == applicationID {
		return nil
	}
	if tables > 0 || id != 0 {
		return errForeign
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	return err
}
