package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// maxStreams bounds one case: each job needs a connection of its own, and the
// machine has some 28,000 ports.
const maxStreams = 5000

// waitJob is work that takes no time, so that only the way is measured.
const waitJob = `{"actions":[{"type":"wait","ms":0}]}`

// wholeStory is what a job of one action tells.
const wholeStory = "job.created job.started job.progress job.completed"

// runLatency measures how soon a caller that submits and watches in one call
// sees its job live.
func runLatency(ctx context.Context, set *settings) (outcome, error) {
	out := outcome{Scenario: "latency", Title: "submit and watch in one call: from sending the request to reading an event"}
	for _, n := range []int{1, 16} {
		err := withServer(ctx, set, func(s *server) error {
			r, err := latencyCase(ctx, set, s, n)
			out.Rows = append(out.Rows, r)
			return err
		})
		if err != nil {
			return out, fmt.Errorf("%d at a time: %w", n, err)
		}
	}
	return out, nil
}

func latencyCase(ctx context.Context, set *settings, s *server, workers int) (row, error) {
	r := row{Case: fmt.Sprintf("%d at a time", workers)}
	addr := s.addr.String()
	req := request("POST", "/v1/jobs", addr, s.key, waitJob, "Accept: text/event-stream")
	if _, err := follow(addr, req); err != nil { // warms the server up
		return r, err
	}
	type times struct{ created, started, ended histogram }
	all := make([]times, workers)
	var l *load
	m, err := set.measure(s.process, r.Case, func() (err error) {
		l, err = crowd{workers, set.span, maxStreams}.run(ctx, func(_ context.Context, w int) error {
			st, err := follow(addr, req)
			if err != nil {
				return err
			}
			all[w].created.add(st.created)
			all[w].started.add(st.started)
			all[w].ended.add(st.ended)
			return nil
		})
		return err
	})
	if err != nil {
		return r, err
	}
	for i := range all[1:] {
		all[0].created.merge(&all[i+1].created)
		all[0].started.merge(&all[i+1].started)
		all[0].ended.merge(&all[i+1].ended)
	}
	r.add("jobs", "1/s", l.rate())
	r.times("job.created", &all[0].created)
	r.times("job.started", &all[0].started)
	r.times("job.completed", &all[0].ended)
	r.cost("server CPU per job", m.server, float64(l.steps))
	r.add("streams", "", float64(l.steps))
	return r, nil
}

// story is when a stream's events were read, counted from sending the request.
type story struct{ created, started, ended time.Duration }

// follow submits a job over a new connection and reads its stream to the end.
// Anything but the whole story, once and in order, is an error.
func follow(addr string, req []byte) (st story, err error) {
	conn, err := net.DialTimeout("tcp", addr, requestTime) //nolint:gosec // our own server, on loopback
	if err != nil {
		return st, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return st, fmt.Errorf("follow job: %w", err)
	}
	sent := time.Now()
	if _, err := conn.Write(req); err != nil {
		return st, fmt.Errorf("submit: %w", err)
	}
	var (
		dec   sseDecoder
		buf   [8 << 10]byte
		types []string
		over  bool
		since time.Duration // of the read under way
	)
	see := func(f frame) {
		over = over || string(f.name) == "end"
		if len(f.name) > 0 {
			return
		}
		typ := string(member(f.data, typeMember))
		types = append(types, typ)
		switch typ {
		case "job.created":
			st.created = since
		case "job.started":
			st.started = since
		case "job.completed":
			st.ended = since
		}
	}
	for !over {
		n, err := conn.Read(buf[:])
		since = time.Since(sent)
		if decoding := dec.feed(buf[:n], see); decoding != nil || err != nil && !over {
			return st, fmt.Errorf("read stream after %q: %w", types, errors.Join(decoding, err))
		}
	}
	if told := strings.Join(types, " "); told != wholeStory {
		return st, fmt.Errorf("a stream told %q", told)
	}
	return st, nil
}
