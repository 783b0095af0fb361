package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Runs are merged where all have the reference, as they were measured and beside it; they
// are refused where the reference cannot make them comparable.
func TestMerge(t *testing.T) {
	aRow := func(name, target string, rate float64) row {
		r := row{Case: name, Target: target}
		r.add("deliveries", "1/s", rate)
		r.zero("lost", 0)
		return r
	}
	run := func(rows ...row) *report {
		return &report{Commit: "abc", Machine: machine{CPU: "x", Load: float64(len(rows))}, Peers: []version{{"centrifuge", "v1"}},
			Scenarios: []outcome{{Scenario: "fanout", Title: "one room", Rows: rows}}}
	}
	ours := run(aRow("jobcast sse, 20 events/s", "jobcast sse", 100), aRow("centrifuge, 20 events/s", "centrifuge", 50))
	theirs := run(aRow("jobcast sse, 20 events/s", "jobcast sse", 80), aRow("bun, 20 events/s", "bun", 20))
	merge := func(reference string, runs ...*report) (*report, error) {
		dir := t.TempDir()
		var files []string
		for i, r := range runs {
			raw, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, filepath.Join(dir, string(rune('a'+i))+".json"))
			if err := os.WriteFile(files[i], raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		set, err := parse([]string{"-merge", strings.Join(files, ","), "-reference", reference}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return mergeFiles(set.merge, set.reference, ours.Date)
	}
	rep, err := merge("jobcast sse", ours, theirs)
	if err != nil {
		t.Fatal(err)
	}
	text := rep.markdown()
	for _, line := range []string{
		"| run 2 | b.json of", "| jobcast sse, 20 events/s (run 1) | 100 | 0 |", "| jobcast sse, 20 events/s (run 2) | 80 | 0 |", "| bun, 20 events/s (run 2) | 20 | 0 |",
		"## fanout, beside jobcast sse:", "| centrifuge, 20 events/s | 0.5 |", "| bun, 20 events/s | 0.25 |",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("there is no %q in:\n%s", line, text)
		}
	}

	change := func(f func(*report)) *report {
		r := run(theirs.Scenarios[0].Rows...)
		f(r)
		return r
	}
	for says, other := range map[string]*report{
		`no row of "jobcast sse" for "bun, 20 events/s"`:  run(aRow("bun, 20 events/s", "bun", 20)),
		`no row of "jobcast sse" for "bun, 100 events/s"`: run(aRow("jobcast sse, 20 events/s", "jobcast sse", 80), aRow("bun, 100 events/s", "bun", 20)),
		"only the reference may be in both":               run(ours.Scenarios[0].Rows...),
		"different machines":                              change(func(r *report) { r.Machine.Cores = 4 }),
		"of commit abc in":                                change(func(r *report) { r.Commit = "def" }),
		"centrifuge is v2":                                change(func(r *report) { r.Peers = []version{{"centrifuge", "v2"}} }),
		"of another size":                                 change(func(r *report) { r.Scenarios[0].Title = "two rooms" }),
		"no table is in more than one run":                change(func(r *report) { r.Scenarios[0].Scenario = "rooms" }),
	} {
		if _, err := merge("jobcast sse", ours, other); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want one that says %q", err, says)
		}
	}
	if _, err := merge("jobcast sse", ours); err == nil {
		t.Error("one run was merged with nothing")
	}
	for _, args := range []string{"-merge a.json,b.json", "-reference bun"} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), "go together") {
			t.Errorf("%s: %v", args, err)
		}
	}
}
