package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	joinTime    = 2 * time.Minute  // all readers are connected and live within this
	catchUpTime = 60 * time.Second // after the last event is acknowledged the readers get the rest within this
	wave        = 50               // readers that connect at once
	warmReaders = wave             // come and go first: what they make the server load and pool is not for the others to pay
	publishers  = 16               // connections that publish
	maxEvents   = 4_000_000        // of one case
)

// runFanout measures one job's events on their way to many readers.
func runFanout(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "fanout", Title: fmt.Sprintf("one room, %d readers, each event published with a POST of its own", set.readers), Notes: notesOf(set.targets)}
	for _, t := range set.targets {
		for _, f := range flows(set) {
			r, err := withSite(ctx, set, t, 1, func(s *site) (row, error) {
				return fanoutCase(ctx, s, t, set, f)
			})
			if err != nil {
				return out, fmt.Errorf("%s: %w", f, err)
			}
			r.Case, r.Target = t.name+", "+f.String(), t.name
			out.Rows = append(out.Rows, r)
		}
	}
	return out, nil
}

// flow is how events are published to readers.
type flow struct {
	rate       int // events a second, over all rooms; 0: flat out
	ahead      int // flat out: how many events may be ahead of the slowest reader
	publishers int // connections
}

// paced is a flow at a rate.
func paced(rate int) flow { return flow{rate: rate, publishers: publishers} }

// flows returns those that the settings ask for.
func flows(set *settings) (all []flow) {
	for _, rate := range set.rates {
		if rate > 0 {
			all = append(all, paced(rate))
			continue
		}
		for _, ahead := range set.ahead {
			all = append(all, flow{ahead: ahead, publishers: publishers})
		}
	}
	return all
}

func (f flow) String() string {
	if f.rate == 0 {
		return fmt.Sprintf("flat out, %d in flight", f.ahead)
	}
	return fmt.Sprintf("%d events/s", f.rate)
}

// fanoutCase joins the readers, then publishes.
func fanoutCase(ctx context.Context, p *site, t target, set *settings, f flow) (r row, err error) {
	alone, err := warmUp(ctx, p, t)
	if err != nil {
		return r, err
	}
	s, err := p.join(ctx, t, set.readers, set.rest)
	if err != nil {
		return r, err
	}
	defer s.Close()
	return p.stream(ctx, set, t, s, alone, f)
}

// stream publishes to readers that have joined.
func (s *site) stream(ctx context.Context, set *settings, t target, w *swarm, alone usage, f flow) (r row, err error) {
	var pub *published
	start := time.Now()
	m, err := set.measure(s.process, fmt.Sprintf("%s %d readers %s", t.name, len(w.readers), strings.ReplaceAll(f.String(), "/", " per ")), func() error {
		pub, err = s.deliver(ctx, w, posting{events: eventsOf(f.rate, set.span), rate: f.rate, span: set.span, workers: f.publishers, depth: f.ahead})
		return err
	})
	if err != nil {
		return r, err
	}
	took := w.last.Sub(start)
	if f.rate > 0 { // the last event comes a little before the span is over
		took = max(took, set.span)
	}
	r.add("events", "1/s", perSecond(float64(pub.events), max(pub.took, took)))
	r.add("deliveries", "1/s", perSecond(float64(w.delivered), took))
	r.cost("server CPU per delivery", m.server, float64(w.delivered))
	r.times("delivery", &w.latency)
	r.times("publish", &pub.latency)
	r.add("RSS per connection", "KB", float64(m.before.rss-alone.rss)/1e3/float64(len(w.readers)))
	r.add("event", "bytes", float64(w.bytes))
	r.add("generator", "cores", m.own.Seconds()/took.Seconds())
	lost := w.lost
	if len(s.rooms) > 1 {
		lost += w.missingOf(pub.counts)
	} else {
		lost += w.missing(pub.last)
	}
	r.zero("lost", lost)
	r.zero("doubled", w.doubled)
	r.zero("cut", uint64(w.gone))
	if w.fault != nil {
		r.Faults = append(r.Faults, w.fault.Error())
	}
	return r, nil
}

// eventsOf returns how many events a span has at a rate.
func eventsOf(rate int, span time.Duration) int {
	if rate == 0 {
		return maxEvents
	}
	return max(int(float64(rate)*span.Seconds()), 1)
}

// warmUp lets a few readers come and go, so that the server has loaded what it
// needs, and returns its usage with one of them.
func warmUp(ctx context.Context, p *site, t target) (alone usage, err error) {
	for _, n := range []int{warmReaders, 1} {
		s, err := p.join(ctx, t, n, 0)
		if err != nil {
			return alone, err
		}
		alone, err = p.usage()
		s.Close()
		if err != nil {
			return alone, err
		}
	}
	return alone, nil
}

// join connects readers, spread over the rooms, and lets them rest once all are
// live. They come in waves: a herd would leave the server with memory that only
// so many requests at once need.
func (s *site) join(ctx context.Context, t target, readers int, rest time.Duration) (_ *swarm, err error) {
	w, err := newSwarm(s.addr, func(i int, last *reader) ([]byte, decoder) {
		return t.reads(s, s.rooms[i%len(s.rooms)].name, last)
	})
	if err != nil {
		return nil, err
	}
	w.own = len(s.rooms) > 1
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	deadline := time.Now().Add(joinTime)
	for want := 0; want < readers; {
		want = min(want+wave, readers)
		err = w.dial(want - len(w.readers))
		if err == nil {
			err = w.until(deadline, func() bool { return w.live == want || w.gone > 0 || ctx.Err() != nil })
		}
		if err = errors.Join(err, w.fault, ctx.Err()); err != nil {
			return nil, fmt.Errorf("join readers: %w", err)
		}
	}
	rested := time.Now().Add(rest)
	err = w.until(rested.Add(time.Second), func() bool { return time.Now().After(rested) || ctx.Err() != nil })
	if err = errors.Join(err, w.fault, ctx.Err()); err != nil {
		return nil, fmt.Errorf("rest readers: %w", err)
	}
	return w, nil
}

// deliver publishes while the swarm reads, until every reader has the last event
// or the time is over: what is missing then counts as lost.
func (s *site) deliver(ctx context.Context, w *swarm, load posting) (*published, error) {
	type answer struct {
		pub *published
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, 1)
	begun := w.slowest()
	if load.depth > 0 {
		load.ahead = newLead(load.depth)
	}
	go func() {
		pub, err := s.publish(ctx, load)
		answers <- answer{pub, err}
	}()
	var got *answer
	var over time.Time // set with the answer
	err := w.until(time.Now().Add(4*load.span+sayTime+catchUpTime), func() bool {
		if load.ahead != nil {
			load.ahead.reach(w.slowest() - begun)
		}
		if got == nil {
			select {
			case a := <-answers:
				got, over = &a, time.Now().Add(catchUpTime)
			default:
				return false
			}
		}
		return got.err != nil || s.complete(w, got.pub) || time.Now().After(over)
	})
	cancel()
	if got == nil {
		a := <-answers // publish returns when its context ends
		got = &a
	}
	return got.pub, errors.Join(err, got.err)
}

// complete reports whether every reader that still lives has everything.
func (s *site) complete(w *swarm, pub *published) bool {
	if len(s.rooms) > 1 {
		return w.missingOf(pub.counts) == 0
	}
	return w.allAt(pub.last)
}
