package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is a whole run.
type report struct {
	Date      time.Time `json:"date"`
	Commit    string    `json:"commit"`
	Command   string    `json:"command"`
	Machine   machine   `json:"machine"`
	Peers     []version `json:"peers,omitempty"`  // what is compared, if servers are
	Merged    []source  `json:"merged,omitempty"` // the runs of which this is made, if it is
	Scenarios []outcome `json:"scenarios"`
}

// newReport notes what is known before the run.
func newReport(ctx context.Context, set *settings, args []string) (*report, error) {
	m, err1 := thisMachine(ctx, set.data)
	peers, err2 := versionsOf(ctx, set.taking(), set.queues)
	return &report{
		Date: time.Now().UTC().Truncate(time.Second), Commit: commit(ctx), Machine: m, Peers: peers,
		Command: strings.Join(append([]string{"go run ./bench"}, args...), " "),
	}, errors.Join(err1, err2)
}

// print writes the report as Markdown to w and, unless folder is empty, as
// <date>-<commit>.md and .json into folder, with a plot (.svg) of comparisons and of
// curves; a run with peers has -peers in its name, or -jobs-peers or
// -browser-peers if it is of those alone; runs that were merged have -merged. A run of the same day and commit replaces the one before.
func (r *report) print(w io.Writer, folder string) error {
	text := r.markdown()
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("print results: %w", err)
	}
	if folder == "" {
		return nil
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("make folder of results: %w", err)
	}
	name := filepath.Join(folder, r.Date.Format(time.DateOnly)+"-"+r.Commit)
	switch {
	case len(r.Merged) > 0:
		name += "-merged"
	case len(r.Peers) > 0 && r.only("jobs"):
		name += "-jobs-peers"
	case len(r.Peers) > 0 && r.only("browser"):
		name += "-browser-peers"
	case len(r.Peers) > 0:
		name += "-peers"
	}
	files := map[string]string{".md": text, ".json": string(raw) + "\n"}
	if svg := plot(r.Scenarios); svg != "" {
		files[".svg"] = svg
	}
	for ext, content := range files {
		if err := os.WriteFile(name+ext, []byte(content), 0o644); err != nil { //nolint:gosec // to be read by everybody
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}

// only reports whether all tables are of one scenario.
func (r *report) only(scenario string) bool {
	return !slices.ContainsFunc(r.Scenarios, func(o outcome) bool { return !strings.HasPrefix(o.Scenario, scenario) })
}

// fault returns what did not hold, nil if everything did.
func (r *report) fault() error {
	var all []error
	for _, sc := range r.Scenarios {
		for _, row := range sc.Rows {
			for _, f := range row.Faults {
				all = append(all, fmt.Errorf("%s, %s: %s", sc.Scenario, row.Case, f))
			}
		}
	}
	return errors.Join(all...)
}

func (r *report) markdown() string {
	var b strings.Builder
	m := r.Machine
	var peers []string
	for _, v := range r.Peers {
		peers = append(peers, v.Name+" "+v.Version)
	}
	fmt.Fprintf(&b, "# jobcast measured, %s\n\n", r.Date.Format(time.DateOnly))
	fmt.Fprintf(&b, "What the figures mean: [bench/README.md](../README.md).\n\n| | |\n|---|---|\n")
	for _, line := range [][2]string{
		{"commit", r.Commit},
		{"command", "`" + r.Command + "`"},
		{"started", r.Date.Format(time.RFC3339)},
		{"CPU", m.CPU},
		{"cores", strconv.Itoa(m.Cores) + ", shared by server and generator"},
		{"memory", strconv.Itoa(m.MemoryMB) + " MB"},
		{"kernel", m.Kernel},
		{"Go", m.Go},
		{"data folder", fmt.Sprintf("%s; a 4 KiB write and fdatasync takes %s ms", m.FileSystem, short(m.SyncMs))},
		{"load before", short(m.Load)},
		{"versions", strings.Join(peers, ", ")},
	} {
		if line[1] == "" {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |\n", line[0], line[1])
	}
	for i, s := range r.Merged {
		fmt.Fprintf(&b, "| run %d | %s of %s, commit %s, load before %s: `%s` |\n", i+1, s.File, s.Date.Format(time.RFC3339), s.Commit, short(s.Load), s.Command)
	}
	for _, sc := range r.Scenarios {
		sc.markdown(&b)
	}
	if err := r.fault(); err != nil {
		fmt.Fprintf(&b, "\n**Did not hold:** %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return b.String()
}

func (o *outcome) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s: %s\n", o.Scenario, o.Title)
	for i, note := range o.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "- %s\n", note)
	}
	if len(o.Rows) == 0 {
		return
	}
	b.WriteString("\n| case |")
	for _, f := range o.Rows[0].Figures {
		unit := ""
		if f.Unit != "" {
			unit = ", " + f.Unit
		}
		fmt.Fprintf(b, " %s%s |", f.Name, unit)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(o.Rows[0].Figures)) + "\n")
	for _, row := range o.Rows {
		fmt.Fprintf(b, "| %s |", row.Case)
		for _, f := range row.Figures {
			fmt.Fprintf(b, " %s |", short(f.Value))
		}
		b.WriteString("\n")
	}
}

// short writes a number for a person: whole from 100 on, with commas, else
// three digits.
func short(v float64) string {
	if math.Abs(v) < 100 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	if v < 0 {
		return "-" + digits
	}
	return digits
}
