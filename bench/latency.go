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
	var types []string
	err = readFrames(addr, req, func(f frame, since time.Duration) (over bool) {
		if len(f.name) > 0 {
			return string(f.name) == "end"
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
		return false
	})
	told := strings.Join(types, " ")
	if err == nil && told != wholeStory {
		err = errors.New("it is over")
	}
	if err != nil {
		return st, fmt.Errorf("a stream told %q: %w", told, err)
	}
	return st, nil
}

// readFrames sends a request over a new connection and reads Server-Sent Events until
// see says that it is over. see also gets the time from sending to the end of the
// read that completed the frame.
func readFrames(addr string, req []byte, see func(f frame, since time.Duration) (over bool)) error {
	nc, err := net.DialTimeout("tcp", addr, requestTime) //nolint:gosec // our own server, on loopback
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = nc.Close() }()
	if err := nc.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return err
	}
	sent := time.Now()
	if _, err := nc.Write(req); err != nil {
		return fmt.Errorf("ask for a stream: %w", err)
	}
	var dec sseDecoder
	buf := make([]byte, 8<<10)
	for over := false; !over; {
		n, err := nc.Read(buf)
		since := time.Since(sent)
		decoding := dec.feed(buf[:n], func(f frame) { over = over || see(f, since) })
		if decoding != nil || err != nil && !over {
			return fmt.Errorf("read stream: %w", errors.Join(decoding, err))
		}
	}
	return nil
}
