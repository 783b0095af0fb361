package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios runs each scenario, small, against real servers.
func TestScenarios(t *testing.T) {
	dir := t.TempDir()
	binary, err := buildServer(t.Context(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	jobcast, err := targetsOf("jobcast sse,jobcast websocket,jobcast socket.io,jobcast socket.io polling")
	if err != nil {
		t.Fatal(err)
	}
	set := &settings{
		span: 200 * time.Millisecond, producers: []int{3}, readers: 8, rates: []int{50}, ahead: []int{32},
		data: dir, binary: binary, targets: jobcast, works: allWorks, rounds: 1, pause: time.Second, returning: 9,
		jobs: 120, runners: []int{8}, pages: 4, parallel: 2, subscribers: []int{4, 9}, events: []int{1000, 2000},
	}
	names := "submit,append,durable,latency,jobs,fanout,stalled,resume,subscribers,log,peers"
	if os.Geteuid() == 0 { // else the memory of what stands in a sandbox cannot be read
		names += ",browser"
	}
	if set.scenarios, err = scenariosOf(names); err != nil {
		t.Fatal(err)
	}
	rep, err := newReport(t.Context(), set, []string{"-small"})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make([][]outcome, len(set.scenarios))
	t.Run("run", func(t *testing.T) {
		for i, sc := range set.scenarios {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				out, err := sc.run(t.Context(), set)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range out {
					checkFigures(t, o)
				}
				outcomes[i] = out
			})
		}
	})
	rep.Scenarios = slices.Concat(outcomes...)
	checkProfiles(t, *set)
	if err := rep.fault(); err != nil {
		t.Error(err)
	}
	results := t.TempDir()
	if err := rep.print(io.Discard, results); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(results)
	if err != nil || len(files) != 3 {
		t.Errorf("results: %v, %v", files, err)
	}
}

// checkProfiles wants a profile of each case, whose parts make a whole.
func checkProfiles(t *testing.T, set settings) {
	t.Helper()
	set.profiles = &profiles{folder: t.TempDir(), prefix: "durable"}
	cases, err1 := runDurable(t.Context(), &set)
	out, err2 := set.profiles.sumUp(t.Context())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if len(out.Rows) != len(cases.Rows) {
		t.Errorf("%d profiles of %d cases", len(out.Rows), len(cases.Rows))
	}
	for _, r := range out.Rows {
		sum := 0.0
		for _, f := range r.Figures {
			sum += f.Value
		}
		if sum != 0 && (sum < 99 || sum > 101) { // 0: too short for one sample
			t.Errorf("%s: %v %%", r.Case, sum)
		}
	}
}

// checkFigures wants a whole table in which something was done.
func checkFigures(t *testing.T, out outcome) {
	t.Helper()
	if len(out.Rows) == 0 {
		t.Errorf("%s: no rows", out.Scenario)
	}
	for _, r := range out.Rows {
		if len(r.Figures) != len(out.Rows[0].Figures) {
			t.Errorf("%s, %s: %d figures", out.Scenario, r.Case, len(r.Figures))
		}
		for _, f := range r.Figures {
			t.Logf("%s, %s: %s %s %s", out.Scenario, r.Case, f.Name, short(f.Value), f.Unit)
			if strings.Contains(f.Unit, "/s") && f.Value <= 0 {
				t.Errorf("%s, %s: %s is %v", out.Scenario, r.Case, f.Name, f.Value)
			}
			if strings.HasSuffix(f.Name, "p99") && f.Value <= 0 {
				t.Errorf("%s, %s: %s is %v", out.Scenario, r.Case, f.Name, f.Value)
			}
		}
	}
}

// A comparison says what it compared; a run of jobcast alone needs no peers.
func TestVersions(t *testing.T) {
	if all, err := versionsOf(t.Context(), targets()[:3], nil); err != nil || all != nil {
		t.Errorf("jobcast alone: %v, %v", all, err)
	}
	rep := &report{Peers: []version{{"socket.io", "4.8.4"}, {"Node", "v20.1.0"}}}
	if text := rep.markdown(); !strings.Contains(text, "| versions | socket.io 4.8.4, Node v20.1.0 |") {
		t.Errorf("page:\n%s", text)
	}
	for _, p := range slices.Concat(targets(), targetsOfQueues(), []target{{name: playwright}}) {
		all, err := versionsOf(t.Context(), []target{p}, nil)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			if !strings.Contains(err.Error(), "bench-peers") && !strings.Contains(err.Error(), "bench/peers") { // it is not installed
				t.Errorf("%s: it does not say what to do: %v", p.name, err)
			}
			continue
		}
		if err != nil || len(all) < 2 && !strings.HasPrefix(p.name, "jobcast") {
			t.Errorf("%s: %v, %v", p.name, all, err)
		}
		for _, v := range all {
			if v.Version == "" {
				t.Errorf("%s: %s has no version", p.name, v.Name)
			}
		}
	}
}

// targetsOfQueues returns the names of the peers of jobs.
func targetsOfQueues() (all []target) {
	for _, q := range queues() {
		all = append(all, target{name: q.name})
	}
	return all
}

// Each series is a line, from the left to the right over a logarithm.
func TestCurves(t *testing.T) {
	table := outcome{Scenario: "subscribers"}
	for i, cost := range []float64{10, 5, 20} {
		for _, series := range []string{"jobcast sse", "jobcast <b>"} {
			r := row{Series: series, X: []float64{100, 1000, 10000}[i]}
			r.add("server CPU per delivery", "us", cost)
			table.Rows = append(table.Rows, r)
		}
	}
	svg := plot([]outcome{table})
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Errorf("%v:\n%s", err, svg)
	}
	if n := strings.Count(svg, `points="60.0,119.0 315.0,156.5 570.0,44.0"`); n != 2 || !strings.Contains(svg, "jobcast &lt;b&gt;") {
		t.Errorf("%d lines as expected:\n%s", n, svg)
	}
}

// What pprof prints is read as it is meant.
func TestWhere(t *testing.T) {
	spent, all := where(`File: jobcast
Type: cpu
-----------+-------------------------------------------------------
      10ms   internal/runtime/syscall.Syscall6
             golang.org/x/sys/unix.Write (inline)
             github.com/jobcast/jobcast/transport/wire.(*Conn).send
-----------+-------------------------------------------------------
      1.5s   runtime.gcAssistAlloc
             github.com/jobcast/jobcast/store/sqlite.(*committer).loop
-----------+-------------------------------------------------------
     500us   main.main
`)
	want := make([]time.Duration, len(groups)+1)
	want[3], want[0], want[len(groups)] = 10*time.Millisecond, 1500*time.Millisecond, 500*time.Microsecond
	if !slices.Equal(spent, want) || all != 1510500*time.Microsecond {
		t.Errorf("%v, %v, want %v", spent, all, want)
	}
}

// A broken promise must reach the exit code and the page.
func TestFaultIsTold(t *testing.T) {
	r := row{Case: "3 producers"}
	r.zero("doubled", 0)
	r.zero("lost", 2)
	rep := &report{Scenarios: []outcome{{Scenario: "submit", Title: "jobs", Rows: []row{r}}}}
	err := rep.fault()
	if err == nil || err.Error() != "submit, 3 producers: lost: 2" {
		t.Errorf("fault: %v", err)
	}
	if text := rep.markdown(); !strings.Contains(text, "| 3 producers | 0 | 2 |") || !strings.Contains(text, "lost: 2") {
		t.Errorf("page:\n%s", text)
	}
}

func TestCrowd(t *testing.T) {
	calls := make([]int, 4)
	l, err := crowd{4, time.Minute, 100}.run(t.Context(), func(_ context.Context, w int) error {
		calls[w]++
		return nil
	})
	if sum := calls[0] + calls[1] + calls[2] + calls[3]; err != nil || sum != 100 || l.steps != 100 || l.latency.total != 100 {
		t.Errorf("%d calls, %+v, %v", sum, l.steps, err)
	}
	broken := errors.New("broken")
	_, err = crowd{4, time.Minute, 1 << 30}.run(t.Context(), func(context.Context, int) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error: %v", err)
	}
}

func TestParse(t *testing.T) {
	set, err := parse([]string{"-scenario", "fanout,submit", "-rates", "5, 50", "-readers", "7"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.scenarios) != 2 || set.scenarios[0].name != "submit" || set.readers != 7 || set.rates[1] != 50 || set.span != 10*time.Second {
		t.Errorf("settings: %+v", set)
	}
	for _, args := range []string{
		"-scenario none", "-scenario submit,submit", "-ahead 0", "-ahead 4097", "-rates 0", "-rates 100001", "-producers x", "-producers 513",
		"-pages 0", "-parallel 15", "-scenario jobs -targets playwright", "-readers 0", "-readers 15001", "-returning 0", "-jobs 0", "-jobs 100001", "-runners 0", "-runners 8,1001", "-runners x", "-subscribers 15001", "-events 2000,1000", "-profile x -binary y", "-works none", "-span 3m", "-span 0s", "stray",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
}

// Peers of jobs are compared with jobs, and the others with the rest.
func TestTargets(t *testing.T) {
	set, err := parse([]string{"-scenario", "jobs", "-targets", "bullmq always,bullmq everysec"}, io.Discard)
	if err != nil || len(set.targets) != 0 || len(set.queues) != 2 || set.queues[1].name != "bullmq everysec" {
		t.Errorf("settings: %+v, %v", set, err)
	}
	set, err = parse([]string{"-scenario", "jobs,peers", "-targets", "jobcast sse,centrifuge,river tuned"}, io.Discard)
	if err != nil || len(set.targets) != 2 || len(set.queues) != 1 {
		t.Errorf("settings: %+v, %v", set, err)
	}
	set, err = parse([]string{"-scenario", "browser", "-targets", "playwright"}, io.Discard)
	if err != nil || len(set.targets) != 0 || !set.playwright {
		t.Errorf("settings: %+v, %v", set, err)
	}
	for scenario, targets := range map[string]string{
		"fanout": "jobcast sse,bullmq always", "jobs,fanout": "bullmq always", "jobs": "bullmq always,bullmq never",
	} {
		if _, err := parse([]string{"-scenario", scenario, "-targets", targets}, io.Discard); err == nil {
			t.Errorf("-scenario %s -targets %s was accepted", scenario, targets)
		}
	}
}

func TestMostReaders(t *testing.T) {
	for args, want := range map[string]int{
		"-scenario submit":                    0,
		"-scenario fanout -readers 15000":     15_000,
		"-scenario submit,resume":             5000,
		"-scenario subscribers":               15_000,
		"-scenario peers":                     10_000,
		"-scenario peers -works fanout,rooms": 2000,
		"-scenario peers -works polling":      1000,
	} {
		set, err := parse(strings.Fields(args), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got := mostReaders(set); got != want {
			t.Errorf("%s: %d readers at a time, want %d", args, got, want)
		}
	}
}

func TestParseUsage(t *testing.T) {
	stat := []byte("4242 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 7 3 20 0 9 0 77 1 2")
	u, err := parseUsage(stat, []byte("900 300 10 1 0 5 0"))
	if err != nil || u.cpu != 2*time.Second || u.rss != 300*int64(os.Getpagesize()) {
		t.Errorf("usage: %+v, %v", u, err)
	}
	if u.ended != 100*time.Millisecond || u.parent != 1 {
		t.Errorf("usage: %+v", u)
	}
	if _, err := parseUsage([]byte("4242 (a)"), nil); err == nil {
		t.Error("accepted what is not there")
	}
}

// The CPU time of a database is that of the processes it started.
func TestTreeCPU(t *testing.T) {
	p, err := startProcess("sh", "-c", `trap '' TERM; sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo ready; read x'; true`)
	if err != nil {
		t.Fatal(err)
	}
	line, err := p.line(t.Context())
	if err != nil || line != "ready" {
		t.Errorf("%q, %v", line, err)
	}
	own, err1 := p.usage()
	all, err2 := cpuOf(p)
	if err := errors.Join(err1, err2); err != nil || all <= own.cpu {
		t.Errorf("%v of the process, %v of all that it started, %v", own.cpu, all, err)
	}
	if err := errors.Join(p.stdin.Close(), p.stop()); err != nil {
		t.Error(err)
	}
	if _, err := cpuOf(p); err == nil {
		t.Error("a process that is gone has taken CPU time")
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.12345: "0.123", 12.345: "12.3", 99.96: "100", 1234.5: "1,234", 1e6: "1,000,000", -4321: "-4,321"} {
		if got := short(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
