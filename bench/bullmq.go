package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// queueTargets are the peers of jobs: BullMQ on Redis, with what Redis calls
// appendfsync.
var queueTargets = map[string]string{"bullmq always": "always", "bullmq everysec": "everysec"}

// splitTargets takes the peers of jobs out of a list of targets.
func splitTargets(list string) (queues []string, others string) {
	var rest []string
	for name := range strings.SplitSeq(list, ",") {
		if _, ok := queueTargets[name]; ok {
			queues = append(queues, name)
		} else {
			rest = append(rest, name)
		}
	}
	return queues, strings.Join(rest, ",")
}

// queueCases are the cases of jobs that BullMQ has too.
func queueCases(set *settings) (all []jobsCase) {
	for _, c := range jobsCases(set) {
		if c.remote == 0 {
			all = append(all, c)
		}
	}
	return all
}

// runQueues measures the same jobs on the peers.
func runQueues(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "jobs of peers", Title: "the same on BullMQ and Redis; always: Redis answers after an fsync; everysec: a crash loses what up to a second acknowledged"}
	for _, name := range set.queues {
		for _, c := range queueCases(set) {
			set.say("%s, %s", name, c.name)
			r, err := queueCase(ctx, set, name, c)
			if err != nil {
				return out, fmt.Errorf("%s, %s: %w", name, c.name, err)
			}
			r.Case = name + ", " + c.name
			out.Rows = append(out.Rows, r)
		}
	}
	return out, nil
}

// queueResult is what the program that submits says in the end.
type queueResult struct {
	Acknowledged, Ended  int
	TookMs, P50Ms, P99Ms float64
	Lost, Doubled        uint64
}

// queueCase starts Redis, a worker and a program that submits, each as a process.
func queueCase(ctx context.Context, set *settings, name string, c jobsCase) (r row, err error) {
	data, err := os.MkdirTemp(set.data, "jobcast-bench-")
	if err != nil {
		return r, fmt.Errorf("make data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	root, err := moduleRoot()
	if err != nil {
		return r, err
	}
	var all []*process
	defer func() {
		for i := range all { // Redis is the first to start and the last to end
			err = errors.Join(err, all[len(all)-1-i].stop())
		}
	}()
	start := func(program string, args ...string) (err error) {
		p, err := startProcess(program, args...)
		if err == nil {
			all = append(all, p)
		}
		return err
	}
	script, socket := filepath.Join(root, "bench", "peers", "bullmq.mjs"), filepath.Join(data, "redis.sock")
	if err := start("redis-server", "--port", "0", "--unixsocket", socket, "--dir", data, "--save", "",
		"--appendonly", "yes", "--appendfsync", queueTargets[name], "--loglevel", "warning", "--logfile", "redis.log"); err != nil {
		return r, err
	}
	if err := awaitFile(ctx, socket); err != nil {
		return r, err
	}
	if err := start("node", script, "work", "--redis", socket, "--concurrency", strconv.Itoa(c.runners)); err != nil {
		return r, err
	}
	if err := start("node", script, "submit", "--redis", socket, "--producers", strconv.Itoa(jobProducers),
		"--jobs", strconv.Itoa(c.jobs), "--batch", strconv.Itoa(c.batch), "--rate", strconv.Itoa(c.rate)); err != nil {
		return r, err
	}
	return measureQueue(ctx, all[:2], all[2])
}

// measureQueue lets the program that submits do so once all are ready, and takes the CPU
// time of the servers and its own.
func measureQueue(ctx context.Context, servers []*process, submitter *process) (r row, err error) {
	for _, p := range []*process{servers[1], submitter} {
		line, err := p.line(ctx)
		if err == nil && line != "ready" {
			err = fmt.Errorf("the peer said %.200q", line)
		}
		if err != nil {
			return r, err
		}
	}
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

// cpuOf returns the CPU time of processes.
func cpuOf(all ...*process) (sum time.Duration, err error) {
	for _, p := range all {
		u, err := p.usage()
		if err != nil {
			return 0, err
		}
		sum += u.cpu
	}
	return sum, nil
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

// queueVersions returns what the peers of jobs run on.
func queueVersions(ctx context.Context, queues []string) ([]version, error) {
	if len(queues) == 0 {
		return nil, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	node, of, err := nodePackages(ctx, filepath.Join(root, "bench", "peers"))
	if err != nil {
		return nil, fmt.Errorf("the peers are not there, npm ci in bench/peers installs them: %w", err)
	}
	redis, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask redis-server, which a package of that name installs, for its version: %w", err)
	}
	_, text, _ := strings.Cut(string(redis), " v=")
	text, _, _ = strings.Cut(text, " ")
	return []version{{"jobcast", commit(ctx)}, {"Node", node}, {"BullMQ", of("bullmq")}, {"ioredis", of("ioredis")}, {"Redis", text}}, nil
}
