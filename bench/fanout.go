package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

const (
	joinTime     = 2 * time.Minute  // all readers are connected and live within this
	catchUpTime  = 30 * time.Second // after the last append the readers get the rest within this
	wave         = 50               // readers that connect at once
	warmReaders  = wave             // come and go first: what they make the server load and pool is not for the others to pay
	millisecondF = float64(time.Millisecond)
)

// publisher is a server whose one watched room the fan-out fills. The readers
// need no more of it than this, so another kind of server fits in its place.
type publisher interface {
	// watch is where and with what request a reader starts, and how it reads.
	watch() (addr netip.AddrPort, request []byte, newDecoder func() decoder)
	// publish makes n events, rate a second, each stamped in its member
	// `message` with the time in ns since 1970 right before it is published. It
	// returns when all are.
	publish(ctx context.Context, n, rate int) (published, error)
	// settle gives memory that is free back to the system.
	settle(ctx context.Context) error
	usage() (usage, error)
}

// published is what a publisher did.
type published struct {
	Last      uint64  `json:"last"`      // number of the last event
	TookMs    float64 `json:"tookMs"`    // from the first to the last event's acknowledgement
	AppendP50 float64 `json:"appendP50"` // ms, from an event's stamp to its acknowledgement
	AppendP99 float64 `json:"appendP99"`
}

// runFanout measures one job's events on their way to many readers.
func runFanout(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "fanout", Title: fmt.Sprintf("one job's events, appended in the server, to %d SSE readers", set.readers)}
	for _, rate := range set.rates {
		r, err := withChild(ctx, set, rate, func(c *child) (row, error) {
			return fanoutCase(ctx, c, set, rate)
		})
		if err != nil {
			return out, fmt.Errorf("%d events/s: %w", rate, err)
		}
		out.Rows = append(out.Rows, r)
	}
	return out, nil
}

// fanoutCase joins the readers, measures them idle, then publishes.
func fanoutCase(ctx context.Context, p publisher, set *settings, rate int) (r row, err error) {
	var alone usage
	for _, n := range []int{warmReaders, 1} {
		warm, u, err := join(ctx, p, n, 0)
		if err != nil {
			return r, err
		}
		warm.Close()
		alone = u
	}
	s, before, err := join(ctx, p, set.readers, set.rest)
	if err != nil {
		return r, err
	}
	defer s.Close()
	own, start := ownCPU(), time.Now()
	events := max(int(float64(rate)*set.span.Seconds()), 1)
	pub, err := deliver(ctx, p, s, events, rate)
	if err != nil {
		return r, err
	}
	took := max(s.last.Sub(start), set.span) // the last event comes a little before the span is over
	own = ownCPU() - own
	after, err := p.usage()
	if err != nil {
		return r, err
	}
	r.Case = fmt.Sprintf("%d events/s", rate)
	r.add("held events", "1/s", perSecond(float64(events-1), time.Duration(pub.TookMs*millisecondF))) // intervals
	r.add("deliveries", "1/s", perSecond(float64(s.delivered), took))
	r.cost("server CPU per delivery", after.cpu-before.cpu, float64(s.delivered))
	r.times("delivery", &s.latency)
	r.add("append p50", "ms", pub.AppendP50)
	r.add("append p99", "ms", pub.AppendP99)
	r.add("RSS per connection", "KB", float64(before.rss-alone.rss)/1e3/float64(set.readers))
	r.add("event", "bytes", float64(s.bytes))
	r.add("generator", "cores", own.Seconds()/took.Seconds())
	r.zero("lost", s.lost+s.missing(pub.Last))
	r.zero("doubled", s.doubled)
	r.zero("cut", uint64(s.gone))
	if s.fault != nil {
		r.Faults = append(r.Faults, s.fault.Error())
	}
	return r, nil
}

// join connects readers, lets them rest once all are live, and returns the usage
// of the server that is idle then. They come in waves: a herd would leave the
// server with memory that only so many requests at once need.
func join(ctx context.Context, p publisher, readers int, rest time.Duration) (_ *swarm, u usage, err error) {
	s, err := newSwarm(p.watch())
	if err != nil {
		return nil, u, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	deadline := time.Now().Add(joinTime)
	for want := 0; want < readers; {
		want = min(want+wave, readers)
		err = s.dial(want - len(s.readers))
		if err == nil {
			err = s.until(deadline, func() bool { return s.live == want || s.gone > 0 || ctx.Err() != nil })
		}
		if err = errors.Join(err, s.fault, ctx.Err()); err != nil {
			return nil, u, fmt.Errorf("join readers: %w", err)
		}
	}
	rested := time.Now().Add(rest)
	err = s.until(rested.Add(time.Second), func() bool { return time.Now().After(rested) || ctx.Err() != nil })
	if err = errors.Join(err, s.fault, ctx.Err()); err != nil {
		return nil, u, fmt.Errorf("rest readers: %w", err)
	}
	if err = p.settle(ctx); err != nil {
		return nil, u, err
	}
	u, err = p.usage()
	return s, u, err
}

// deliver publishes while the swarm reads, until every reader has the last event
// or the time is over: what is missing then counts as lost.
func deliver(ctx context.Context, p publisher, s *swarm, events, rate int) (published, error) {
	type answer struct {
		pub published
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, 1)
	go func() {
		pub, err := p.publish(ctx, events, rate)
		answers <- answer{pub, err}
	}()
	var got *answer
	slowest := time.Duration(float64(events)/float64(rate)*float64(time.Second)) * 4
	var over time.Time // set with the answer
	err := s.until(time.Now().Add(slowest+sayTime+catchUpTime), func() bool {
		if got == nil {
			select {
			case a := <-answers:
				got, over = &a, time.Now().Add(catchUpTime)
			default:
				return false
			}
		}
		return got.err != nil || s.allAt(got.pub.Last) || time.Now().After(over)
	})
	cancel()
	if got == nil {
		a := <-answers // publish returns when its context ends
		got = &a
	}
	return got.pub, errors.Join(err, got.err)
}

// child is this program again as the server: see runChild.
type child struct {
	*process
	hello hello
}

// withChild runs f against a child over an empty data folder.
func withChild(ctx context.Context, set *settings, rate int, f func(*child) (row, error)) (r row, err error) {
	data, err := os.MkdirTemp(set.data, "jobcast-bench-")
	if err != nil {
		return r, fmt.Errorf("make data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	args := slices.Concat(set.self[1:], []string{
		"-data", data, "-profile", set.profilePath(fmt.Sprintf("fanout-%d", rate)),
	})
	p, err := startProcess(set.self[0], args...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c := &child{process: p}
	if err := c.answer(ctx, &c.hello); err != nil {
		return r, err
	}
	return f(c)
}

func (c *child) answer(ctx context.Context, to any) error {
	line, err := c.line(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), to); err != nil {
		return fmt.Errorf("server said %.300q: %w", line, err)
	}
	return nil
}

func (c *child) ask(ctx context.Context, o order, to any) error {
	if err := json.NewEncoder(c.stdin).Encode(o); err != nil {
		return fmt.Errorf("order server to %s: %w", o.Do, err)
	}
	return c.answer(ctx, to)
}

func (c *child) watch() (netip.AddrPort, []byte, func() decoder) {
	path := "/v1/jobs/" + c.hello.Job + "/events"
	req := request("GET", path, c.hello.Addr.String(), c.hello.Key, "", "Accept: text/event-stream")
	return c.hello.Addr, req, func() decoder { return &sseDecoder{} }
}

func (c *child) publish(ctx context.Context, n, rate int) (pub published, err error) {
	err = c.ask(ctx, order{Do: orderAppend, Events: n, Rate: rate}, &pub)
	return pub, err
}

func (c *child) settle(ctx context.Context) error {
	var done struct{}
	return c.ask(ctx, order{Do: orderSettle}, &done)
}
