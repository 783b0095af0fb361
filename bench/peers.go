package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The works on which servers are compared. Their sizes are those of the settings
// times these.
const (
	roomRate     = 2000 // events a second over all rooms
	pollRate     = 20   // events a second to readers that poll
	pollShare    = 2    // of the readers of a room poll: one in so many
	roomsFactor  = 2    // rooms for each reader of a room
	idleFactor   = 10   // idle readers for each reader of a room
	idlePause    = 30 * time.Second
	maxIdleReads = 10_000
)

// roomPublishers are how many connections publish to the rooms, one case each.
var roomPublishers = []int{8, 16}

// roomsFlatter is what flatters jobcast in rooms; the caption says it.
const roomsFlatter = "the more publish, the more events share a commit of jobcast"

// flatters returns what flatters jobcast in one room; the caption says it.
func (f flow) flatters() string {
	if f.rate == 0 {
		return "the more are in flight, the more share a write of a server that gathers, as jobcast and centrifuge batching do"
	}
	return "jobcast lets a busy room rest between two rounds of writes, which saves CPU and costs time"
}

// allWorks are the kinds of works; fanout is one for each flow, rooms for each number
// of publishers.
var allWorks = []string{"fanout", "rooms", "idle", polling}

// polling is the work for targets whose names end so, whose readers poll; the others
// are for those that stream.
const polling = "polling"

// work is one comparison: a case for each target that it is for.
type work struct {
	kind        string // one of allWorks
	name, title string
	note        string // what flatters jobcast
	run         func(ctx context.Context, set *settings, t target) (row, error)
}

// works returns those that were asked for.
func works(set *settings) []work {
	var all []work
	for _, f := range flows(set) {
		all = append(all, work{
			kind: "fanout", name: "fanout " + f.String(), title: fmt.Sprintf("one room, %d readers, %s", set.readers, f), note: f.flatters(),
			run: func(ctx context.Context, set *settings, t target) (row, error) {
				return withSite(ctx, set, t, 1, func(s *site) (row, error) { return fanoutCase(ctx, s, t, set, f) })
			},
		})
	}
	for _, n := range roomPublishers {
		f := flow{rate: roomRate, publishers: n}
		all = append(all, work{
			kind:  "rooms",
			name:  fmt.Sprintf("rooms, %d publishers", n),
			title: fmt.Sprintf("%d rooms of one reader, %d events/s over all through %d connections", set.readers*roomsFactor, roomRate, n),
			note:  roomsFlatter,
			run: func(ctx context.Context, set *settings, t target) (row, error) {
				many := *set
				many.readers = set.readers * roomsFactor
				return withSite(ctx, set, t, many.readers, func(s *site) (row, error) { return fanoutCase(ctx, s, t, &many, f) })
			},
		})
	}
	all = append(all, work{
		kind: "idle", name: "idle", run: runIdle,
		title: fmt.Sprintf("%d readers connect, each authenticated and in a room of its own, and are idle", idleReaders(set)),
	}, work{
		kind: polling, name: polling,
		title: fmt.Sprintf("one room, %d readers that poll, %d events/s", set.readers/pollShare, pollRate),
		note:  "readers keep their connection, as browsers do; the client in Node opens one for each poll, and such a poll goes a longer way through jobcast",
		run: func(ctx context.Context, set *settings, t target) (row, error) {
			few := *set
			few.readers = set.readers / pollShare
			return withSite(ctx, set, t, 1, func(s *site) (row, error) { return fanoutCase(ctx, s, t, &few, paced(pollRate)) })
		},
	})
	return slices.DeleteFunc(all, func(w work) bool { return !slices.Contains(set.works, w.kind) })
}

// targets returns those of the settings that the work is for.
func (w *work) targets(set *settings) (all []target) {
	for _, t := range set.targets {
		if strings.HasSuffix(t.name, polling) == (w.kind == polling) {
			all = append(all, t)
		}
	}
	return all
}

// runPeers compares the servers: each work in turn for every target, as many
// rounds as the settings say, and of each figure the median.
func runPeers(ctx context.Context, set *settings) ([]outcome, error) {
	all := works(set)
	runs := make([]map[string][]row, len(all))
	for round := range max(set.rounds, 1) {
		for i, w := range all {
			if runs[i] == nil {
				runs[i] = make(map[string][]row)
			}
			for _, t := range w.targets(set) {
				set.say("round %d, %s, %s", round+1, w.name, t.name)
				r, err := w.run(ctx, set, t)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", w.name, err)
				}
				runs[i][t.name] = append(runs[i][t.name], r)
			}
		}
	}
	var out []outcome
	for i, w := range all {
		o := outcome{Scenario: w.name, Title: w.title, Notes: notesOf(w.targets(set))}
		if w.note != "" {
			o.Notes = append(o.Notes, "what flatters jobcast: "+w.note)
		}
		for _, t := range w.targets(set) {
			o.Rows = append(o.Rows, median(t.name, runs[i][t.name]))
		}
		out = append(out, o)
	}
	return out, nil
}

// median makes one row of several runs of a case: of each figure the median, of
// what must be 0 the sum.
func median(name string, rows []row) row {
	r := row{Case: name, Target: name}
	for i, f := range rows[0].Figures {
		values := make([]float64, len(rows))
		sum := 0.0
		for j := range rows {
			values[j] = rows[j].Figures[i].Value
			sum += values[j]
		}
		slices.Sort(values)
		f.Value = values[len(values)/2]
		if slices.Contains([]string{"lost", "doubled", "cut"}, f.Name) {
			f.Value = sum
		}
		r.Figures = append(r.Figures, f)
	}
	for _, run := range rows {
		r.Faults = append(r.Faults, run.Faults...)
	}
	return r
}

func idleReaders(set *settings) int { return min(set.readers*idleFactor, maxIdleReads) }

// runIdle measures what connecting costs, and what connections take that have
// nothing to do.
func runIdle(ctx context.Context, set *settings, t target) (row, error) {
	n := idleReaders(set)
	return withSite(ctx, set, t, n, func(p *site) (r row, err error) {
		if _, err := warmUp(ctx, p, t); err != nil {
			return r, err
		}
		var s *swarm
		joined, err := set.measure(p.process, "idle "+t.name, func() error {
			s, err = p.join(ctx, t, n, 0)
			return err
		})
		if err != nil {
			return r, err
		}
		defer s.Close()
		rested := time.Now().Add(set.pause)
		err = s.until(rested.Add(time.Second), func() bool { return time.Now().After(rested) || ctx.Err() != nil })
		if err != nil {
			return r, err
		}
		after, err := p.usage()
		if err != nil {
			return r, err
		}
		r.add("connects", "1/s", perSecond(float64(n), joined.took))
		r.cost("server CPU per connect", joined.server, float64(n))
		r.add("RSS per connection", "KB", float64(after.rss-joined.before.rss)/1e3/float64(n))
		r.cost("server CPU per idle connection and second", after.cpu-joined.after.cpu, float64(n)*set.pause.Seconds())
		r.zero("cut", uint64(s.gone))
		return r, nil
	})
}
