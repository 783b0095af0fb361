package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// requestEvents are how many events a request of durable has.
var requestEvents = []int{1, 10}

// runDurable measures the log over HTTP: each producer is the worker of a job of its
// own and reports progress.
func runDurable(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "durable", Title: "events over HTTP, each request answered after its commit"}
	jobcast := targets()[0]
	for _, size := range requestEvents {
		for _, n := range set.producers {
			r, err := withSite(ctx, set, jobcast, n, func(s *site) (row, error) {
				return durableCase(ctx, set, s, size)
			})
			if err != nil {
				return out, fmt.Errorf("%d producers, %d in a request: %w", n, size, err)
			}
			out.Rows = append(out.Rows, r)
		}
	}
	return out, nil
}

// durableCase has one producer for each room, and size events in each request.
func durableCase(ctx context.Context, set *settings, s *site, size int) (row, error) {
	producers := len(s.rooms)
	r := row{Case: fmt.Sprintf("%d producers, %d in a request", producers, size)}
	conns, err := dialAll(ctx, s.addr.String(), producers)
	if err != nil {
		return r, err
	}
	defer closeAll(conns)
	counts := make([]uint64, producers) // events acknowledged, by room
	post := func(_ context.Context, w int) error {
		_, err := conns[w].do(post(s.rooms[w].head, reports(counts[w], size)), http.StatusOK)
		if err != nil {
			return fmt.Errorf("append events: %w", err)
		}
		counts[w] += uint64(size)
		return nil
	}
	for w := range conns {
		if err := post(ctx, w); err != nil { // warms the server up
			return r, err
		}
	}
	var l *load
	m, gathered, err := s.measure(ctx, set, r.Case, func() error {
		l, err = crowd{producers, set.span, maxAppends / size}.run(ctx, post)
		return err
	})
	if err != nil {
		return r, err
	}
	r.add("events", "1/s", l.rate()*float64(size))
	r.times("answer", &l.latency)
	r.add("events per commit", "", gathered)
	r.cost("server CPU per event", m.server, float64(l.steps*size))
	r.generator(m)
	lost, doubled, err := s.checkRooms(ctx, counts)
	r.add("acknowledged", "", float64(l.steps*size+producers*size))
	r.zero("lost", lost)
	r.zero("doubled", doubled)
	return r, err
}

// reports returns the body of a request with n events that are numbered from
// after+1.
func reports(after uint64, n int) string {
	pad := strings.Repeat(".", padding)
	all := make([]string, n)
	for i := range all {
		all[i] = `{"progress":50,"message":"` + strconv.FormatUint(after+uint64(i)+1, 10) + " " + pad + `","step":"bench"}`
	}
	if n == 1 {
		return all[0]
	}
	return "[" + strings.Join(all, ",") + "]"
}

// checkRooms reads the whole log over HTTP. Of each room the messages 1 to its count
// must be there, once and in order, and the log's own numbers without a hole.
func (s *site) checkRooms(ctx context.Context, counts []uint64) (lost, doubled uint64, err error) {
	rooms := make(map[string]int)
	for i, r := range s.rooms {
		rooms[r.name] = i
	}
	seen := make([]uint64, len(counts)) // newest message, by room
	seq := uint64(0)
	err = s.readLog(ctx, func(e logEvent) {
		if n := seqOf([]byte(e.ID)); n != seq+1 {
			doubled++
		} else {
			seq = n
		}
		i, ours := rooms[e.JobID]
		if e.Type != "job.progress" || !ours {
			return
		}
		switch n := number([]byte(e.Data.Message)); {
		case n <= seen[i] || n > counts[i]:
			doubled++
		default:
			lost += n - seen[i] - 1
			seen[i] = n
		}
	})
	for i, n := range counts {
		lost += n - seen[i]
	}
	return lost, doubled, err
}

// logEvent is an event as the log tells it.
type logEvent struct {
	ID    string
	Type  string
	JobID string
	Data  struct{ Message string }
}

// readLog hands every event of the client to see, by long-polls.
func (s *site) readLog(ctx context.Context, see func(logEvent)) error {
	c, err := dial(ctx, s.addr.String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	cursor := "0-0"
	for range maxAppends {
		body, err := c.do(request("GET", "/v1/events?lastEventId="+cursor, s.addr.String(), s.key, ""), http.StatusOK)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		var page struct {
			Events      []logEvent
			LastEventID string
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if len(page.Events) == 0 {
			return nil
		}
		for _, e := range page.Events {
			see(e)
		}
		cursor = page.LastEventID
	}
	return errors.New("read log: it does not end")
}
