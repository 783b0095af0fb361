package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	cutRate      = 20          // events a second while the server ends
	cutAfter     = time.Second // of them
	missedEvents = 100         // published while no reader is there
	liveEvents   = 10          // published when all are back
	herd         = 500         // readers that come back at once
)

// runResume measures how readers come back to a server that was restarted.
func runResume(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "resume", Title: fmt.Sprintf("%d readers of one room come back to a restarted server, each with its cursor", set.returning)}
	for _, t := range set.targets {
		if !strings.HasPrefix(t.name, "jobcast") || strings.HasSuffix(t.name, "polling") {
			continue
		}
		for _, crash := range []bool{true, false} {
			r, err := withSite(ctx, set, t, 1, func(p *site) (row, error) { return resumeCase(ctx, set, p, t, crash) })
			if err != nil {
				return out, err
			}
			out.Rows = append(out.Rows, r)
		}
	}
	return out, nil
}

func resumeCase(ctx context.Context, set *settings, p *site, t target, crash bool) (row, error) {
	r := row{Case: t.name + ", drained"}
	if crash {
		r.Case = t.name + ", killed"
	}
	s, err := p.join(ctx, t, set.returning, 0)
	if err != nil {
		return r, err
	}
	defer s.Close()
	acknowledged, err := p.cut(ctx, s, crash)
	if err != nil {
		return r, err
	}
	began := time.Now()
	if err := p.begin(ctx, set); err != nil {
		return r, err
	}
	restart := time.Since(began)
	first, err := p.publish(ctx, posting{events: 1, span: set.span, workers: 1})
	if err != nil {
		return r, err
	}
	missed, err := p.publish(ctx, posting{events: missedEvents - 1, span: maxSpan, workers: publishers})
	if err != nil {
		return r, err
	}
	wanted := s.missing(missed.last)
	s.addr = p.addr
	m, err := set.measure(p.process, r.Case, func() error { return s.comeBack(missed.last, herd, time.Now().Add(joinTime)) })
	if err != nil {
		return r, err
	}
	after, err := p.deliver(ctx, s, posting{events: liveEvents, span: maxSpan, workers: 1})
	if err != nil {
		return r, err
	}
	r.add("restart", "ms", millis(restart))
	r.add("missed by each", "", float64(wanted)/float64(set.returning))
	r.add("all back", "ms", millis(m.took))
	r.times("back", &s.way)
	r.cost("server CPU per resume", m.server, float64(set.returning))
	r.generator(m)
	lost := s.lost + s.missing(after.last)
	if first.last <= acknowledged { // the log goes on where it was acknowledged to be
		lost += acknowledged - first.last + 1
	}
	r.zero("lost", lost)
	r.zero("doubled", s.doubled)
	r.zero("cut", uint64(s.gone))
	return r, nil
}

// cut ends the server while it is busy, and waits until every reader has noticed. It
// returns the newest event that was acknowledged.
func (s *site) cut(ctx context.Context, w *swarm, crash bool) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	published := make(chan *published, 1)
	go func() {
		pub, _ := s.publish(ctx, posting{events: maxEvents, rate: cutRate, span: maxSpan, workers: publishers})
		published <- pub // its error is that the server has gone
	}()
	busy := time.Now().Add(cutAfter)
	err := w.until(busy.Add(time.Second), func() bool { return time.Now().After(busy) || w.fault != nil })
	if err = errors.Join(err, w.fault); err != nil {
		cancel()
		<-published
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.end(crash) }()
	err = w.until(time.Now().Add(stopTime), func() bool { return w.gone == len(w.readers) })
	err = errors.Join(err, <-ended)
	cancel()
	return (<-published).last, err
}
