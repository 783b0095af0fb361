package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// queue is a peer of jobs.
type queue struct {
	name string
	note string // its settings and what a crash loses; the caption says it

	// perRunner is how many jobs a second it takes at most for each runner, so that it
	// gets no more than it can do in cappedTime; 0: there is no such bound.
	perRunner int
	start     func(ctx context.Context, w *crew, c jobsCase) error
}

// cappedTime is how long a peer with a bound of its own works on what it gets.
const cappedTime = 10 * time.Second

// queues returns the peers of jobs.
func queues() []queue {
	return []queue{
		{"bullmq always", "Redis answers after an fsync (appendfsync always)", 0, startBullMQ("always")},
		{"bullmq everysec", "Redis's default: a crash loses what up to a second acknowledged", 0, startBullMQ("everysec")},
		{
			"river", "its defaults and PostgreSQL's: a commit waits for its fsync; ends are written in batches, and a crash makes jobs run again " +
				"that ended up to 250 ms before; it fetches every 100 ms at most, no more jobs than it has runners, and so gets fewer jobs",
			10, startRiver(nil, nil),
		},
		{
			"river tuned", "as durable as river; FetchCooldown 5 ms, FetchPollInterval 20 ms, 16 connections of each process; PostgreSQL with shared_buffers 1 GB, max_wal_size 8 GB",
			0, startRiver([]string{"--cooldown", "5ms", "--poll", "20ms", "--conns", "16"}, []string{"shared_buffers=1GB", "max_wal_size=8GB"}),
		},
		{
			"goqite", "SQLite with WAL and synchronous FULL: each send, receipt and deletion is a commit with its fsync; a library, so submits are calls " +
				"in the process that runs the jobs, whose CPU holds theirs and those of counting them",
			0, startGoqite,
		},
	}
}

// The caption's lines for jobcast among the peers of jobs.
const (
	ownNote      = "jobcast: submits over HTTP; every event is committed with fsync before it is told, and all are kept"
	jobsFlatters = "what flatters jobcast: each peer has one process that runs jobs, and Node one thread in it; what a peer and its database " +
		"say to each other takes CPU that one process does not need"
)

// splitTargets takes the peers of jobs out of a list of targets.
func splitTargets(list string) (picked []queue, others string) {
	var rest []string
	all := queues()
	for name := range strings.SplitSeq(list, ",") {
		if i := slices.IndexFunc(all, func(q queue) bool { return q.name == name }); i >= 0 {
			picked = append(picked, all[i])
		} else {
			rest = append(rest, name)
		}
	}
	return picked, strings.Join(rest, ",")
}

// comparison returns the table of a case that the peers have too. The first of them has
// the notes.
func comparison(set *settings, c jobsCase, first bool) outcome {
	o := outcome{Scenario: "jobs, " + c.name, Title: fmt.Sprintf("%d jobs that do nothing, submitted by %d producers", c.jobs, jobProducers)}
	if !first {
		o.Notes = []string{"settings, and what a crash loses, as above"}
		return o
	}
	o.Notes = []string{ownNote}
	for _, q := range set.queues {
		o.Notes = append(o.Notes, q.name+": "+q.note)
	}
	o.Notes = append(o.Notes, jobsFlatters)
	return o
}

// beside returns the row of jobcast for a comparison: what the peers' have too.
func (r *row) beside() row {
	figures := slices.DeleteFunc(slices.Clone(r.Figures), func(f figure) bool { return f.Name == gatheredFigure })
	return row{Case: "jobcast", Target: "jobcast", Figures: figures, Faults: r.Faults}
}

// run measures one case of a peer, over an empty folder.
func (q *queue) run(ctx context.Context, set *settings, c jobsCase) (r row, err error) {
	if q.perRunner > 0 {
		c.jobs = min(c.jobs, q.perRunner*c.runners*int(cappedTime.Seconds()))
	}
	dir, err := os.MkdirTemp(set.data, "jobcast-bench-")
	if err != nil {
		return r, fmt.Errorf("make data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := moduleRoot()
	if err != nil {
		return r, err
	}
	w := &crew{dir: dir, peers: filepath.Join(root, "bench", "peers")}
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := q.start(ctx, w, c); err != nil {
		return r, err
	}
	r, err = w.measure(ctx)
	r.Case, r.Target = q.name, q.name
	return r, err
}

// crew is the processes of a peer of jobs.
type crew struct {
	dir      string // of their data
	peers    string // folder of the peers' programs
	database *process
	programs []*process // each says that it is ready; the last one submits
}

// run starts a program of the peer.
func (w *crew) run(program string, args ...string) error {
	p, err := startProcess(program, args...)
	if err == nil {
		w.programs = append(w.programs, p)
	}
	return err
}

// stop ends the processes; the database, the first to start, is the last to end.
func (w *crew) stop() (err error) {
	for _, p := range slices.Backward(w.programs) {
		err = errors.Join(err, p.stop())
	}
	if w.database != nil {
		err = errors.Join(err, w.database.stop())
	}
	return err
}

// servers returns all processes but the one that submits, unless that is the only one.
func (w *crew) servers() []*process {
	all := w.programs
	if len(all) > 1 {
		all = all[:len(all)-1]
	}
	if w.database != nil {
		all = append([]*process{w.database}, all...)
	}
	return all
}

// plan returns the flags of a program that submits.
func (c jobsCase) plan() []string {
	return []string{
		"--producers", strconv.Itoa(jobProducers), "--jobs", strconv.Itoa(c.jobs),
		"--batch", strconv.Itoa(c.batch), "--rate", strconv.Itoa(c.rate),
	}
}

// startBullMQ returns how Redis, a worker and a program that submits start.
func startBullMQ(fsync string) func(context.Context, *crew, jobsCase) error {
	return func(ctx context.Context, w *crew, c jobsCase) (err error) {
		script, socket := filepath.Join(w.peers, "bullmq.mjs"), filepath.Join(w.dir, "redis.sock")
		w.database, err = startProcess("redis-server", "--port", "0", "--unixsocket", socket, "--dir", w.dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", fsync, "--loglevel", "warning", "--logfile", "redis.log")
		if err != nil {
			return err
		}
		if err := awaitFile(ctx, socket); err != nil {
			return err
		}
		if err := w.run("node", script, "work", "--redis", socket, "--concurrency", strconv.Itoa(c.runners)); err != nil {
			return err
		}
		return w.run("node", append([]string{script, "submit", "--redis", socket}, c.plan()...)...)
	}
}

// startRiver returns how PostgreSQL, a worker and a program that submits start, with
// settings of River and of PostgreSQL beside the defaults.
func startRiver(flags, postgres []string) func(context.Context, *crew, jobsCase) error {
	return func(ctx context.Context, w *crew, c jobsCase) (err error) {
		if w.database, err = startPostgres(ctx, w.dir, postgres...); err != nil {
			return err
		}
		program := filepath.Join(w.peers, "queues", "bin", "river")
		shared := append([]string{"--database", "host=" + w.dir + " user=" + postgresRole + " dbname=postgres", "--tell", filepath.Join(w.dir, "tell.sock")}, flags...)
		if err := w.run(program, append([]string{"work", "--runners", strconv.Itoa(c.runners)}, shared...)...); err != nil {
			return err
		}
		return w.run(program, slices.Concat([]string{"submit"}, shared, c.plan())...)
	}
}

func startGoqite(_ context.Context, w *crew, c jobsCase) error {
	return w.run(filepath.Join(w.peers, "queues", "bin", "goqite"),
		append([]string{"--data", w.dir, "--runners", strconv.Itoa(c.runners)}, c.plan()...)...)
}

const (
	postgresRole = "bench"
	postgresUser = "postgres" // of the system, whom Debian's package makes
)

// startPostgres starts PostgreSQL over a new cluster in dir, where its socket is too.
func startPostgres(ctx context.Context, dir string, settings ...string) (*process, error) {
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return nil, err
	}
	server, err := postgresProgram("postgres")
	if err != nil {
		return nil, err
	}
	as, err := asPostgres(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	args := slices.Concat(as, []string{
		initdb, "--pgdata", data, "--auth", "trust", "--username", postgresRole,
		"--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
	})
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil { //nolint:gosec // our own arguments
		return nil, fmt.Errorf("make a cluster of PostgreSQL: %w: %s", err, out)
	}
	args = slices.Concat(as, []string{server, "-D", data, "-k", dir, "-c", "listen_addresses="})
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	p, err := startProcess(args[0], args[1:]...)
	if err != nil {
		return nil, err
	}
	if err := awaitFile(ctx, filepath.Join(dir, ".s.PGSQL.5432")); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// postgresProgram finds a program of PostgreSQL, which Debian keeps off the path.
func postgresProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is sound
	if len(found) == 0 {
		return "", fmt.Errorf("find %s: %w; Debian's package postgresql has it", name, exec.ErrNotFound)
	}
	return found[len(found)-1], nil
}

// asPostgres returns what to put before a command of PostgreSQL, which root must not run,
// and gives it dir.
func asPostgres(dir string) ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(postgresUser)
	if err != nil {
		return nil, fmt.Errorf("find who runs PostgreSQL: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("find who runs PostgreSQL: %w", err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, fmt.Errorf("hand over data folder: %w", err)
	}
	return []string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups"}, nil
}

// queueResult is what the program that submits says in the end.
type queueResult struct {
	Acknowledged, Ended  int
	TookMs, P50Ms, P99Ms float64
	Lost, Doubled        uint64
}

// measure lets the program that submits do so once all are ready, and takes the CPU time
// of the servers and its own.
func (w *crew) measure(ctx context.Context) (r row, err error) {
	for _, p := range w.programs {
		line, err := p.line(ctx)
		if err == nil && line != "ready" {
			err = fmt.Errorf("the peer said %.200q", line)
		}
		if err != nil {
			return r, err
		}
	}
	servers, submitter := w.servers(), w.programs[len(w.programs)-1]
	before, err1 := cpuOf(servers...)
	own, err2 := cpuOf(submitter)
	if err := errors.Join(err1, err2); err != nil {
		return r, err
	}
	if _, err := submitter.stdin.Write([]byte("go\n")); err != nil {
		return r, fmt.Errorf("begin: %w", err)
	}
	line, err := submitter.lineWithin(ctx, maxSpan+catchUpTime)
	if err != nil {
		return r, err
	}
	after, err1 := cpuOf(servers...)
	ownAfter, err2 := cpuOf(submitter)
	var got queueResult
	if err := errors.Join(err1, err2, json.Unmarshal([]byte(line), &got)); err != nil {
		return r, fmt.Errorf("what the peer said: %w", err)
	}
	if len(w.programs) == 1 {
		own = ownAfter // counted as the server's
	}
	took := time.Duration(got.TookMs * float64(time.Millisecond))
	r.add("jobs", "1/s", perSecond(float64(got.Ended), took))
	r.cost("server CPU per job", after-before, float64(got.Ended))
	r.add("ended p50", "ms", got.P50Ms)
	r.add("ended p99", "ms", got.P99Ms)
	r.add("generator", "cores", perSecond((ownAfter-own).Seconds(), took))
	r.add("acknowledged", "", float64(got.Acknowledged))
	r.zero("lost", got.Lost)
	r.zero("doubled", got.Doubled)
	return r, nil
}

// cpuOf returns the CPU time of processes and of all that they started.
func cpuOf(all ...*process) (time.Duration, error) {
	pids := make([]int, len(all))
	for i, p := range all {
		pids[i] = p.cmd.Process.Pid
	}
	return treeCPU(pids...)
}

// awaitFile returns when there is a file, here the socket of a server that has started.
func awaitFile(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", path, ctx.Err())
		}
	}
}
