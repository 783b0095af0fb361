package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// panel is one figure of one table that the plot shows.
type panel struct{ scenario, figure, title, better string }

// panels of a comparison, in the order in which they stand.
var panels = []panel{
	{"fanout flat out, 32 in flight", "deliveries", "flat out, 32 events in flight: deliveries/s", "more is better"},
	{"fanout flat out, 32 in flight", "server CPU per delivery", "flat out, 32 events in flight: server CPU per delivery, us", "less is better"},
	{"fanout flat out, 256 in flight", "deliveries", "flat out, 256 events in flight: deliveries/s", "more is better"},
	{"fanout flat out, 256 in flight", "server CPU per delivery", "flat out, 256 events in flight: server CPU per delivery, us", "less is better"},
	{"fanout 100 events/s", "server CPU per delivery", "100 events/s: server CPU per delivery, us", "less is better"},
	{"fanout 100 events/s", "delivery p99", "100 events/s: delivery p99, ms", "less is better"},
	{"fanout 20 events/s", "server CPU per delivery", "20 events/s: server CPU per delivery, us", "less is better"},
	{"rooms, 8 publishers", "server CPU per delivery", "many rooms, 8 publishers: server CPU per event, publish included, us", "less is better"},
	{"rooms, 16 publishers", "server CPU per delivery", "many rooms, 16 publishers: server CPU per event, publish included, us", "less is better"},
	{"idle", "RSS per connection", "idle: RSS per connection, KB", "less is better"},
	{"idle", "server CPU per connect", "connect: server CPU, us", "less is better"},
	{"jobs, 8 runners", "jobs", "jobs on 8 runners: jobs/s", "more is better"},
	{"jobs, 64 runners", "jobs", "jobs on 64 runners: jobs/s", "more is better"},
	{"jobs, 64 runners", "server CPU per job", "jobs on 64 runners: server CPU per job, us", "less is better"},
	{"jobs, 64 runners, 500 jobs/s", "server CPU per job", "500 jobs/s on 64 runners: server CPU per job, us", "less is better"},
	{"jobs, 64 runners, 500 jobs/s", "ended p50", "500 jobs/s on 64 runners: from submit to end, p50, ms", "less is better"},
	{"polling", "server CPU per delivery", "polling: server CPU per delivery, us", "less is better"},
}

// Measures of the plot, in pixels.
const (
	plotWidth  = 760
	labelWidth = 190
	barWidth   = plotWidth - labelWidth - 90
	barHeight  = 18
	panelHead  = 34
)

// plot draws a comparison and the curves as SVG, one panel for each figure; empty if
// there is none among the tables.
func plot(tables []outcome) string {
	var b strings.Builder
	y := 10
	rowsOf := func(scenario string) []row {
		if i := slices.IndexFunc(tables, func(o outcome) bool { return o.Scenario == scenario }); i >= 0 {
			return tables[i].Rows
		}
		return nil
	}
	for _, p := range panels {
		if rows := rowsOf(p.scenario); len(rows) > 0 {
			y = p.draw(&b, rows, y)
		}
	}
	for _, c := range curves {
		if rows := rowsOf(c.scenario); len(rows) > 0 {
			y = c.draw(&b, rows, y)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+
		"\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n%s</svg>\n", plotWidth, y+10, b.String())
}

// draw adds one panel below y and returns where the next begins.
func (p panel) draw(b *strings.Builder, rows []row, y int) int {
	y = drawTitle(b, p.title, p.better, y)
	most := 0.0
	for _, r := range rows {
		most = max(most, r.figure(p.figure))
	}
	for _, r := range rows {
		v := r.figure(p.figure)
		width, colour := 0.0, "#9aa5b1"
		if most > 0 {
			width = v / most * barWidth
		}
		if strings.HasPrefix(r.Case, "jobcast") {
			colour = "#2f6fde"
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
			labelWidth-8, y+13, html.EscapeString(r.Case), labelWidth, y, width, barHeight-4, colour, labelWidth+width+6, y+12, short(v))
		y += barHeight
	}
	return y + 8
}

// drawTitle adds the head of a panel and returns where the panel begins.
func drawTitle(b *strings.Builder, title, remark string, y int) int {
	fmt.Fprintf(b, `<text x="10" y="%d" font-weight="bold">%s</text><text x="%d" y="%d" text-anchor="end" fill="#777">%s</text>`+"\n",
		y+20, html.EscapeString(title), plotWidth-10, y+20, remark)
	return y + panelHead
}

// figure returns a figure by name, 0 if the row has none.
func (r *row) figure(name string) float64 {
	for _, f := range r.Figures {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}
