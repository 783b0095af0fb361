package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// logWork is what is done at a log, by workers that have a connection and a job each.
type logWork struct {
	s      *site
	conns  []*conn
	counts []uint64 // events appended, by room
	middle string   // a job
	mark   string   // cursor of a reader near the end
}

func newLogWork(ctx context.Context, s *site, middle string) (w *logWork, err error) {
	s.rooms = nil
	if err := s.addRooms(ctx, logWorkers); err != nil {
		return nil, err
	}
	w = &logWork{s: s, counts: make([]uint64, logWorkers), middle: middle}
	w.conns, err = dialAll(ctx, s.addr.String(), logWorkers)
	return w, err
}

// kind is one kind of work: a step of it.
type kind struct {
	name string
	step func(ctx context.Context, worker int) error
}

func (w *logWork) kinds() []kind {
	ask := func(path string) func(context.Context, int) error {
		req := request("GET", path, w.s.addr.String(), w.s.key, "")
		return func(_ context.Context, i int) error {
			body, err := w.conns[i].do(req, http.StatusOK)
			if err == nil && len(member(body, `{"jobs":[{"id":"`)) == 0 {
				err = errors.New("no jobs are listed")
			}
			return err
		}
	}
	return []kind{
		{"submit", w.submit}, {"append", w.append}, {"resume", w.resume},
		{"list", ask("/v1/jobs")}, {"list middle", ask("/v1/jobs?after=" + w.middle)},
	}
}

// submit makes a job that nobody processes.
func (w *logWork) submit(_ context.Context, i int) error {
	_, err := w.conns[i].do(request("POST", "/v1/jobs", w.s.addr.String(), w.s.key, `{"queue":"log","payload":{"n":1}}`), http.StatusAccepted)
	return err
}

// append adds an event to the worker's job.
func (w *logWork) append(_ context.Context, i int) error {
	_, err := w.report(i, 1)
	return err
}

// report adds n events and returns the cursor of the last.
func (w *logWork) report(i, n int) (string, error) {
	body, err := w.conns[i].do(post(w.s.rooms[i].head, reports(w.counts[i], n)), http.StatusOK)
	if err != nil {
		return "", err
	}
	w.counts[i] += uint64(n)
	return string(member(body, `"lastEventId":"`)), nil
}

// resume opens a stream of the whole log near its end and reads what was missed. The
// first call makes that.
func (w *logWork) resume(_ context.Context, i int) (err error) {
	if w.mark == "" {
		if w.mark, err = w.report(i, 1); err != nil {
			return err
		}
		if _, err := w.report(i, nearEnd); err != nil {
			return err
		}
	}
	addr := w.s.addr.String()
	req := request("GET", "/v1/events", addr, w.s.key, "", "Accept: text/event-stream", "Last-Event-ID: "+w.mark)
	last := seqOf([]byte(w.mark))
	got, whole := 0, true
	err = readFrames(addr, req, func(f frame, _ time.Duration) bool {
		if len(f.name) > 0 {
			return string(f.name) == "live"
		}
		whole = whole && f.seq == last+1
		last, got = f.seq, got+1
		return false
	})
	if err == nil && (!whole || got < nearEnd) {
		err = fmt.Errorf("got %d of %d events that were missed, or not in order", got, nearEnd)
	}
	return err
}
