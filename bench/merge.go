package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// source is a run that was merged with others.
type source struct {
	File    string    `json:"file"`
	Date    time.Time `json:"date"`
	Commit  string    `json:"commit"`
	Command string    `json:"command"`
	SyncMs  float64   `json:"syncMs"` // see machine
	Load    float64   `json:"load"`
}

// mergeFiles makes one report of those in files. A machine is never the same twice, so
// the targets of several runs can be told apart only by what they are beside one that
// was measured in each: the reference.
func mergeFiles(files []string, reference string, now time.Time) (*report, error) {
	runs := make([]*report, len(files))
	for i, file := range files {
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, &runs[i])
		}
		if err != nil {
			return nil, fmt.Errorf("read results %s: %w", file, err)
		}
	}
	m := &merger{files, runs, reference}
	if err := m.comparable(); err != nil {
		return nil, err
	}
	all := &report{
		Date: now.UTC().Truncate(time.Second), Commit: runs[len(runs)-1].Commit, Machine: runs[0].Machine,
		Command: fmt.Sprintf("go run ./bench -merge %s -reference %q", strings.Join(files, ","), reference),
	}
	for i, r := range runs {
		all.Merged = append(all.Merged, source{filepath.Base(files[i]), r.Date, r.Commit, r.Command, r.Machine.SyncMs, r.Machine.Load})
		for _, v := range r.Peers {
			if !slices.Contains(all.Peers, v) {
				all.Peers = append(all.Peers, v)
			}
		}
	}
	var err error
	all.Scenarios, err = m.tables()
	return all, err
}

// merger makes one of several reports.
type merger struct {
	files     []string
	runs      []*report
	reference string
}

// comparable refuses runs that no reference makes comparable: of other machines, or of
// another reference by the same name.
func (m *merger) comparable() error {
	if len(m.runs) < 2 {
		return errors.New("merge: one run alone has nothing to merge with")
	}
	first := m.runs[0]
	for i, r := range m.runs[1:] {
		a, b := first.Machine, r.Machine
		a.SyncMs, a.Load, b.SyncMs, b.Load = 0, 0, 0, 0
		if a != b {
			return fmt.Errorf("merge: %s and %s were measured on different machines", m.files[0], m.files[i+1])
		}
		if strings.HasPrefix(m.reference, "jobcast") && first.Commit != r.Commit {
			return fmt.Errorf("merge: %s is of commit %s in %s and %s in %s", m.reference, first.Commit, m.files[0], r.Commit, m.files[i+1])
		}
	}
	seen := make(map[string]string)
	for i, r := range m.runs {
		for _, v := range r.Peers {
			if old := seen[v.Name]; old != "" && old != v.Version && v.Name != "jobcast" {
				return fmt.Errorf("merge: %s is %s in %s, and %s before", v.Name, v.Version, m.files[i], old)
			}
			seen[v.Name] = v.Version
		}
	}
	return nil
}

// tables returns each table of all runs, in the order in which they come, and after one of
// several runs another with what each target is beside the reference.
func (m *merger) tables() (all []outcome, err error) {
	merged := false
	var names []string
	for _, r := range m.runs {
		for _, o := range r.Scenarios {
			if slices.Contains(names, o.Scenario) {
				continue
			}
			names = append(names, o.Scenario)
			from := m.having(o.Scenario)
			if len(from) == 1 {
				all = append(all, o)
				continue
			}
			merged = true
			figures, ratios, err := m.table(o.Scenario, from)
			if err != nil {
				return nil, err
			}
			all = append(all, figures, ratios)
		}
	}
	if !merged {
		return nil, errors.New("merge: no table is in more than one run")
	}
	return all, nil
}

// having returns the runs that have a table, by number.
func (m *merger) having(scenario string) (from []int) {
	for i, r := range m.runs {
		if r.table(scenario) != nil {
			from = append(from, i)
		}
	}
	return from
}

// table returns a table by name; nil: there is none.
func (r *report) table(scenario string) *outcome {
	for i := range r.Scenarios {
		if r.Scenarios[i].Scenario == scenario {
			return &r.Scenarios[i]
		}
	}
	return nil
}

// table merges one table of the runs from.
func (m *merger) table(scenario string, from []int) (figures, ratios outcome, err error) {
	first := m.runs[from[0]].table(scenario)
	figures = outcome{Scenario: scenario, Title: first.Title}
	ratios = outcome{Scenario: scenario + ", beside " + m.reference, Title: "the same, divided by the reference's figure of the same run"}
	seen := make(map[string]string) // by row: the run that has it
	for _, i := range from {
		o := m.runs[i].table(scenario)
		if o.Title != first.Title || !slices.Equal(o.names(), first.names()) {
			return figures, ratios, fmt.Errorf("merge: table %q is of another size, or has other figures, in %s than in %s", scenario, m.files[i], m.files[from[0]])
		}
		for _, note := range o.Notes {
			if !slices.Contains(figures.Notes, note) {
				figures.Notes = append(figures.Notes, note)
			}
		}
		for _, r := range o.Rows {
			beside := o.find(m.reference, r.part())
			if beside == nil {
				return figures, ratios, fmt.Errorf("merge: table %q has no row of %q for %q in %s: without a common reference its targets cannot stand beside those of another run",
					scenario, m.reference, r.Case, m.files[i])
			}
			own := r
			own.Case = fmt.Sprintf("%s (run %d)", r.Case, i+1)
			figures.Rows = append(figures.Rows, own)
			if r.target() == m.reference {
				continue
			}
			if other, twice := seen[r.Case]; twice {
				return figures, ratios, fmt.Errorf("merge: table %q has %q in %s and in %s: only the reference may be in both", scenario, r.Case, other, m.files[i])
			}
			seen[r.Case] = m.files[i]
			ratios.Rows = append(ratios.Rows, r.over(beside))
		}
	}
	return figures, ratios, nil
}

// names returns what the figures of a table are called.
func (o *outcome) names() (all []string) {
	if len(o.Rows) > 0 {
		for _, f := range o.Rows[0].Figures {
			all = append(all, f.Name)
		}
	}
	return all
}

// find returns the row of a target, of that part of the table; nil: there is none.
func (o *outcome) find(target, part string) *row {
	for i := range o.Rows {
		if o.Rows[i].target() == target && o.Rows[i].part() == part {
			return &o.Rows[i]
		}
	}
	return nil
}

// target returns what was measured. Results of before there was a Target have it as the
// case.
func (r *row) target() string {
	if r.Target == "" {
		return r.Case
	}
	return r.Target
}

// part returns what a case says beside its target, such as a rate.
func (r *row) part() string {
	return strings.TrimPrefix(strings.TrimPrefix(r.Case, r.target()), ", ")
}

// over divides figures that are no counts by those of another row; what that has 0 of is 0.
func (r *row) over(o *row) row {
	all := row{Case: r.Case, Target: r.Target}
	for i, f := range r.Figures {
		if f.Unit == "" {
			continue
		}
		ratio := 0.0
		if below := o.Figures[i].Value; below != 0 {
			ratio = f.Value / below
		}
		all.add(f.Name, "ratio", ratio)
	}
	return all
}
