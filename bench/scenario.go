package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// scenario is one kind of measurement.
type scenario struct {
	name string
	run  func(context.Context, *settings) ([]outcome, error)
}

// speakers are the scenarios in which the targets of -targets take part, but for the
// peers of jobs.
var speakers = []string{"fanout", "resume", "subscribers", "peers"}

// one makes a scenario of a run with one table.
func one(name string, run func(context.Context, *settings) (outcome, error)) scenario {
	return scenario{name, func(ctx context.Context, set *settings) ([]outcome, error) {
		out, err := run(ctx, set)
		return []outcome{out}, err
	}}
}

// scenariosOf picks scenarios by name, in the order in which they are listed here.
func scenariosOf(list string) ([]scenario, error) {
	all := []scenario{
		one("submit", runSubmit), one("append", runAppend), one("durable", runDurable), one("latency", runLatency), {"jobs", runJobs},
		one("fanout", runFanout), one("stalled", runStalled), one("resume", runResume),
		one("subscribers", runSubscribers), one("log", runLog), one("browser", runBrowser), {"peers", runPeers},
	}
	asked := strings.Split(list, ",")
	var picked []scenario
	var names []string
	for _, sc := range all {
		names = append(names, sc.name)
		if slices.Contains(asked, sc.name) {
			picked = append(picked, sc)
		}
	}
	if len(picked) != len(asked) {
		return nil, fmt.Errorf("-scenario: %q is not made of %s", list, strings.Join(names, ", "))
	}
	return picked, nil
}

// outcome is what a scenario measured: one table.
type outcome struct {
	Scenario string   `json:"scenario"`
	Title    string   `json:"title"`
	Notes    []string `json:"notes,omitempty"` // of the caption
	Rows     []row    `json:"rows"`
}

// row is one case of a scenario. All rows of a table have the same figures.
type row struct {
	Case    string   `json:"case"`
	Target  string   `json:"target,omitempty"` // that was measured, where the table has several
	Series  string   `json:"series,omitempty"` // of a curve: which one
	X       float64  `json:"x,omitempty"`      // and where on it
	Figures []figure `json:"figures"`
	Faults  []string `json:"faults,omitempty"` // promises that did not hold; empty as it should be
}

// figure is one number, in Unit: "1/s", "ms", "us", "KB" (1,000 bytes), "cores"
// or "" for a count.
type figure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit,omitempty"`
	Value float64 `json:"value"`
}

func (r *row) add(name, unit string, value float64) {
	r.Figures = append(r.Figures, figure{name, unit, value})
}

// zero adds a count that must be 0.
func (r *row) zero(name string, n uint64) {
	r.add(name, "", float64(n))
	if n != 0 {
		r.Faults = append(r.Faults, fmt.Sprintf("%s: %d", name, n))
	}
}

// times adds the median and the 99th percentile of h in ms.
func (r *row) times(name string, h *histogram) {
	r.add(name+" p50", "ms", millis(h.quantile(0.5)))
	r.add(name+" p99", "ms", millis(h.quantile(0.99)))
}

// cost adds CPU time per piece of work, in microseconds.
func (r *row) cost(name string, cpu time.Duration, n float64) {
	if n > 0 {
		r.add(name, "us", float64(cpu.Nanoseconds())/1e3/n)
	} else {
		r.add(name, "us", 0)
	}
}

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
