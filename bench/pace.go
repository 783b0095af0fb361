package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// padding makes an event's JSON about 270 bytes, an ordinary progress event.
const padding = 54

// load that publishes: how many events, how fast, over how many connections.
type posting struct {
	events  int           // at most
	rate    int           // a second, over all rooms; 0: as fast as the server answers
	span    time.Duration // at most
	workers int           // connections; each has its own rooms if there are several
	depth   int           // how many events may be ahead of the slowest reader of the room; 0: any number
	ahead   *lead         // keeps to depth
}

// maxDepth bounds how far flat out may be ahead of the slowest reader. Beyond some
// hundred events, what is measured is how much the sockets' buffers hold, not what a
// server can go on delivering.
const maxDepth = 4096

// lead keeps publishing from running away from the readers.
type lead struct {
	depth uint64
	had   atomic.Uint64 // events that every reader has
	moved chan struct{} // had has grown; one is enough
}

func newLead(depth int) *lead {
	return &lead{depth: uint64(depth), moved: make(chan struct{}, 1)}
}

// reach says that every reader has n events.
func (l *lead) reach(n uint64) {
	if l.had.Swap(n) == n {
		return
	}
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// wait returns when event i, counted from 0, may be published, or at the end.
func (l *lead) wait(ctx context.Context, i int, end time.Time) {
	if l == nil || !l.far(i) {
		return
	}
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	for l.far(i) {
		select {
		case <-l.moved:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// far reports whether event i is too far ahead.
func (l *lead) far(i int) bool {
	had := l.had.Load() // of no readers, everything there may ever be
	return uint64(i) >= had && uint64(i)-had >= l.depth
}

// published is what a posting did.
type published struct {
	events  int
	took    time.Duration // from the first to the last event's acknowledgement
	latency histogram     // from an event's stamp to its acknowledgement
	last    uint64        // number of the newest event
	counts  []uint64      // events of each room
}

// publish fills the rooms in turn. It returns when every event is acknowledged, or
// with an error and what was until then.
func (s *site) publish(ctx context.Context, p posting) (*published, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.workers = max(min(p.workers, p.events), 1)
	if len(s.rooms) > 1 {
		p.workers = min(p.workers, len(s.rooms))
	}
	tickets := make([]chan struct{}, p.workers) // of one room: all the same, so that whoever is free takes the next
	shared := make(chan struct{}, 1)
	results := make([]posted, p.workers)
	counts := make([]uint64, len(s.rooms))
	var workers sync.WaitGroup
	start := time.Now()
	for w := range results {
		tickets[w] = shared
		if len(s.rooms) > 1 {
			tickets[w] = make(chan struct{}, 1)
		}
		results[w].counts = counts
		workers.Go(func() {
			if err := results[w].run(ctx, s, w, p.workers, tickets[w]); err != nil {
				cancel(err)
			}
		})
	}
	pace(ctx, start, p, tickets)
	close(shared)
	for _, t := range tickets {
		if t != shared {
			close(t)
		}
	}
	workers.Wait()
	all := &published{counts: counts}
	var end time.Time
	for i := range results {
		o := &results[i]
		all.latency.merge(&o.latency)
		all.events += int(o.latency.total)
		all.last = max(all.last, o.last)
		if o.end.After(end) {
			end = o.end
		}
	}
	all.took = end.Sub(start)
	return all, context.Cause(ctx)
}

// pace hands out the tickets: on time, or to whoever is free.
func pace(ctx context.Context, start time.Time, p posting, tickets []chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range p.events {
		p.ahead.wait(ctx, i, start.Add(p.span))
		if time.Since(start) >= p.span {
			return
		}
		if p.rate > 0 {
			due := start.Add(time.Duration(float64(i) / float64(p.rate) * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return
				}
			}
		}
		select {
		case tickets[i%len(tickets)] <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// posted is what one worker did.
type posted struct {
	latency histogram
	last    uint64    // number of its newest event
	end     time.Time // when that was acknowledged
	counts  []uint64  // of each room; a worker touches only its own, unless there is one room
	conn    *conn
}

// run publishes one event for each ticket: worker w of n to its rooms in turn.
func (o *posted) run(ctx context.Context, s *site, w, n int, tickets <-chan struct{}) error {
	conn, err := dial(ctx, s.addr.String())
	if err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	o.conn = conn
	pad := strings.Repeat(".", padding)
	i := w
	for range tickets {
		own := uint64(0)
		if len(s.rooms) > 1 {
			o.counts[i]++
			own = o.counts[i]
		} else {
			i = 0
		}
		if err := o.post(s.rooms[i].head, own, pad); err != nil {
			if context.Cause(ctx) != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("publish event: %w", err)
		}
		if i += n; i >= len(s.rooms) {
			i = w
		}
	}
	return nil
}

// post publishes one event. Its message begins with the time and, if it is not 0,
// the number of the event in its room.
func (o *posted) post(head string, own uint64, pad string) error {
	stamp := time.Now()
	message := strconv.FormatInt(stamp.UnixNano(), 10) + " " + strconv.FormatUint(own, 10) + " " + pad
	body := `{"progress":50,"message":"` + message + `","step":"bench"}`
	answer, err := o.conn.do(post(head, body), http.StatusOK)
	if err != nil {
		return err
	}
	o.end = time.Now()
	o.latency.add(o.end.Sub(stamp))
	o.last = max(o.last, seqOf(member(answer, `"lastEventId":"`)))
	return nil
}

// post returns a request that publishes body, from the head of a room.
func post(head, body string) []byte {
	b := make([]byte, 0, len(head)+len(body)+64)
	b = append(append(b, head...), "Content-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	return append(b, body...)
}
