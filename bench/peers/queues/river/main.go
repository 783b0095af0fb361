// Command river runs jobs on River and PostgreSQL, or submits them, as a peer of
// jobcast. ../../README.md tells how.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/jobcast/jobcast/bench/peers/queues/load"
)

// told is how many ends River keeps for who is told of them; beyond that it drops some.
const told = 200_000

type settings struct {
	database string
	tell     string
	runners  int
	conns    int           // 0: pgxpool's default
	cooldown time.Duration // 0: River's default; also of poll
	poll     time.Duration
	plan     load.Plan
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("work or submit?")
	}
	var set settings
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&set.database, "database", "", "how to connect to PostgreSQL")
	flags.StringVar(&set.tell, "tell", "", "unix socket over which the worker tells what jobs do")
	flags.IntVar(&set.runners, "runners", 8, "jobs that run at once (MaxWorkers)")
	flags.IntVar(&set.conns, "conns", 0, "connections to PostgreSQL; 0: as many as is usual")
	flags.DurationVar(&set.cooldown, "cooldown", 0, "the least time between two fetches of jobs (FetchCooldown); 0: River's default")
	flags.DurationVar(&set.poll, "poll", 0, "how often jobs are looked for (FetchPollInterval); 0: River's default")
	set.plan.Flags(flags)
	_ = flags.Parse(os.Args[2:]) // ends the program if it fails
	roles := map[string]func(context.Context, *settings, *pgxpool.Pool) error{"work": work, "submit": submit}
	role := roles[os.Args[1]]
	if role == nil {
		log.Fatalf("%q is neither work nor submit", os.Args[1])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := run(ctx, &set, role)
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, set *settings, role func(context.Context, *settings, *pgxpool.Pool) error) error {
	pool, err := connect(ctx, set)
	if err != nil {
		return err
	}
	defer pool.Close()
	return role(ctx, set, pool)
}

// connect waits until PostgreSQL, which may be starting, answers.
func connect(ctx context.Context, set *settings) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(set.database)
	if err != nil {
		return nil, fmt.Errorf("read how to connect: %w", err)
	}
	if set.conns > 0 {
		config.MaxConns = int32(min(set.conns, 1000))
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for err = pool.Ping(ctx); err != nil; err = pool.Ping(ctx) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			pool.Close()
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	return pool, nil
}

// config is what worker and submitter share.
func (set *settings) config() *river.Config {
	return &river.Config{
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		FetchCooldown: set.cooldown, FetchPollInterval: set.poll,
	}
}

// args are a job that does nothing.
type args struct {
	N int `json:"n"`
}

// Kind implements river.JobArgs.
func (args) Kind() string { return "bench" }

// worker tells that a job has begun, and does nothing more.
type worker struct {
	river.WorkerDefaults[args]
	tell *load.Teller
}

// Work implements river.Worker.
func (w *worker) Work(_ context.Context, job *river.Job[args]) error {
	w.tell.Told(id(job.ID), load.Begun)
	return nil
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

// work runs jobs until SIGTERM.
func work(ctx context.Context, set *settings, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	tell, err := load.NewTeller(ctx, set.tell)
	if err != nil {
		return err
	}
	config := set.config()
	config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: set.runners}}
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, &worker{tell: tell})
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	events, cancel := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: told, Kinds: []river.EventKind{
		river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobCancelled, river.EventKindJobSnoozed,
	}})
	defer cancel()
	go func() {
		for e := range events {
			step := load.Failed
			if e.Kind == river.EventKindJobCompleted {
				step = load.Ended
			}
			tell.Told(id(e.Job.ID), step)
		}
	}()
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	fmt.Println("ready")
	<-ctx.Done()
	ending, cancelEnding := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelEnding()
	return client.StopAndCancel(ending)
}

// submit submits jobs and tells what came of them.
func submit(ctx context.Context, set *settings, pool *pgxpool.Pool) error {
	tally := load.NewTally()
	if err := load.Listen(ctx, set.tell, tally); err != nil {
		return err
	}
	client, err := river.NewClient(riverpgxv5.New(pool), set.config())
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return set.plan.Run(ctx, func(ctx context.Context, n int) ([]string, error) {
		if n == 1 {
			made, err := client.Insert(ctx, args{N: 1}, nil)
			if err != nil {
				return nil, err
			}
			return []string{id(made.Job.ID)}, nil
		}
		params := make([]river.InsertManyParams, n)
		for i := range params {
			params[i].Args = args{N: 1}
		}
		made, err := client.InsertMany(ctx, params)
		ids := make([]string, len(made))
		for i, m := range made {
			ids[i] = id(m.Job.ID)
		}
		return ids, err
	}, tally)
}
