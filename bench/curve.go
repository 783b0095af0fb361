package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// curve is a panel that shows figures of one table over its X: a line for each
// figure of each series.
type curve struct {
	scenario string
	figures  []string
	title    string
	over     string
}

// curves in the order in which they stand.
var curves = []curve{
	{"subscribers", []string{"server CPU per delivery"}, "server CPU per delivery, us", "over subscribers of one room"},
	{"subscribers", []string{"delivery p99"}, "delivery p99, ms", "over subscribers of one room"},
	{"log", []string{"submit CPU", "append CPU", "resume CPU", "list CPU", "list middle CPU"}, "server CPU of one piece of work, us", "over events stored"},
	{"log", []string{"submit p99", "append p99", "resume p99", "list p99", "list middle p99"}, "p99, ms", "over events stored"},
	{"log", []string{"start", "start after kill"}, "until the server is ready, ms", "over events stored"},
}

const (
	curveHeight = 150
	curveLeft   = 60
	curveRight  = plotWidth - 190 // the names of lines stand beside it
)

var lineColours = []string{"#2f6fde", "#d9822b", "#3a9d5d", "#a04cc2", "#9aa5b1"}

// line is the points of one line.
type line struct {
	name string
	x, y []float64
}

// lines takes the lines of a curve out of rows, in the order in which they begin.
func (c curve) lines(rows []row) []line {
	var all []line
	at := make(map[string]int)
	for _, figure := range c.figures {
		for i := range rows {
			name := figure
			if len(c.figures) == 1 {
				name = rows[i].Series
			}
			j, known := at[name]
			if !known {
				j, at[name] = len(all), len(all)
				all = append(all, line{name: name})
			}
			all[j].x = append(all[j].x, rows[i].X)
			all[j].y = append(all[j].y, rows[i].figure(figure))
		}
	}
	return all
}

// draw adds the panel below y and returns where the next begins. X is logarithmic, Y
// begins at 0.
func (c curve) draw(b *strings.Builder, rows []row, y int) int {
	y = drawTitle(b, c.title, c.over, y)
	all := c.lines(rows)
	low, high, most := rows[0].X, rows[0].X, 0.0
	for _, l := range all {
		for i := range l.x {
			low, high, most = min(low, l.x[i]), max(high, l.x[i]), max(most, l.y[i])
		}
	}
	most = max(most, 1e-9)
	across := func(x float64) float64 {
		if high <= low {
			return curveLeft
		}
		return curveLeft + math.Log(x/low)/math.Log(high/low)*(curveRight-curveLeft)
	}
	down := func(v float64) float64 { return float64(y) + (1-v/most)*curveHeight }
	for _, v := range []float64{0, most / 2, most} {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#777">%s</text>`+"\n",
			curveLeft, down(v), curveRight, down(v), curveLeft-6, down(v)+4, short(v))
	}
	for _, x := range all[0].x {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#777">%s</text>`+"\n", across(x), y+curveHeight+16, short(x))
	}
	for i, l := range all {
		var points []string
		for j := range l.x {
			points = append(points, fmt.Sprintf("%.1f,%.1f", across(l.x[j]), down(l.y[j])))
		}
		colour := lineColours[i%len(lineColours)]
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			curveRight+24, y+18*i, colour, curveRight+40, y+18*i+10, html.EscapeString(l.name))
	}
	return y + curveHeight + 32
}
