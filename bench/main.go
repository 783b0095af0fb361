// Command bench measures jobcast over loopback and writes down what it saw. See
// README.md for the scenarios and how to read their figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

// settings are what a run is asked for.
type settings struct {
	scenarios []scenario
	span      time.Duration // of each measured stretch
	producers []int         // of submit, append and durable, one case each
	readers   int           // of fanout
	rates     []int         // of fanout, events per second, one case each; 0: flat out
	ahead     []int         // of flat out, events in flight, one case each
	data      string        // folder for data folders
	out       string        // folder for results; empty: print only
	rest      time.Duration // of fanout: how long its readers are idle before their memory is read
	profiles  *profiles     // nil: none are taken
	binary    string        // the server, built already; empty: build it
	targets   []target      // of fanout, rooms, idle and polling
	queues    []queue       // of jobs: peers beside jobcast
	works     []string      // of peers
	rounds    int           // how often each case of peers is run, in turn
	pause     time.Duration // of peers: how long readers are idle before their memory is read
	returning int           // readers of resume

	jobs    int   // of each case of jobs
	runners []int // of jobs, two cases each

	pages      int  // jobs of browser
	parallel   int  // of them at a time
	playwright bool // takes part in browser

	merge     []string // results to be made one; nothing is measured then
	reference string   // target that is in each of them

	subscribers []int // of subscribers, one case each
	events      []int // of log, one case each, growing

	log io.Writer // what is being done; nil: nobody wants to know
}

// say tells what is being done.
func (s *settings) say(format string, args ...any) {
	if s.log != nil {
		fmt.Fprintf(s.log, "  "+format+"\n", args...)
	}
}

// Bounds of the settings. They keep a typing error from taking the machine.
const (
	maxSpan      = 2 * time.Minute
	maxProducers = 512
	maxReaders   = 15_000 // a process has a file for each
	maxRate      = 100_000
	maxStored    = 20_000_000 // events, some 6 GB
)

// parse reads the command line. Errors were printed to stderr with the usage.
func parse(args []string, stderr io.Writer) (*settings, error) {
	set := &settings{log: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.String("scenario", "submit,append,durable,latency,jobs,fanout,stalled,resume,subscribers,log", "which `scenarios` to run")
	flags.DurationVar(&set.span, "span", 10*time.Second, "how long each measured stretch lasts, at most 2m")
	producers := flags.String("producers", "1,16,128", "concurrent `producers` of submit, append and durable, one case each")
	flags.IntVar(&set.readers, "readers", 1000, "`readers` of fanout, at most 15000")
	rates := flags.String("rates", "20,100,1000,flat", "events per second of fanout, one case for each `rate`; flat: as fast as possible")
	ahead := flags.String("ahead", "32,256", "how many `events` may be ahead of the slowest reader flat out, one case each; at most 4096")
	speak := flags.String("targets", "jobcast sse,jobcast websocket,jobcast socket.io", "`servers and protocols` of fanout and peers; all: every one of these; of jobs, peers beside jobcast: bullmq always, bullmq everysec, river, river tuned, goqite; of browser: playwright")
	flags.DurationVar(&set.rest, "rest", 2*time.Second, "how long fanout's readers are idle before their memory is read, at most 2m")
	works := flags.String("works", strings.Join(allWorks, ","), "which `works` of peers to run")
	flags.IntVar(&set.rounds, "rounds", 3, "how often each case of peers is run, at most 9; the `median` counts")
	flags.DurationVar(&set.pause, "pause", idlePause, "how long the idle readers of peers rest before their memory is read, at most 2m")
	flags.IntVar(&set.returning, "returning", 5000, "readers of resume that `come back`, at most 15000")
	flags.IntVar(&set.jobs, "jobs", 20_000, "how many `jobs` each case of jobs submits, at most 100000")
	runners := flags.String("runners", "8,64", "`runners` (--concurrency) of the server in jobs, one case each, and one with batches; the first also for the rest; at most 1000")
	flags.IntVar(&set.pages, "pages", 100, "how many `jobs` of ten steps browser has, at most 10000")
	flags.IntVar(&set.parallel, "parallel", 10, "how many `jobs` of browser run at a time, at most 14")
	subscribers := flags.String("subscribers", "100,300,1000,3000,10000,15000", "`readers` of one room in subscribers, one case each")
	events := flags.String("events", "10000,100000,1000000", "`events` that the log of log holds, one case each, growing; at most 20000000")
	merge := flags.String("merge", "", "`results` (.json) of several runs to be made one, instead of measuring; needs -reference")
	flags.StringVar(&set.reference, "reference", "", "the `target` that all of -merge have, beside which the others stand")
	flags.StringVar(&set.data, "data", os.TempDir(), "`folder` for the data folders; its disk is measured too")
	flags.StringVar(&set.out, "out", "", "`folder` to write the results to; without it they are only printed")
	profile := flags.String("profile", "", "`folder` to write CPU profiles of the server to; they are also summed up")
	flags.StringVar(&set.binary, "binary", "", "the `server`, built already; without it one is built")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag; see -help", flags.Arg(0))
	}
	if *merge != "" {
		set.merge = strings.Split(*merge, ",")
	}
	if (*merge == "") != (set.reference == "") {
		return nil, errors.New("-merge and -reference go together: results of separate runs can be merged only beside a target that was measured in each")
	}
	var errs [8]error
	set.scenarios, errs[0] = scenariosOf(*names)
	set.producers, errs[1] = numbers("producers", *producers, maxProducers)
	set.rates, errs[2] = numbers("rates", *rates, maxRate)
	queues, others := splitTargets(*speak)
	if others, set.playwright = withoutPlaywright(others); others == "" && set.playwright && !slices.Contains(strings.Split(*names, ","), "browser") {
		return nil, errors.New("-targets: playwright takes part in -scenario browser, which is not asked for")
	}
	if set.queues = queues; others != "" {
		set.targets, errs[3] = targetsOf(others)
	}
	set.subscribers, errs[4] = numbers("subscribers", *subscribers, maxReaders)
	set.events, errs[5] = numbers("events", *events, maxStored)
	set.runners, errs[6] = numbers("runners", *runners, maxRunners)
	set.ahead, errs[7] = numbers("ahead", *ahead, maxDepth)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if asked := strings.Split(*names, ","); len(set.queues) > 0 && !slices.Contains(asked, "jobs") {
		return nil, fmt.Errorf("-targets: %s takes part in -scenario jobs, which is not asked for", set.queues[0].name)
	} else if len(set.targets) == 0 && slices.ContainsFunc(asked, func(name string) bool { return slices.Contains(speakers, name) }) {
		return nil, fmt.Errorf("-targets: %q has nobody for -scenario %s", *speak, *names)
	}
	set.works = strings.Split(*works, ",")
	for _, name := range set.works {
		if !slices.Contains(allWorks, name) {
			return nil, fmt.Errorf("-works: %q is none of %s", name, strings.Join(allWorks, ", "))
		}
	}
	if *profile != "" {
		set.profiles = &profiles{folder: *profile}
	}
	if err := set.check(); err != nil {
		return nil, err
	}
	return set, nil
}

// check returns what is wrong with settings that stand for themselves.
func (s *settings) check() error {
	if !slices.IsSorted(s.events) {
		return errors.New("-events must grow")
	}
	if s.span <= 0 || s.span > maxSpan {
		return fmt.Errorf("-span must be positive and at most %v", maxSpan)
	}
	if s.rest < 0 || s.rest > maxSpan {
		return fmt.Errorf("-rest must be at most %v", maxSpan)
	}
	if s.rounds < 1 || s.rounds > 9 || s.pause <= 0 || s.pause > maxSpan {
		return fmt.Errorf("-rounds must be 1 to 9, -pause positive and at most %v", maxSpan)
	}
	if s.profiles != nil && s.binary != "" {
		return errors.New("-profile builds a server of its own, so there can be no -binary")
	}
	if min(s.readers, s.returning) < 1 || max(s.readers, s.returning) > maxReaders {
		return fmt.Errorf("-readers and -returning must be 1 to %d", maxReaders)
	}
	if s.jobs < 1 || s.jobs > maxJobs {
		return fmt.Errorf("-jobs must be 1 to %d", maxJobs)
	}
	if s.pages < 1 || s.pages > maxPages || s.parallel < 1 || s.parallel > maxParallel {
		return fmt.Errorf("-pages must be 1 to %d, -parallel 1 to %d", maxPages, maxParallel)
	}
	return nil
}

func numbers(name, list string, limit int) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		if name == "rates" && strings.TrimSpace(text) == "flat" {
			out = append(out, 0)
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > limit {
			return nil, fmt.Errorf("-%s: %q is not a number from 1 to %d", name, text, limit)
		}
		out = append(out, n)
	}
	return out, nil
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	set, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if len(set.merge) > 0 {
		rep, err := mergeFiles(set.merge, set.reference, time.Now())
		if err != nil {
			return err
		}
		return errors.Join(rep.print(stdout, set.out), rep.fault())
	}
	if err := raiseFiles(mostReaders(set)); err != nil {
		return err
	}
	if set.binary == "" {
		dir, err := os.MkdirTemp("", "jobcast-bench-bin-")
		if err != nil {
			return fmt.Errorf("make folder for the server: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if set.binary, err = buildServer(ctx, dir, set.profiles != nil); err != nil {
			return err
		}
	}
	rep, err := newReport(ctx, set, args)
	if err != nil {
		return err
	}
	for _, sc := range set.scenarios {
		fmt.Fprintf(stderr, "%s …\n", sc.name)
		if set.profiles != nil {
			set.profiles.prefix = sc.name
		}
		out, err := sc.run(ctx, set)
		if err != nil {
			return fmt.Errorf("scenario %s: %w", sc.name, err)
		}
		rep.Scenarios = append(rep.Scenarios, out...)
	}
	if set.profiles != nil {
		out, err := set.profiles.sumUp(ctx)
		if err != nil {
			return err
		}
		rep.Scenarios = append(rep.Scenarios, out)
	}
	if err := rep.print(stdout, set.out); err != nil {
		return err
	}
	return rep.fault()
}

// mostReaders returns how many readers there are at a time, in what was asked for.
func mostReaders(set *settings) int {
	most := 0
	for _, sc := range set.scenarios {
		switch sc.name {
		case "fanout", "stalled":
			most = max(most, set.readers)
		case "resume":
			most = max(most, set.returning)
		case "subscribers":
			most = max(most, slices.Max(set.subscribers))
		case "peers":
			if slices.Contains(set.works, "rooms") {
				most = max(most, set.readers*roomsFactor)
			}
			if slices.Contains(set.works, "idle") {
				most = max(most, idleReaders(set))
			}
			most = max(most, set.readers)
		}
	}
	return most
}

// raiseFiles makes room for a socket for each reader, here and in the servers
// that are started, which inherit the limit.
func raiseFiles(readers int) error {
	const spare = 256 // databases, pipes, what the runtime needs
	want := uint64(readers + spare)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	if limit.Max < want {
		return fmt.Errorf("%d readers need %d open files, but the limit is %d", readers, want, limit.Max)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files: %w", err)
	}
	return nil
}
