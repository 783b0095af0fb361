// Command goqite submits jobs to goqite on SQLite and runs them, in one process, as a
// peer of jobcast. ../../README.md tells how.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"maragu.dev/goqite"

	"github.com/jobcast/jobcast/bench/peers/queues/load"
)

// options are those of goqite's documentation; synchronous stays FULL, SQLite's default.
const options = "?_journal=WAL&_timeout=5000&_fk=true"

// pause is how long the runners wait before they ask again, when there was no message.
const pause = time.Millisecond

var body = []byte(`{"n":1}`)

// schemaFile is goqite's own, which lies beside this program.
const schemaFile = "schema_sqlite.sql"

func main() {
	var plan load.Plan
	data := flag.String("data", "", "folder of the database")
	runners := flag.Int("runners", 8, "jobs that run at once")
	plan.Flags(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *data, *runners, &plan); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, data string, runners int, plan *load.Plan) error {
	db, err := sql.Open("sqlite3", filepath.Join(data, "goqite.db")+options)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	if err := makeTables(ctx, db); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	q := goqite.New(goqite.NewOpts{DB: db, Name: "bench"})
	tally := load.NewTally()
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		err := work(ctx, q, runners, tally)
		cancel(err)
		failed <- err
	}()
	err = plan.Run(ctx, func(ctx context.Context, n int) ([]string, error) { return send(ctx, db, q, n) }, tally)
	if err != nil {
		cancel(err)
	}
	<-ctx.Done() // SIGTERM, or what failed
	return <-failed
}

func makeTables(ctx context.Context, db *sql.DB) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(filepath.Join(filepath.Dir(program), schemaFile))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, string(schema))
	return err
}

// send sends n messages in one transaction.
func send(ctx context.Context, db *sql.DB, q *goqite.Queue, n int) (ids []string, err error) {
	if n == 1 {
		id, err := q.SendAndGetID(ctx, goqite.Message{Body: body})
		return []string{string(id)}, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing, after the commit
	for range n {
		id, err := q.SendAndGetIDTx(ctx, tx, goqite.Message{Body: body})
		if err != nil {
			return nil, err
		}
		ids = append(ids, string(id))
	}
	return ids, tx.Commit()
}

// work receives messages and runs each, so many at once, until ctx ends. A job ends when
// its message is deleted.
func work(ctx context.Context, q *goqite.Queue, runners int, tally *load.Tally) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, runners)
	for ctx.Err() == nil {
		free <- struct{}{}
		m, err := q.Receive(ctx)
		if err != nil {
			cancel(fmt.Errorf("receive: %w", err))
			break
		}
		if m == nil {
			<-free
			time.Sleep(pause)
			continue
		}
		go func() {
			defer func() { <-free }()
			tally.Told(string(m.ID), load.Begun)
			if err := q.Delete(ctx, m.ID); err != nil {
				cancel(fmt.Errorf("delete: %w", err))
				return
			}
			tally.Told(string(m.ID), load.Ended)
		}()
	}
	return context.Cause(ctx)
}
